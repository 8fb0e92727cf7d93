package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// DefaultEvery is how often a Keeper looks.
	DefaultEvery = 5 * time.Second
	// DefaultAgain is how often an alert that stands is told again.
	DefaultAgain = time.Hour
	// MaxAlerts is how many alerts may stand in a namespace at one time; above it the
	// first ones by id are told.
	MaxAlerts = 1000
	// late is how long an alert that was over before it was told is said to stand: who
	// routes alerts waits for a moment, and passes on none that has ended.
	late = 10 * time.Minute
	// batch is how many alerts are handed over at once.
	batch = 100
)

// Alert is something that somebody has to act on.
type Alert struct {
	ID          string            `json:"id"` // of what it is about, the same as long as it stands
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Starts      time.Time         `json:"starts"`
	Ends        time.Time         `json:"ends,omitzero"` // by itself; zero if only somebody's action ends it
}

// Sender hands alerts over. It returns nil once they were taken, assay.CodeInvalid if
// they never will be, and any other error if they may be tried again. Alerts that have
// been taken before may be handed over again.
type Sender interface {
	Send(ctx context.Context, alerts []Alert) error
}

// Config is what a Keeper is made of. Every field is needed unless it says otherwise.
type Config struct {
	Store      store.Store
	Sender     Sender
	Namespaces func() ([]string, error)
	// Standing returns the alerts that stand in a namespace now. One that began and
	// ended since it was asked last may still be among them, so that it is told.
	Standing   func(ctx context.Context, namespace string, now time.Time) ([]Alert, error)
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// Keeper keeps the other side told.
type Keeper struct {
	cfg  Config
	sent *prometheus.CounterVec
}

// New returns a Keeper that does nothing until Run or Step is called.
func New(cfg Config) *Keeper {
	k := &Keeper{cfg: cfg, sent: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "assay_notify_alerts_total", Help: "Alerts that were handed over, by result.",
	}, []string{"result"})}
	for _, r := range []string{"ok", "refused", "unavailable"} {
		k.sent.WithLabelValues(r)
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(k.sent)
	}
	return k
}

// Run looks every DefaultEvery until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(DefaultEvery)
	defer tick.Stop()
	for {
		if err := k.Step(ctx); err != nil && ctx.Err() == nil {
			k.cfg.Log.Error("people are not notified; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Step tells once what is to be told. It stops at the first error.
func (k *Keeper) Step(ctx context.Context) error {
	namespaces, err := k.cfg.Namespaces()
	if err != nil {
		return err
	}
	for _, ns := range namespaces {
		if err := k.step(ctx, ns); err != nil {
			return err
		}
	}
	return nil
}

// told is what is kept of an alert that was handed over.
type told struct {
	Alert Alert     `json:"alert"`
	At    time.Time `json:"at"`
	Over  bool      `json:"over,omitempty"` // that it is over was told as well
	Late  bool      `json:"late,omitempty"` // it was over before anybody was told

	key store.Key
}

const bucket = "notify"

func keyOf(namespace, id string) store.Key {
	sum := sha256.Sum256([]byte(id))
	return store.Key{Namespace: namespace, Bucket: bucket, Name: hex.EncodeToString(sum[:16])}
}

func (k *Keeper) step(ctx context.Context, ns string) error {
	now := k.cfg.Now().UTC()
	standing, err := k.cfg.Standing(ctx, ns, now)
	if err != nil {
		return err
	}
	slices.SortFunc(standing, func(a, b Alert) int { return strings.Compare(a.ID, b.ID) })
	stands := map[string]bool{} // those that are too many too: they are not over
	for _, a := range standing {
		stands[a.ID] = true
	}
	standing = standing[:min(len(standing), MaxAlerts)]
	before, err := k.known(ctx, ns)
	if err != nil {
		return err
	}
	var due []told
	for _, a := range standing {
		old, known := before[a.ID]
		over := !a.Ends.IsZero() && !now.Before(a.Ends)
		switch {
		case known && (old.Over || old.Late || over && !old.Alert.Ends.After(a.Ends)):
			continue // it ended as it was told that it would
		case !known && over:
			a.Ends = now.Add(late)
			due = append(due, told{Alert: a, At: now, Late: true, key: keyOf(ns, a.ID)})
		case !known || !old.Alert.Ends.Equal(a.Ends) || now.Sub(old.At) >= DefaultAgain:
			due = append(due, told{Alert: a, At: now, Over: known && over, key: keyOf(ns, a.ID)})
		}
	}
	var forget []store.Key
	for _, id := range slices.Sorted(maps.Keys(before)) {
		old := before[id]
		switch {
		case stands[id]:
		case old.Over || !old.Alert.Ends.IsZero() && !now.Before(old.Alert.Ends):
			forget = append(forget, old.key)
		default:
			old.Alert.Ends, old.At, old.Over = now, now, true
			due = append(due, old)
		}
	}
	for part := range slices.Chunk(due, batch) {
		if err := k.tell(ctx, part); err != nil {
			return err
		}
	}
	return k.forget(ctx, forget)
}

// known are the alerts of a namespace that were told, by id.
func (k *Keeper) known(ctx context.Context, ns string) (map[string]told, error) {
	out := map[string]told{}
	err := k.cfg.Store.View(ctx, func(r store.Reader) error {
		for after := ""; ; {
			page, err := r.List(store.Key{Namespace: ns, Bucket: bucket}, after, store.MaxLimit)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, v := range page {
				var t told
				if err := json.Unmarshal(v.Data, &t); err != nil {
					return assay.Errorf(assay.CodeInternal, "what was told, %s, cannot be read from the store: %w", v.Key.Name, err)
				}
				t.key, after = v.Key, v.Key.Name
				out[t.Alert.ID] = t
			}
		}
	})
	return out, err
}

// tell hands alerts over and writes down that it did. Those that are refused for what
// they are never hold up the others.
func (k *Keeper) tell(ctx context.Context, list []told) error {
	alerts := make([]Alert, 0, len(list))
	for _, t := range list {
		alerts = append(alerts, t.Alert)
	}
	err := k.cfg.Sender.Send(ctx, alerts)
	if assay.CodeOf(err) == assay.CodeInvalid && len(list) > 1 {
		for i := range list {
			if err := k.tell(ctx, list[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	result := "ok"
	switch {
	case assay.CodeOf(err) == assay.CodeInvalid:
		result = "refused"
		k.cfg.Log.Error("an alert is refused, and is not tried again for an hour", "alert", list[0].Alert.ID, "error", err)
	case err != nil:
		k.sent.WithLabelValues("unavailable").Add(float64(len(list)))
		return err
	}
	k.sent.WithLabelValues(result).Add(float64(len(list)))
	return k.cfg.Store.Update(ctx, func(tx store.Tx) error {
		for _, t := range list {
			data, err := json.Marshal(t)
			if err != nil {
				return assay.Errorf(assay.CodeInternal, "an alert cannot be encoded: %w", err)
			}
			if _, err := tx.Put(t.key, data, store.AnyVersion); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *Keeper) forget(ctx context.Context, keys []store.Key) error {
	if len(keys) == 0 {
		return nil
	}
	return k.cfg.Store.Update(ctx, func(tx store.Tx) error {
		for _, key := range keys {
			if err := tx.Delete(key, store.AnyVersion); err != nil && assay.CodeOf(err) != assay.CodeNotFound {
				return err
			}
		}
		return nil
	})
}
