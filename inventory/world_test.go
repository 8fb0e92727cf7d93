package inventory_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/advisory"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/evidence"
	"assay.dev/assay/inventory"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
)

const ns = "default"

var start = time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)

func digest(of string) assay.Digest { return assay.DigestOf(sha256.Sum256([]byte(of))) }

// world is an installation without a ledger.
type world struct {
	t      *testing.T
	now    time.Time
	store  *mem.Store
	blobs  *files.Blobs
	signer *keyfile.Signer
	trust  attest.TrustPolicy
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: start}
	w.store = mem.New(mem.Config{Now: func() time.Time { return w.now }})
	var err error
	if w.blobs, err = files.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.store.Close(), w.blobs.Close()); err != nil {
			t.Error(err)
		}
	})
	if w.signer, err = keyfile.Generate(keyfile.ECDSAP256); err != nil {
		t.Fatal(err)
	}
	key, err := attest.NewKey(w.signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	w.trust = attest.TrustPolicy{Keys: []attest.TrustedKey{{Key: key, VerifierIDs: []string{assay.DefaultVerifierID}}}}
	return w
}

// attest records a verdict about an artifact whose content is its name.
func (w *world) attest(name, env string, o assay.Outcome, change ...func(*assay.Verdict)) artifact.Recorded {
	w.t.Helper()
	v := assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Environment: env, Outcome: o, Time: w.now,
		Subject: assay.Subject{Name: name, Digest: digest(name), URI: "pkg:generic/" + name},
		Policy:  assay.PolicyRef{URI: "file:policies", Digest: digest("policy")}, Levels: []string{"ASSAY_RELEASE"},
		Evidence: []assay.EvidenceRef{{Kind: assay.KindTests, Source: "t.json", Digest: digest("tests"), Origin: assay.OriginLive}},
	}
	for _, c := range change {
		c(&v)
	}
	st, err := attest.VSA(v, attest.VSAOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := attest.Sign(w.t.Context(), w.signer, st)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := artifact.Record(w.t.Context(), w.store, w.blobs, artifact.Entry{Namespace: ns, Actor: "ci", Verdict: v, Bundle: b})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// bill keeps a bill of materials and adds it to a verdict's evidence.
func (w *world) bill(purls ...string) func(*assay.Verdict) {
	w.t.Helper()
	data := cyclonedx(purls...)
	d, err := w.blobs.Put(w.t.Context(), strings.NewReader(data), 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	ev, err := evidence.Read(strings.NewReader(data), "bom.json", evidence.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return func(v *assay.Verdict) {
		v.Evidence = append(v.Evidence, assay.EvidenceRef{Kind: ev.Kind, Format: ev.Format, Source: "bom.json", Digest: d, Origin: assay.OriginLive})
	}
}

func cyclonedx(purls ...string) string {
	var b bytes.Buffer
	b.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.5","components":[`)
	for i, p := range purls {
		if i > 0 {
			b.WriteByte(',')
		}
		name, version, _ := strings.Cut(p[strings.LastIndexByte(p, '/')+1:], "@")
		fmt.Fprintf(&b, `{"type":"library","name":%q,"version":%q,"purl":%q}`, name, version, p)
	}
	b.WriteString(`]}`)
	return b.String()
}

// push reports sightings from the source "agent".
func (w *world) push(complete bool, env string, s ...inventory.Sighting) inventory.Pushed {
	w.t.Helper()
	out, err := inventory.Push(w.t.Context(), w.store, inventory.Report{
		Namespace: ns, Source: "agent", Actor: "agent", Sightings: s, Complete: complete, Environment: env,
	}, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// runs is an artifact made by attest that serves a service in production.
func runs(name, service string) inventory.Sighting {
	return inventory.Sighting{Service: service, Environment: "prod", Digest: digest(name)}
}

func (w *world) facts(kinds ...string) []assay.Fact {
	w.t.Helper()
	var all []assay.Fact
	err := w.store.View(w.t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: ns, Kinds: kinds})
		for _, row := range rows {
			all = append(all, row.Fact)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// database is one of the given OSV records.
func database(records ...string) inventory.Database {
	return func(_ context.Context, each func(advisory.Advisory) error) (advisory.Report, error) {
		for _, r := range records {
			a, err := advisory.ParseAdvisory([]byte(r))
			if err != nil {
				return advisory.Report{}, err
			}
			if err := each(a); err != nil {
				return advisory.Report{}, err
			}
		}
		return advisory.Report{Digest: digest(strings.Join(records, "\n")), Advisories: len(records)}, nil
	}
}

func flaw(id, pkg, fixed string, aliases ...string) string {
	data, _ := json.Marshal(map[string]any{
		"id": id, "aliases": aliases, "modified": "2026-01-02T03:04:05Z", "summary": "a flaw in " + pkg,
		"database_specific": map[string]string{"severity": "HIGH"},
		"affected": []any{map[string]any{
			"package": map[string]string{"ecosystem": "npm", "name": pkg},
			"ranges":  []any{map[string]any{"type": "SEMVER", "events": []any{map[string]string{"introduced": "0"}, map[string]string{"fixed": fixed}}}},
		}},
	})
	return string(data)
}

func withdrawn(record string) string {
	return strings.Replace(record, `"id":`, `"withdrawn":"2026-02-02T00:00:00Z","id":`, 1)
}

func (w *world) discover(db inventory.Database) inventory.Discovered {
	w.t.Helper()
	d, err := inventory.Discover(w.t.Context(), inventory.Search{Store: w.store, Blobs: w.blobs, Namespace: ns, Actor: "scanner"}, db, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}
