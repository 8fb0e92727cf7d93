package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// Buckets of the store.
const (
	bucket        = "rollout"         // records, by id
	commandBucket = "rollout-command" // what a person said and is not carried out yet, by id
	openBucket    = "rollout-open"    // in store.SystemNamespace: namespace/id of rollouts with work left
)

// maxPath is how many evaluations the path of a rollout keeps; beyond it the
// older half is thinned.
const maxPath = 256

// Indicator is one indicator of a plan with where its counts come from.
type Indicator struct {
	Spec signal.Spec `json:"spec"`
	// Quantiles of the old version's latency are watched at bounds that are frozen
	// when the rollout is proposed; empty if the plan states its bounds.
	Quantiles []float64 `json:"quantiles,omitempty"`
	Limit     float64   `json:"limit,omitempty"` // a promised maximum that is watched as well
	// Baseline is where those bounds are frozen from, if Spec has no past of its own:
	// pairs of mirrored requests are counted only since there is a mirror.
	Baseline *signal.Spec `json:"baseline,omitempty"`
	// Fallback counts the same from another sender; nil if nothing does.
	Fallback *signal.Spec `json:"fallback,omitempty"`
}

// record is everything that is kept of a rollout.
type record struct {
	Namespace  string       `json:"namespace"`
	Rollout    api.Rollout  `json:"rollout"`
	Indicators []Indicator  `json:"indicators"` // in the plan's order
	Backend    string       `json:"backend,omitempty"`
	State      decide.State `json:"state,omitzero"`    // since it runs
	Actions    int          `json:"actions"`           // keys given out
	Claimed    bool         `json:"claimed,omitempty"` // its rule was nobody's before: the one at the door is its own
	Pending    *pending     `json:"pending,omitempty"`
	Recorded   signature    `json:"recorded"` // of the newest recorded decision
	ActedAt    time.Time    `json:"acted_at,omitzero"`
	JudgeAt    time.Time    `json:"judge_at,omitzero"` // when the last action is judged; zero if it is or need not be

	// Of the watch after the last step: where counts come from and what is tested, if
	// it is not what was tested before, and since when the old version's past is known.
	After      []Indicator        `json:"after,omitempty"`
	AfterTests []decide.Indicator `json:"after_tests,omitempty"`
	Past       time.Time          `json:"past,omitzero"`
	// Alone is what the watch tests where the plan compares replicas: no replica is beside the
	// past, so that how much the whole varied from one moment to another counts again.
	Alone []decide.Indicator `json:"alone,omitempty"`

	// Of the loads of the versions: stretches of the new and the old one that are not whole
	// slots yet, and the day before by its load, for the watch.
	Counting [2]counting `json:"counting,omitzero"`
	Day      *day        `json:"day,omitempty"`

	// For a rollback of the version, once it has all the traffic: how much of a past it is
	// held against, and its steps; none is one of 100 percent.
	Baseline  time.Duration `json:"baseline,omitempty"`
	BackSteps []int         `json:"back_steps,omitempty"`

	version int64 // of the store's value
}

// pending is an action that was decided and whose receipt is not recorded.
type pending struct {
	Action  assay.Action `json:"action"` // with key and fence
	Cause   assay.FactID `json:"cause"`
	Decided time.Time    `json:"decided"`
	Reason  string       `json:"reason"`
	First   bool         `json:"first,omitempty"`   // the canary's first share
	Ordered bool         `json:"ordered,omitempty"` // a person said so
}

// signature is what of a decision makes the next one worth a fact.
type signature struct {
	Text string    `json:"text"`
	Time time.Time `json:"time"`
}

func (r record) key() store.Key {
	return store.Key{Namespace: r.Namespace, Bucket: bucket, Name: r.Rollout.ID}
}

func (r record) openKey() store.Key {
	return store.Key{Namespace: store.SystemNamespace, Bucket: openBucket, Name: r.Namespace + "/" + r.Rollout.ID}
}

// settled reports whether nothing is left to be done.
func (r record) settled() bool {
	return r.Rollout.Status.Ended() && r.Pending == nil && r.JudgeAt.IsZero()
}

// put writes r under the version that it was read at, and keeps the index of open rollouts.
func (r *record) put(tx store.Tx) error {
	data, err := json.Marshal(r)
	if err != nil {
		return assay.Errorf(assay.CodeInternal, "rollout %s cannot be stored: %w", r.Rollout.ID, err)
	}
	first := r.version == 0
	if r.version, err = tx.Put(r.key(), data, r.version); err != nil {
		return err
	}
	switch {
	case r.settled():
		err = tx.Delete(r.openKey(), store.AnyVersion)
		if assay.CodeOf(err) == assay.CodeNotFound {
			err = nil
		}
	case first:
		var open []byte
		if open, err = r.openValue(); err == nil {
			_, err = tx.Put(r.openKey(), open, 0)
		}
	}
	return err
}

func parseRecord(v store.Value) (record, error) {
	var r record
	if err := strict.JSON(v.Data, &r); err != nil {
		return r, assay.Errorf(assay.CodeInternal, "stored rollout %q: %w", v.Key.Name, err)
	}
	r.version = v.Version
	return r, nil
}

// isOpen reports whether something is left to be done of a rollout, by the index alone:
// the record is large.
func isOpen(ctx context.Context, s store.Store, namespace, id string) (open bool, err error) {
	err = s.View(ctx, func(tx store.Reader) error {
		_, err := tx.Get(record{Namespace: namespace, Rollout: api.Rollout{ID: id}}.openKey())
		if open = err == nil; assay.CodeOf(err) == assay.CodeNotFound {
			err = nil
		}
		return err
	})
	return open, err
}

func load(ctx context.Context, s store.Store, namespace, id string) (r record, err error) {
	err = s.View(ctx, func(tx store.Reader) error {
		v, err := tx.Get(store.Key{Namespace: namespace, Bucket: bucket, Name: id})
		if err != nil {
			return unknown(id, err)
		}
		r, err = parseRecord(v)
		return err
	})
	return r, err
}

// unknown is err, of reading a rollout, for people.
func unknown(id string, err error) error {
	if assay.CodeOf(err) == assay.CodeNotFound {
		return &assay.Error{Code: assay.CodeNotFound, Msg: fmt.Sprintf("there is no rollout %q", clip(id)), Hint: "list them with: assay rollout list"}
	}
	return err
}

// Get returns one rollout with its path.
func Get(ctx context.Context, s store.Store, namespace, id string) (api.Rollout, error) {
	r, err := load(ctx, s, namespace, id)
	return r.Rollout, err
}

// List returns up to limit rollouts of a namespace, newest first, without their
// paths. It reads those alone: records are large, and older ones stay for ever.
func List(ctx context.Context, s store.Store, namespace string, limit int) ([]api.Rollout, error) {
	out := []api.Rollout{}
	err := s.View(ctx, func(tx store.Reader) error {
		started, err := tx.Facts(store.Query{Namespace: namespace, Kinds: []string{assay.FactRolloutStarted}, Newest: true, Limit: limit})
		if err != nil {
			return err
		}
		for _, row := range started {
			v, err := tx.Get(store.Key{Namespace: namespace, Bucket: bucket, Name: row.Fact.DeploymentID})
			if err != nil {
				return err
			}
			r, err := parseRecord(v)
			if err != nil {
				return err
			}
			out = append(out, r.summary())
		}
		return nil
	})
	return out, err
}

// walk adds a point to the path. A full path keeps every second of its older points.
func walk(path []api.PathPoint, p api.PathPoint) []api.PathPoint {
	if len(path) >= maxPath {
		half, kept := len(path)/2, path[:0:0]
		for i := 0; i < half; i += 2 {
			kept = append(kept, path[i])
		}
		path = append(kept, path[half:]...)
	}
	return append(path, p)
}

func clip(s string) string {
	const longest = 100
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
