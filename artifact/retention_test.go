package artifact_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
)

func TestExpiredEvidenceIsRemovedOnRecordAndToldFromLost(t *testing.T) {
	now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	s := mem.New(mem.Config{Now: func() time.Time { return now }})
	blobs, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	put := func(text string) assay.Digest {
		d, err := blobs.Put(t.Context(), bytes.NewReader([]byte(text)), 100)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	old, shared, fresh, document := put("old"), put("old and new"), put("new"), put("verdict")
	elsewhere := digest("never uploaded")
	verdict := func(age int, evidence ...assay.Digest) assay.Fact {
		payload, err := json.Marshal(map[string]any{"evidence": evidence, "document": document})
		if err != nil {
			t.Fatal(err)
		}
		return assay.Fact{
			Kind: assay.FactVerdict, Version: 1, Namespace: "shop", Actor: "ci", Retention: assay.RetainAudit,
			Time: now.AddDate(0, 0, -age), Payload: payload,
		}
	}
	signed := put("a bundle that another gate had as evidence")
	bundle, err := json.Marshal(map[string]any{"bundle_digest": signed})
	if err != nil {
		t.Fatal(err)
	}
	facts := []assay.Fact{verdict(100, old, shared, elsewhere, signed), verdict(1, shared, fresh), {
		Kind: assay.FactStatementSigned, Version: 1, Namespace: "other", Actor: "ci", Retention: assay.RetainAudit,
		Time: now.AddDate(0, 0, -200), Payload: bundle,
	}}
	err = s.Update(t.Context(), func(tx store.Tx) error {
		for _, d := range []assay.Digest{old, shared, fresh, signed} {
			if _, err := tx.Put(store.Key{Namespace: "shop", Bucket: "evidence", Name: string(d)}, []byte("{}"), 0); err != nil {
				return err
			}
		}
		for _, f := range facts {
			if _, err := tx.Append(f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sequence(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	expire := func(days, want int) {
		t.Helper()
		n, err := artifact.Expire(t.Context(), artifact.ExpireConfig{Store: s, Outbox: s, Blobs: blobs, Days: days, Now: now})
		if err != nil || n != want {
			t.Errorf("%d days: expired %d, %v; want %d", days, n, err, want)
		}
	}
	expire(200, 0)
	expire(30, 1)
	if d, err := blobs.Put(t.Context(), bytes.NewReader([]byte("old")), 100); err != nil || d != old {
		t.Fatal(d, err) // as if the first call had died before it removed anything
	}
	expire(30, 0) // once
	if _, err := blobs.Open(t.Context(), old); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("what is on record as expired is still there: %v", err)
	}
	p, err := artifact.OpenPayloads(t.Context(), s, blobs)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := p.Expired(old); !ok || !at.Equal(now) {
		t.Errorf("expired at %v, %v", at, ok)
	}
	if named := fmt.Sprint(p.Named(facts[0])); named != fmt.Sprint([]assay.Digest{document, old, shared, signed}) {
		t.Errorf("the verdict names %s; what was never uploaded is no payload", named)
	}
	if err := blobs.Remove(t.Context(), fresh); err != nil { // by somebody else
		t.Fatal(err)
	}
	for d, want := range map[assay.Digest]ledger.PayloadState{
		old: ledger.PayloadExpired, shared: ledger.PayloadKept, fresh: ledger.PayloadLost, document: ledger.PayloadKept,
	} {
		if got, err := p.State(t.Context(), d); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", d.Short(), got, err, want)
		}
	}
}

func TestWhatIsUploadedOrUsedWhileRetentionRunsStays(t *testing.T) {
	now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	const days = 30
	for name, c := range map[string]struct {
		meanwhile func(tx store.Tx, d assay.Digest) error // between the scan and the removal
		runs      bool
		want      int
	}{
		"nothing happens": {want: 1},
		"it is uploaded again": {meanwhile: func(tx store.Tx, d assay.Digest) error {
			return artifact.NoteUpload(tx, "other", d, now)
		}},
		"a verdict uses it": {meanwhile: func(tx store.Tx, d assay.Digest) error {
			_, err := tx.Append(verdictOn(now, d))
			return err
		}},
		"what it is about runs": {runs: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := mem.New(mem.Config{Now: func() time.Time { return now }})
			blobs, err := files.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer blobs.Close()
			d, err := blobs.Put(t.Context(), bytes.NewReader([]byte("report")), 100)
			if err != nil {
				t.Fatal(err)
			}
			update := func(fn func(tx store.Tx) error) {
				t.Helper()
				if err := s.Update(t.Context(), fn); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Sequence(t.Context(), 0, 0); err != nil {
					t.Fatal(err)
				}
			}
			update(func(tx store.Tx) error {
				if err := artifact.NoteUpload(tx, "shop", d, now.AddDate(0, 0, -100)); err != nil {
					return err
				}
				_, err := tx.Append(verdictOn(now.AddDate(0, 0, -99), d))
				return err
			})
			n, err := artifact.Expire(t.Context(), artifact.ExpireConfig{
				Store: s, Outbox: s, Blobs: blobs, Days: days, Now: now,
				Runs: func(ns string, a assay.Digest) bool { return c.runs && ns == "shop" && a == digest("app") },
				Alone: func(fn func() error) error {
					if c.meanwhile != nil {
						update(func(tx store.Tx) error { return c.meanwhile(tx, d) })
					}
					return fn()
				},
			})
			if err != nil || n != c.want {
				t.Errorf("expired %d, %v; want %d", n, err, c.want)
			}
			f, err := blobs.Open(t.Context(), d)
			if err == nil {
				err = f.Close()
			}
			if gone := assay.CodeOf(err) == assay.CodeNotFound; gone != (c.want == 1) {
				t.Errorf("opening it: %v", err)
			}
		})
	}
}

func TestEvidenceThatComesBackAfterItExpiredIsKeptAnew(t *testing.T) {
	now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	s := mem.New(mem.Config{Now: func() time.Time { return now }})
	blobs, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	bring := func(used bool) assay.Digest {
		t.Helper()
		d, err := blobs.Put(t.Context(), bytes.NewReader([]byte("report")), 100)
		if err == nil {
			err = s.Update(t.Context(), func(tx store.Tx) error {
				if used {
					if _, err := tx.Append(verdictOn(now, d)); err != nil {
						return err
					}
				}
				return artifact.NoteUpload(tx, "shop", d, now)
			})
		}
		if err == nil {
			_, err = s.Sequence(t.Context(), 0, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	expire := func(want int) {
		t.Helper()
		n, err := artifact.Expire(t.Context(), artifact.ExpireConfig{Store: s, Outbox: s, Blobs: blobs, Days: 30, Now: now})
		if err != nil || n != want {
			t.Errorf("expired %d, %v; want %d", n, err, want)
		}
	}
	bring(true)
	now = now.AddDate(0, 0, 31)
	expire(1)
	now = now.Add(time.Minute)
	d := bring(false) // for a verdict that is still to come
	expire(0)
	if f, err := blobs.Open(t.Context(), d); err != nil {
		t.Errorf("what was uploaded again is gone: %v", err)
	} else if err := f.Close(); err != nil {
		t.Error(err)
	}
	now = now.AddDate(0, 0, 31)
	expire(1)
}

func TestWhatWasUploadedAndNeverUsedExpiresAndWhatAStatementSaysStays(t *testing.T) {
	now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	const days = 30
	for name, c := range map[string]struct {
		uploaded int // days ago
		stated   int // days ago; 0 means never
		runs     bool
		want     int
	}{
		"lately, and not used":                   {uploaded: days - 1},
		"long ago, and not used":                 {uploaded: days + 1, want: 1},
		"long ago, and stated lately":            {uploaded: 100, stated: days - 1},
		"long ago, and stated long ago":          {uploaded: 100, stated: days + 1, want: 1},
		"stated long ago of something that runs": {uploaded: 100, stated: days + 1, runs: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := mem.New(mem.Config{Now: func() time.Time { return now }})
			blobs, err := files.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer blobs.Close()
			d, err := blobs.Put(t.Context(), bytes.NewReader([]byte("report")), 100)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Update(t.Context(), func(tx store.Tx) error {
				if err := artifact.NoteUpload(tx, "shop", d, now.AddDate(0, 0, -c.uploaded)); err != nil || c.stated == 0 {
					return err
				}
				_, err := tx.Append(assay.Fact{
					Kind: assay.FactStatementSigned, Version: 1, Namespace: "shop", Actor: "ci", Retention: assay.RetainAudit, Subject: digest("app"),
					Time: now.AddDate(0, 0, -c.stated), Payload: fmt.Appendf(nil, `{"bundle_digest":%q,"evidence":[%q]}`, digest("bundle"), d),
				})
				return err
			})
			if err == nil {
				_, err = s.Sequence(t.Context(), 0, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []int{c.want, 0} { // once
				n, err := artifact.Expire(t.Context(), artifact.ExpireConfig{
					Store: s, Outbox: s, Blobs: blobs, Days: days, Now: now,
					Runs: func(ns string, a assay.Digest) bool { return c.runs && ns == "shop" && a == digest("app") },
				})
				if err != nil || n != want {
					t.Errorf("expired %d, %v; want %d", n, err, want)
				}
			}
			f, err := blobs.Open(t.Context(), d)
			if err == nil {
				err = f.Close()
			}
			if gone := assay.CodeOf(err) == assay.CodeNotFound; gone != (c.want == 1) {
				t.Errorf("opening it: %v", err)
			}
		})
	}
}

// verdictOn is a verdict about app that one report was evidence of.
func verdictOn(at time.Time, evidence assay.Digest) assay.Fact {
	return assay.Fact{
		Kind: assay.FactVerdict, Version: 1, Namespace: "shop", Actor: "ci", Retention: assay.RetainAudit, Subject: digest("app"),
		Time: at, Payload: fmt.Appendf(nil, `{"evidence":[%q],"document":%q}`, evidence, digest("document")),
	}
}
