package inventory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// bucketRunning holds a Running by "artifact/environment/place/service/source".
const bucketRunning = "inventory"

// Limits of a report; above them it is assay.CodeTooLarge and nothing of it is taken.
const (
	// MaxSightings is how many sightings one report may have.
	MaxSightings = 5000
	// MaxRunning is how many sightings a namespace may have at one time.
	MaxRunning = 200_000
	// MaxName is the longest name of a service, an environment, a place or a source, in bytes.
	MaxName = 200
	// MaxImage is the longest image reference, in bytes.
	MaxImage = 500
	// MaxInstances is the largest number of instances.
	MaxInstances = 1_000_000
)

// DefaultTTL is how long a sighting holds unless the installation says otherwise.
const DefaultTTL = time.Hour

// MaxSkew is how far ahead of our clock a sighting may be.
const MaxSkew = 5 * time.Minute

// Sighting is one artifact that somebody saw running.
type Sighting struct {
	Service     string
	Environment string
	Place       string       // for example a cluster's namespace; may be ""
	Image       string       // as it was configured; may be "" if Digest is set
	Digest      assay.Digest // "" if only the image's tag is known
	Instances   int          // at least 1; 0 means 1
	Seen        time.Time    // zero means now
}

// Running is a sighting as it is kept.
type Running struct {
	Service     string       `json:"service"`
	Environment string       `json:"environment"`
	Place       string       `json:"place,omitempty"`
	Image       string       `json:"image,omitempty"`
	Digest      assay.Digest `json:"digest,omitempty"`
	Instances   int          `json:"instances"`
	Source      string       `json:"source"`
	First       time.Time    `json:"first"`
	Last        time.Time    `json:"last"` // when it was last seen
	Fact        assay.FactID `json:"fact"` // that it appeared
}

// Report is what one source sees.
type Report struct {
	Namespace string
	Source    string // who sees it: a source's sightings replace its own only
	Actor     string
	Sightings []Sighting
	// Complete says that nothing else runs in Environment as far as Source sees it:
	// its sightings there that are not in the report are gone.
	Complete    bool
	Environment string // of every sighting that names none; with Complete mandatory
}

// Change is what happened to a sighting.
type Change string

const (
	Appeared Change = "appeared"
	Gone     Change = "gone"
)

// ObservedPayload is the payload of an inventory.observed fact, version 1.
type ObservedPayload struct {
	Change    Change    `json:"change"`
	Place     string    `json:"place,omitempty"`
	Image     string    `json:"image,omitempty"`
	Instances int       `json:"instances"`
	Source    string    `json:"source"`
	Last      time.Time `json:"last"`             // when it was last seen
	Reason    string    `json:"reason,omitempty"` // why it is gone
}

// Pushed counts what a report changed.
type Pushed struct {
	Appeared  int `json:"appeared"`
	Refreshed int `json:"refreshed"`
	Outdated  int `json:"outdated"` // older than what is known; let be
	Gone      int `json:"gone"`
}

// Push takes a report in, as a whole or not at all. It may be repeated: what is
// known already is only refreshed, and writes no fact.
func Push(ctx context.Context, s store.Store, r Report, now time.Time) (Pushed, error) {
	r, err := r.checked(now)
	if err != nil {
		return Pushed{}, err
	}
	var out Pushed
	err = s.Update(ctx, func(tx store.Tx) error {
		out = Pushed{}
		kept := map[string]bool{}
		for _, g := range r.Sightings {
			name := g.name(r.Source)
			kept[name] = true
			if err := see(tx, r, g, name, &out); err != nil {
				return err
			}
		}
		if out.Appeared > 0 {
			if err := checkRoom(tx, r.Namespace); err != nil {
				return err
			}
		}
		if !r.Complete {
			return nil
		}
		gone, err := remove(tx, r.Namespace, r.Actor, "no longer reported", now, func(name string, v Running) bool {
			return v.Source == r.Source && v.Environment == r.Environment && !kept[name]
		})
		out.Gone = gone
		return err
	})
	return out, err
}

// see notes one sighting.
func see(tx store.Tx, r Report, g Sighting, name string, out *Pushed) error {
	k := store.Key{Namespace: r.Namespace, Bucket: bucketRunning, Name: name}
	var v Running
	value, err := tx.Get(k)
	switch {
	case assay.CodeOf(err) == assay.CodeNotFound:
		v = Running{
			Service: g.Service, Environment: g.Environment, Place: g.Place, Digest: g.Digest, Source: r.Source,
			Image: g.Image, Instances: g.Instances, First: g.Seen, Last: g.Seen,
		}
		if v.Fact, err = observed(tx, r.Namespace, r.Actor, v, Appeared, "", g.Seen); err != nil {
			return err
		}
		out.Appeared++
		return put(tx, k, v, 0)
	case err != nil:
		return err
	}
	if err := json.Unmarshal(value.Data, &v); err != nil {
		return unreadable(k, err)
	}
	if g.Seen.Before(v.Last) {
		out.Outdated++
		return nil
	}
	v.Image, v.Instances, v.Last = g.Image, g.Instances, g.Seen
	out.Refreshed++
	return put(tx, k, v, value.Version)
}

func checkRoom(tx store.Tx, namespace string) error {
	n := 0
	err := each(tx, namespace, "", func(string, Running) { n++ })
	if err == nil && n > MaxRunning {
		return assay.Errorf(assay.CodeTooLarge, "namespace %q would have %d sightings; at most %d are kept", namespace, n, MaxRunning)
	}
	return err
}

// sweep ends the sightings that nobody renewed for ttl, and returns how many.
func sweep(ctx context.Context, s store.Store, namespace, actor string, ttl time.Duration, now time.Time) (gone int, err error) {
	stale := func(_ string, v Running) bool { return v.expired(ttl, now) }
	any := false
	err = s.View(ctx, func(r store.Reader) error {
		return each(r, namespace, "", func(name string, v Running) { any = any || stale(name, v) })
	})
	if err != nil || !any {
		return 0, err
	}
	err = s.Update(ctx, func(tx store.Tx) error {
		gone, err = remove(tx, namespace, actor, "not seen for "+ttl.String(), now, stale)
		return err
	})
	return gone, err
}

func remove(tx store.Tx, namespace, actor, why string, now time.Time, which func(string, Running) bool) (int, error) {
	victims := map[string]Running{}
	err := each(tx, namespace, "", func(name string, v Running) {
		if which(name, v) {
			victims[name] = v
		}
	})
	if err != nil {
		return 0, err
	}
	for name, v := range victims {
		if _, err := observed(tx, namespace, actor, v, Gone, why, now); err != nil {
			return 0, err
		}
		if err := tx.Delete(store.Key{Namespace: namespace, Bucket: bucketRunning, Name: name}, store.AnyVersion); err != nil {
			return 0, err
		}
	}
	return len(victims), nil
}

func observed(tx store.Tx, namespace, actor string, v Running, c Change, why string, at time.Time) (assay.FactID, error) {
	payload, err := json.Marshal(ObservedPayload{
		Change: c, Place: v.Place, Image: v.Image, Instances: v.Instances, Source: v.Source, Last: v.Last, Reason: why,
	})
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "%s cannot be encoded: %w", assay.FactInventoryObserved, err)
	}
	f := assay.Fact{
		Kind: assay.FactInventoryObserved, Version: 1, Time: at, Namespace: namespace, Service: v.Service, Environment: v.Environment,
		Subject: v.Digest, Actor: actor, Retention: assay.RetainAudit, Payload: payload,
	}
	if c == Gone {
		f.Causes = []assay.FactID{v.Fact}
	}
	return tx.Append(f)
}

// Filter selects what List returns; empty fields select all.
type Filter struct {
	Environment string
	Digest      assay.Digest
	TTL         time.Duration // 0 means DefaultTTL
}

// List returns what runs now: by environment, service, place, artifact and source.
func List(ctx context.Context, s store.Store, namespace string, f Filter, now time.Time) ([]Running, error) {
	var list []Running
	prefix := ""
	if f.Digest != "" {
		prefix = url.PathEscape(string(f.Digest)) + "/"
	}
	err := s.View(ctx, func(r store.Reader) error {
		return each(r, namespace, prefix, func(_ string, v Running) {
			if !v.expired(cmp.Or(f.TTL, DefaultTTL), now) && (f.Environment == "" || f.Environment == v.Environment) {
				list = append(list, v)
			}
		})
	})
	slices.SortFunc(list, func(a, b Running) int {
		return cmp.Or(strings.Compare(a.Environment, b.Environment), strings.Compare(a.Service, b.Service), strings.Compare(a.Place, b.Place),
			strings.Compare(a.Artifact(), b.Artifact()), strings.Compare(a.Source, b.Source))
	})
	return list, err
}

// Artifact is what identifies what runs: its digest, or its image if that is all that is known.
func (v Running) Artifact() string { return cmp.Or(string(v.Digest), v.Image) }

func (v Running) expired(ttl time.Duration, now time.Time) bool { return now.Sub(v.Last) > ttl }

// name is where a sighting is kept: each of its parts is escaped, so that none can stand in for another.
func (g Sighting) name(source string) string {
	parts := []string{cmp.Or(string(g.Digest), g.Image), g.Environment, g.Place, g.Service, source}
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	name := strings.Join(parts, "/")
	if len(name) <= store.MaxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	artifact := sha256.Sum256([]byte(parts[0]))
	if g.Digest != "" {
		return parts[0] + "/" + hex.EncodeToString(sum[:])
	}
	return hex.EncodeToString(artifact[:]) + "/" + hex.EncodeToString(sum[:])
}

// checked completes a report, or refuses it.
func (r Report) checked(now time.Time) (Report, error) {
	if len(r.Sightings) > MaxSightings {
		return r, assay.Errorf(assay.CodeTooLarge, "the report has %d sightings; at most %d are accepted, send several reports", len(r.Sightings), MaxSightings)
	}
	if err := checkName("source", r.Source, MaxName); err != nil {
		return r, err
	}
	if r.Complete || r.Environment != "" {
		if err := checkName("environment", r.Environment, MaxName); err != nil {
			return r, err
		}
	}
	all := make([]Sighting, 0, len(r.Sightings))
	for i, g := range r.Sightings {
		g, err := g.checked(r, now)
		if e, ok := err.(*assay.Error); ok {
			e.Field = fmt.Sprintf("sightings[%d].%s", i, e.Field)
			return r, e
		}
		all = append(all, g)
	}
	r.Sightings = all
	return r, nil
}

func (g Sighting) checked(r Report, now time.Time) (Sighting, error) {
	g.Environment = cmp.Or(g.Environment, r.Environment)
	g.Instances = cmp.Or(g.Instances, 1)
	if g.Seen.IsZero() {
		g.Seen = now
	}
	g.Seen = g.Seen.UTC()
	for _, t := range []struct {
		field, text string
		most        int
		optional    bool
	}{
		{"service", g.Service, MaxName, false}, {"environment", g.Environment, MaxName, false},
		{"place", g.Place, MaxName, true}, {"image", g.Image, MaxImage, true},
	} {
		if t.text == "" && t.optional {
			continue
		}
		if err := checkName(t.field, t.text, t.most); err != nil {
			return g, err
		}
	}
	if r.Complete && g.Environment != r.Environment {
		return g, invalid("environment", fmt.Sprintf("is %q, but the report is the complete one of %q", g.Environment, r.Environment))
	}
	if _, err := assay.ParseDigest(string(g.Digest)); g.Digest != "" && err != nil {
		return g, invalid("digest", "is not sha256: and 64 lower-case hexadecimal digits")
	}
	if g.Digest == "" {
		if _, after, found := strings.Cut(g.Image, "@"); found { // what is pinned need not be said twice
			d, err := assay.ParseDigest(after)
			if err != nil {
				return g, invalid("image", "is pinned to something else than a sha256 digest")
			}
			g.Digest = d
		}
	}
	switch {
	case g.Digest == "" && g.Image == "":
		return g, invalid("digest", "is missing, and so is image: one of them says what runs")
	case g.Instances < 0 || g.Instances > MaxInstances:
		return g, invalid("instances", fmt.Sprintf("is %d; expected 1 to %d", g.Instances, MaxInstances))
	case g.Seen.After(now.Add(MaxSkew)):
		return g, invalid("seen", fmt.Sprintf("is %s ahead of this clock", g.Seen.Sub(now).Round(time.Second)))
	case g.Seen.Year() < 1970:
		return g, invalid("seen", "is before 1970")
	}
	return g, nil
}

func checkName(field, s string, most int) error {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	if s == "" || len(s) > most || !utf8.ValidString(s) || strings.TrimSpace(s) != s || strings.ContainsFunc(s, hidden) {
		return invalid(field, fmt.Sprintf("is not 1 to %d bytes of printable characters without outer blanks", most))
	}
	return nil
}

func invalid(field, msg string) *assay.Error {
	return &assay.Error{Code: assay.CodeInvalid, Field: field, Msg: msg}
}

// each calls do with every sighting whose name starts with prefix.
func each(r store.Reader, namespace, prefix string, do func(name string, v Running)) error {
	return eachOf(r, store.Key{Namespace: namespace, Bucket: bucketRunning, Name: prefix}, do)
}

func eachOf[T any](r store.Reader, k store.Key, do func(name string, v T)) error {
	for after := ""; ; {
		values, err := r.List(k, after, store.MaxLimit)
		if err != nil || len(values) == 0 {
			return err
		}
		for _, value := range values {
			var v T
			if err := json.Unmarshal(value.Data, &v); err != nil {
				return unreadable(value.Key, err)
			}
			do(value.Key.Name, v)
			after = value.Key.Name
		}
	}
}

func unreadable(k store.Key, err error) error {
	return assay.Errorf(assay.CodeInternal, "%s %s cannot be read from the store: %w", k.Bucket, k.Name, err)
}

func put(tx store.Tx, k store.Key, v any, ifVersion int64) error {
	data, err := json.Marshal(v)
	if err != nil {
		return assay.Errorf(assay.CodeInternal, "%s %s cannot be encoded: %w", k.Bucket, k.Name, err)
	}
	_, err = tx.Put(k, data, ifVersion)
	return err
}
