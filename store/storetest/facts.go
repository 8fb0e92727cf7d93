package storetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

func testAppendCompletes(t *testing.T, s store.Store) {
	sum := assay.DigestOf([32]byte{1, 2, 3})
	zone := time.FixedZone("east", 3600)
	cause := appendFact(t, s, fact("a.cause", 0))
	full := assay.Fact{
		ID: store.NewFactID(), Kind: "gate.verdict", Version: 3, Time: day.In(zone), Namespace: ns,
		Service: "shop", Environment: "prod", Subject: sum, TraceID: "t-1", DeploymentID: "d-1",
		PolicyRevision: assay.DigestOf([32]byte{9}), Actor: "ci@example.com", Causes: []assay.FactID{cause},
		Retention: assay.RetainAudit, Payload: json.RawMessage(`{"b": 1, "a": "ö"}`),
	}
	if id := appendFact(t, s, full); id != full.ID {
		t.Errorf("Append returned %s, want %s", id, full.ID)
	}
	var row store.Row
	view(t, s, func(r store.Reader) (err error) {
		row, err = r.Fact(ns, full.ID)
		return err
	})
	if row.Fact.Recorded.IsZero() || row.Fact.Recorded.Location() != time.UTC {
		t.Errorf("Recorded %v", row.Fact.Recorded)
	}
	want := full
	want.Time, want.Recorded = day, row.Fact.Recorded
	if !reflect.DeepEqual(row.Fact, want) {
		t.Errorf("read back\n%+v, want\n%+v", row.Fact, want)
	}

	id := appendFact(t, s, fact("a.b", 1))
	view(t, s, func(r store.Reader) (err error) {
		row, err = r.Fact(ns, id)
		return err
	})
	if row.Fact.ID != id || !row.Fact.Time.Equal(row.Fact.Recorded) || row.Fact.Subject != "" || row.Fact.Causes != nil {
		t.Errorf("a fact without id and time became %+v", row.Fact)
	}
}

func testAppendIdempotent(t *testing.T, s store.Store) {
	f := audit(1)
	f.ID = store.NewFactID()
	appendFact(t, s, f)
	appendFact(t, s, f)
	update(t, s, func(tx store.Tx) error {
		for range 2 {
			if id, err := tx.Append(f); err != nil || id != f.ID {
				return fmt.Errorf("append again: %s, %w", id, err)
			}
		}
		return nil
	})
	wantPayloads(t, "after repeated appends", facts(t, s, store.Query{Namespace: ns}), 1)
	for what, change := range map[string]func(f *assay.Fact){
		"payload": func(f *assay.Fact) { f.Payload = json.RawMessage(`{"n": 1}`) },
		"actor":   func(f *assay.Fact) { f.Actor = "another" },
		"time":    func(f *assay.Fact) { f.Time = day },
		"service": func(f *assay.Fact) { f.Service = "x" },
	} {
		other := f
		change(&other)
		err := s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.Append(other); return err })
		wantCode(t, "same id, other "+what, err, assay.CodeConflict)
	}
	other := f
	other.Namespace = "team-b"
	appendFact(t, s, other) // ids are unique within a namespace
}

func testAppendRefuses(t *testing.T, s store.Store) {
	big := append(append([]byte(`"`), bytes.Repeat([]byte("x"), store.MaxPayload-1)...), '"')
	for _, c := range []struct {
		what   string
		change func(f *assay.Fact)
		want   assay.Code
	}{
		{"no kind", func(f *assay.Fact) { f.Kind = "" }, assay.CodeInvalid},
		{"no namespace", func(f *assay.Fact) { f.Namespace = "" }, assay.CodeInvalid},
		{"no actor", func(f *assay.Fact) { f.Actor = "" }, assay.CodeInvalid},
		{"version 0", func(f *assay.Fact) { f.Version = 0 }, assay.CodeInvalid},
		{"unknown retention", func(f *assay.Fact) { f.Retention = "forever" }, assay.CodeInvalid},
		{"no retention", func(f *assay.Fact) { f.Retention = "" }, assay.CodeInvalid},
		{"no payload", func(f *assay.Fact) { f.Payload = nil }, assay.CodeInvalid},
		{"cut payload", func(f *assay.Fact) { f.Payload = json.RawMessage(`{"a":`) }, assay.CodeInvalid},
		{"two payloads", func(f *assay.Fact) { f.Payload = json.RawMessage(`1 2`) }, assay.CodeInvalid},
		{"duplicate key", func(f *assay.Fact) { f.Payload = json.RawMessage(`{"a":1,"a":2}`) }, assay.CodeInvalid},
		{"payload above the limit", func(f *assay.Fact) { f.Payload = big }, assay.CodeTooLarge},
		{"line feed in actor", func(f *assay.Fact) { f.Actor = "a\nb" }, assay.CodeInvalid},
		{"escape in kind", func(f *assay.Fact) { f.Kind = "a\x1b[2J" }, assay.CodeInvalid},
		{"NUL in namespace", func(f *assay.Fact) { f.Namespace = "a\x00" }, assay.CodeInvalid},
		{"C1 control in service", func(f *assay.Fact) { f.Service = "a\u0085" }, assay.CodeInvalid},
		{"invalid UTF-8", func(f *assay.Fact) { f.TraceID = "\xff" }, assay.CodeInvalid},
		{"long environment", func(f *assay.Fact) { f.Environment = strings.Repeat("x", store.MaxName+1) }, assay.CodeTooLarge},
		{"id that is no UUIDv7", func(f *assay.Fact) { f.ID = "42" }, assay.CodeInvalid},
		{"upper-case id", func(f *assay.Fact) { f.ID = assay.FactID(strings.ToUpper(string(store.NewFactID()))) }, assay.CodeInvalid},
		{"bad subject", func(f *assay.Fact) { f.Subject = "sha256:12" }, assay.CodeInvalid},
		{"bad policy revision", func(f *assay.Fact) { f.PolicyRevision = "md5:12" }, assay.CodeInvalid},
		{"time out of range", func(f *assay.Fact) { f.Time = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC) }, assay.CodeInvalid},
		{"absent cause", func(f *assay.Fact) { f.Causes = []assay.FactID{store.NewFactID()} }, assay.CodeNotFound},
		{"empty cause", func(f *assay.Fact) { f.Causes = []assay.FactID{""} }, assay.CodeInvalid},
		{"too many causes", func(f *assay.Fact) { f.Causes = make([]assay.FactID, store.MaxCauses+1) }, assay.CodeTooLarge},
	} {
		f := fact("a.b", 1)
		c.change(&f)
		err := s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.Append(f); return err })
		wantCode(t, c.what, err, c.want)
	}
	wantPayloads(t, "after refusals", facts(t, s, store.Query{Namespace: ns}))
	f := fact("a.b", 1)
	f.Payload = append(big[:store.MaxPayload-1:store.MaxPayload-1], '"')
	appendFact(t, s, f) // exactly the limit
	if rows := facts(t, s, store.Query{Namespace: ns}); len(rows) != 1 || !bytes.Equal(rows[0].Fact.Payload, f.Payload) {
		t.Errorf("a payload of MaxPayload did not come back")
	}
}

func testArguments(t *testing.T, s store.Store) {
	view(t, s, func(r store.Reader) error {
		for what, k := range map[string]store.Key{
			"no namespace": {Bucket: "b", Name: "n"}, "no bucket": {Namespace: ns, Name: "n"},
			"no name": {Namespace: ns, Bucket: "b"}, "control": {Namespace: ns, Bucket: "b", Name: "a\tb"},
		} {
			_, err := r.Get(k)
			wantCode(t, "Get with "+what, err, assay.CodeInvalid)
		}
		for what, q := range map[string]store.Query{
			"no namespace": {}, "bad subject": {Namespace: ns, Subject: "x"}, "bad cause": {Namespace: ns, Cause: "x"},
			"negative limit": {Namespace: ns, Limit: -1}, "empty kind": {Namespace: ns, Kinds: []string{""}},
		} {
			_, err := r.Facts(q)
			wantCode(t, "Facts with "+what, err, assay.CodeInvalid)
		}
		_, err := r.Facts(store.Query{Namespace: ns, Limit: store.MaxLimit + 1})
		wantCode(t, "Facts above MaxLimit", err, assay.CodeTooLarge)
		_, err = r.List(key(""), "", store.MaxLimit+1)
		wantCode(t, "List above MaxLimit", err, assay.CodeTooLarge)
		_, err = r.Fact(ns, "no-id")
		wantCode(t, "Fact with a bad id", err, assay.CodeInvalid)
		_, err = r.Fact(ns, store.NewFactID())
		wantCode(t, "Fact that is absent", err, assay.CodeNotFound)
		return nil
	})
}

func testFacts(t *testing.T, s store.Store) {
	subject := assay.DigestOf([32]byte{7})
	for i := range 8 {
		f := fact([]string{"a.x", "b.x", "c.x", "a.x"}[i%4], i)
		f.Time = day.Add(-time.Duration(i) * time.Hour) // event time runs against commit order
		if i%2 == 1 {
			f.Subject = subject
		}
		appendFact(t, s, f)
	}
	for _, c := range []struct {
		what string
		q    store.Query
		want []int
	}{
		{"all", store.Query{}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"one kind", store.Query{Kinds: []string{"a.x"}}, []int{0, 3, 4, 7}},
		{"two kinds", store.Query{Kinds: []string{"c.x", "b.x"}}, []int{1, 2, 5, 6}},
		{"unknown kind", store.Query{Kinds: []string{"z"}}, nil},
		{"subject", store.Query{Subject: subject}, []int{1, 3, 5, 7}},
		{"subject and kind", store.Query{Subject: subject, Kinds: []string{"a.x"}}, []int{3, 7}},
		{"other subject", store.Query{Subject: assay.DigestOf([32]byte{8})}, nil},
		{"since is inclusive", store.Query{Since: day.Add(-2 * time.Hour)}, []int{0, 1, 2}},
		{"until is exclusive", store.Query{Until: day.Add(-5 * time.Hour)}, []int{6, 7}},
		{"a window", store.Query{Since: day.Add(-4 * time.Hour), Until: day.Add(-2 * time.Hour)}, []int{3, 4}},
		{"limit", store.Query{Limit: 3}, []int{0, 1, 2}},
		{"newest", store.Query{Newest: true, Limit: 3}, []int{7, 6, 5}},
		{"newest of a kind", store.Query{Newest: true, Kinds: []string{"a.x", "b.x"}, Limit: 4}, []int{7, 5, 4, 3}},
	} {
		c.q.Namespace = ns
		wantPayloads(t, c.what, facts(t, s, c.q), c.want...)
	}
}

func testFactsPaging(t *testing.T, s store.Store) {
	for i := range 25 {
		appendFact(t, s, fact("a.b", i))
	}
	for _, newest := range []bool{false, true} {
		var got []int
		var after int64
		for {
			rows := facts(t, s, store.Query{Namespace: ns, Newest: newest, After: after, Limit: 4})
			if len(rows) == 0 {
				break
			}
			for _, r := range rows {
				if after != 0 && (r.Commit > after) == newest {
					t.Fatalf("commit %d follows %d, newest first %v", r.Commit, after, newest)
				}
				after = r.Commit
				got = append(got, number(t, r.Fact))
			}
		}
		for i, n := range got {
			if newest {
				n = 24 - n
			}
			if n != i {
				t.Fatalf("newest %v: paged %v", newest, got)
			}
		}
		if len(got) != 25 {
			t.Errorf("newest %v: paged %d facts, want 25", newest, len(got))
		}
	}
}

func testCauses(t *testing.T, s store.Store) {
	root := appendFact(t, s, fact("a.root", 0))
	link := func(n int, causes ...assay.FactID) assay.FactID {
		f := fact("a.link", n)
		f.Causes = causes
		return appendFact(t, s, f)
	}
	one := link(1, root)
	two := link(2, one, root)
	link(3, two)
	for _, c := range []struct {
		cause assay.FactID
		want  []int
	}{{root, []int{1, 2}}, {one, []int{2}}, {two, []int{3}}} {
		wantPayloads(t, "effects", facts(t, s, store.Query{Namespace: ns, Cause: c.cause}), c.want...)
	}
	wantPayloads(t, "newest effect", facts(t, s, store.Query{Namespace: ns, Cause: root, Newest: true, Limit: 1}), 2)
	for _, r := range facts(t, s, store.Query{Namespace: ns, Kinds: []string{"a.link"}, Limit: 2}) {
		if number(t, r.Fact) == 2 && !reflect.DeepEqual(r.Fact.Causes, []assay.FactID{one, root}) {
			t.Errorf("causes %v, want them in the fact's order", r.Fact.Causes)
		}
	}
	f := fact("a.link", 4)
	f.Namespace, f.Causes = "team-b", []assay.FactID{root}
	err := s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.Append(f); return err })
	wantCode(t, "cause of another namespace", err, assay.CodeNotFound)
}

func testNamespaces(t *testing.T, s store.Store) {
	spaces := []string{"a", "ab", "b"} // one is a prefix of another
	ids := map[string]assay.FactID{}
	for i, n := range spaces {
		f := audit(i)
		f.Namespace = n
		f.Subject = assay.DigestOf([32]byte{1})
		ids[n] = appendFact(t, s, f)
		put(t, s, store.Key{Namespace: n, Bucket: "b", Name: "k"}, n)
	}
	for i, n := range spaces {
		for _, q := range []store.Query{{}, {Kinds: []string{"test.audit"}}, {Subject: assay.DigestOf([32]byte{1})}, {Newest: true}} {
			q.Namespace = n
			wantPayloads(t, n, facts(t, s, q), i)
		}
		view(t, s, func(r store.Reader) error {
			list, err := r.List(store.Key{Namespace: n, Bucket: "b"}, "", 0)
			if len(list) != 1 || string(list[0].Data) != n {
				t.Errorf("namespace %s lists %v", n, list)
			}
			for other, id := range ids {
				_, ferr := r.Fact(n, id)
				if (ferr == nil) != (n == other) {
					t.Errorf("fact of %s read from %s: %v", other, n, ferr)
				}
			}
			return err
		})
	}
}
