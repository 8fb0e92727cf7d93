package admit

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/exception"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// MaxWait is how long a review waits for the index to hear of a digest.
	MaxWait = 2 * time.Second
	// maxWaiting bounds the reviews that wait at once; further ones are answered
	// from what is known.
	maxWaiting = 64
)

// Index is what a door asks about artifacts. Its answers are memory: they neither
// wait nor do I/O. *artifact.Index is one.
type Index interface {
	// Lookup returns what is known of a digest.
	Lookup(d assay.Digest) (artifact.Known, bool)
	// Resolve returns the digest that a reference stood for when a gate judged it.
	Resolve(ref string) (assay.Digest, bool)
	// Changed returns a channel that is closed when the index next changes.
	Changed() <-chan struct{}
	// Poke asks the index to look for news now. It never waits.
	Poke()
}

// Config is what a Door is made of. Every field is needed unless it says otherwise.
type Config struct {
	Store store.Store
	Blobs store.Blobs // local: bundles are read from it on the way to an answer
	// Policy returns the policy in force and where it came from; asked for each decision.
	Policy func() (*policy.Revision, string, error)
	// Trust returns whose attestations are believed; asked for each decision. Give it a Cache.
	Trust func(ctx context.Context) (attest.TrustPolicy, error)
	// Index returns the index of a tenant's artifacts, see Indexes.
	Index func(ctx context.Context, namespace string) (Index, error)
	Now   func() time.Time
	Log   *slog.Logger
	// Registry takes the metrics; may be nil.
	Registry prometheus.Registerer
	// Poke tells the ledger's sequencer that facts were committed; may be nil.
	Poke func()
}

// Door decides and records. It is safe for concurrent use.
type Door struct {
	cfg     Config
	metrics *metrics
	waiting chan struct{}
	tally   *tally
}

// New returns a door. Run must be running for admissions to be recorded.
func New(cfg Config) *Door {
	if cfg.Poke == nil {
		cfg.Poke = func() {}
	}
	return &Door{cfg: cfg, metrics: newMetrics(cfg.Registry), waiting: make(chan struct{}, maxWaiting), tally: newTally()}
}

// Request asks one door.
type Request struct {
	Door   string // name, or namespace/name
	Review Review
	Actor  string        // who asks, for the fact
	Wait   time.Duration // for digests that nobody has heard of; at most MaxWait
	Quiet  bool          // record nothing
}

// Ask decides about a review and records the decision. The error is of the request
// (assay.CodeNotFound for a door that does not exist); that a decision cannot be
// reached for want of knowledge is a decision, by the door's failure policy.
func (d *Door) Ask(ctx context.Context, req Request) (Decision, error) {
	start := time.Now()
	revision, uri, err := d.cfg.Policy()
	if err != nil {
		return Decision{}, err
	}
	door, err := revision.Admission(req.Door)
	if err != nil {
		return Decision{}, err
	}
	in := Inputs{ID: store.NewFactID(), Door: door, Policy: revision.Ref(uri), Review: req.Review, Now: d.cfg.Now()}
	if skips(in) != "" {
		out := Decide(in)
		d.metrics.decided(out, time.Since(start))
		return out, nil
	}
	in.Trust, err = d.cfg.Trust(ctx)
	var ix Index
	if err == nil {
		ix, err = d.cfg.Index(ctx, door.Metadata.Namespace)
	}
	if err != nil {
		d.cfg.Log.Error("what is attested cannot be read", "door", door.Metadata.Name, "error", err)
		in.Known = unknown(in.Review, err)
	} else {
		in.Known = d.gather(ctx, ix, in, min(req.Wait, MaxWait))
	}
	in.Now = d.cfg.Now() // it may have waited
	out := Decide(in)
	if out.rests {
		// A signed verdict does not know that the exception it rests on was taken back.
		if in.Revoked, err = d.revoked(ctx, door.Metadata.Namespace, in.Now); err != nil {
			d.cfg.Log.Error("exceptions cannot be read", "door", door.Metadata.Name, "error", err)
			in.Known = unknown(in.Review, err)
		}
		out = Decide(in)
	}
	if out.Objections > 0 {
		// Exceptions matter only now, and are read fresh: a bypass must work at once.
		if in.Exceptions, err = exception.Active(ctx, d.cfg.Store, door.Metadata.Namespace, in.Now); err != nil {
			d.cfg.Log.Error("exceptions cannot be read; none is applied", "error", err)
		} else if len(in.Exceptions) > 0 {
			out = Decide(in)
		}
	}
	if !req.Quiet && !req.Review.DryRun {
		out = d.record(ctx, out, in, req.Actor)
	}
	d.metrics.decided(out, time.Since(start))
	return out, nil
}

// revoked returns the ids of the exceptions that were taken back before their end.
func (d *Door) revoked(ctx context.Context, namespace string, now time.Time) (map[string]bool, error) {
	list, err := exception.Considered(ctx, d.cfg.Store, namespace, now)
	out := map[string]bool{}
	for _, e := range list {
		if e.State == assay.ExceptionRevoked {
			out[e.ID] = true
		}
	}
	return out, err
}

// Names lists the doors that guard a namespace of the cluster in an environment, as
// Request.Door takes them. An empty environment or tenant means any.
func (d *Door) Names(tenant, environment, clusterNamespace string) ([]string, error) {
	revision, _, err := d.cfg.Policy()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range revision.Admissions() {
		if (tenant == "" || a.Metadata.Namespace == tenant) && (environment == "" || a.Spec.Environment == environment) && a.Guards(clusterNamespace) {
			names = append(names, a.Metadata.Namespace+"/"+a.Metadata.Name)
		}
	}
	return names, nil
}

// gather collects what is known of the images, and waits for what is not.
func (d *Door) gather(ctx context.Context, ix Index, in Inputs, wait time.Duration) map[string]Material {
	resolve := in.Door.Spec.Tags == policy.TagsResolved
	d.await(ctx, ix, in, resolve, wait)
	known := make(map[string]Material, len(in.Review.Images))
	for _, img := range in.Review.Images {
		if img.problem != "" {
			continue
		}
		m := Material{Digest: img.Digest}
		if m.Digest == "" {
			m.Digest, _ = ix.Resolve(img.Reference) // if only to say what to write instead
		}
		if m.Digest != "" && (img.Digest != "" || resolve) {
			m.Judged, m.Fault = d.judged(ctx, ix, in, m.Digest)
		}
		known[img.Reference] = m
	}
	return known
}

// unknown is the material when nothing can be read.
func unknown(r Review, err error) map[string]Material {
	known := map[string]Material{}
	for _, img := range r.Images {
		known[img.Reference] = Material{Digest: img.Digest, Fault: err.Error()}
	}
	return known
}

// judged reads the bundles of the verdicts that could count.
func (d *Door) judged(ctx context.Context, ix Index, in Inputs, digest assay.Digest) (all []Judged, fault string) {
	door := in.Door
	k, ok := ix.Lookup(digest)
	if !ok {
		return nil, ""
	}
	asked := func(j artifact.Judgement) bool {
		return (j.Environment == "" || j.Environment == door.Spec.Environment) &&
			slices.ContainsFunc(door.Spec.Requires, func(r policy.AdmissionRequire) bool { return r.Gate == j.Gate })
	}
	for _, j := range k.Judgements {
		one := Judged{Judgement: j}
		if asked(j) && j.Outcome == assay.OutcomePass {
			var err error
			if one.Data, err = artifact.ReadBundle(ctx, d.cfg.Blobs, j.Bundle); err != nil {
				d.cfg.Log.Error("a bundle cannot be read", "bundle", j.Bundle, "artifact", digest, "error", err)
				return nil, err.Error()
			}
			if one.Recorded, err = d.recorded(ctx, in, digest, j); err != nil {
				d.cfg.Log.Error("when an attestation was recorded cannot be read", "bundle", j.Bundle, "artifact", digest, "error", err)
				return nil, err.Error()
			}
		}
		all = append(all, one)
	}
	return all, ""
}

// recorded is when the installation recorded an attestation by a revoked key, because
// what it had before the compromise is still good. It is zero for other keys, whom
// nobody asks, and where the store knows of none.
func (d *Door) recorded(ctx context.Context, in Inputs, digest assay.Digest, j artifact.Judgement) (time.Time, error) {
	if !slices.ContainsFunc(in.Trust.Keys, func(k attest.TrustedKey) bool { return k.Revoked != nil && k.Key.KeyID() == j.KeyID }) {
		return time.Time{}, nil
	}
	tenant := in.Door.Metadata.Namespace
	sum, err := artifact.Get(ctx, d.cfg.Store, tenant, digest)
	if err != nil {
		return time.Time{}, err
	}
	i := slices.IndexFunc(sum.Judgements, func(a artifact.Attestation) bool { return a.Bundle == j.Bundle })
	if i < 0 {
		return time.Time{}, nil
	}
	var at time.Time
	err = d.cfg.Store.View(ctx, func(r store.Reader) error {
		row, err := r.Fact(tenant, sum.Judgements[i].AttestedFact)
		at = row.Fact.Recorded
		return err
	})
	return at, err
}

// await waits until the index has heard of every image, or for so long.
func (d *Door) await(ctx context.Context, ix Index, in Inputs, resolve bool, wait time.Duration) {
	changed := ix.Changed()
	if wait <= 0 || d.heardOfAll(ix, in, resolve) {
		return
	}
	select {
	case d.waiting <- struct{}{}:
		defer func() { <-d.waiting }()
	default:
		return // too many wait; this one is answered from what is known
	}
	d.metrics.waiting.Inc()
	defer d.metrics.waiting.Dec()
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	ix.Poke()
	for !d.heardOfAll(ix, in, resolve) {
		select {
		case <-changed:
			changed = ix.Changed()
		case <-ctx.Done():
			return
		}
	}
}

func (d *Door) heardOfAll(ix Index, in Inputs, resolve bool) bool {
	for _, img := range in.Review.Images {
		if img.problem != "" || img.Digest == "" && !resolve {
			continue
		}
		if slices.ContainsFunc(in.Door.Spec.Allow, func(a policy.AllowedImage) bool { return matches(a.Images, img) }) {
			continue
		}
		digest := img.Digest
		if digest == "" {
			var ok bool
			if digest, ok = ix.Resolve(img.Reference); !ok {
				return false
			}
		}
		if _, ok := ix.Lookup(digest); !ok {
			return false
		}
	}
	return true
}

// AuditAnnotations are what the API server's audit log keeps of the decision, under the webhook's name.
func (d Decision) AuditAnnotations() map[string]string {
	a := map[string]string{
		"door": d.Namespace + "/" + d.Door, "mode": string(d.Mode), "policy_digest": string(d.Policy.Digest),
	}
	if d.Skipped != "" {
		a["skipped"] = d.Skipped
		return a
	}
	a["decision_id"], a["outcome"] = string(d.ID), string(d.Outcome)
	if len(d.Exceptions) > 0 {
		a["exception_id"] = d.Exceptions[0].ID
	}
	if n := len(d.Exceptions); n > 1 {
		a["exception_id"] += fmt.Sprintf(" and %d more", n-1)
	}
	return a
}
