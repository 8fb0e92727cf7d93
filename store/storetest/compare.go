package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"pgregory.net/rapid"
)

// Compare runs random transactions on two adapters side by side and wants the
// same answers, values, facts and outbox from both, errors included.
func Compare(t *testing.T, openA, openB Open) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &pair{rt: rt, a: openA(t), b: openB(t)}
		defer p.close()
		actions := []func(*rapid.T){p.update, p.update, p.sequence, p.place}
		for range rapid.IntRange(1, 10).Draw(rt, "actions") {
			rapid.SampledFrom(actions).Draw(rt, "action")(rt)
		}
		p.same(rt)
	})
}

type pair struct {
	rt   *rapid.T
	a, b store.Store
	ids  []assay.FactID // that were appended, kept or not
}

func (p *pair) close() {
	for _, s := range []store.Store{p.a, p.b} {
		if err := s.Close(); err != nil {
			p.rt.Fatalf("close: %v", err)
		}
	}
}

var (
	someNS    = rapid.SampledFrom([]string{"a", "ab"})
	someName  = rapid.SampledFrom([]string{"k", "k1", "k1/x", "l"})
	someKind  = rapid.SampledFrom([]string{"x.y", "x.z"})
	someTimes = rapid.IntRange(0, 5)
)

// step is one operation inside a transaction; it returns its answer as text.
type step func(tx store.Tx) (string, error)

// update runs the same transaction on both.
func (p *pair) update(rt *rapid.T) {
	steps := rapid.SliceOfN(rapid.Custom(p.step), 1, 6).Draw(rt, "steps")
	fails := rapid.IntRange(0, 3).Draw(rt, "fails") == 0
	stubborn := rapid.Bool().Draw(rt, "goes on after errors")
	run := func(s store.Store) string {
		var answers []string
		err := s.Update(context.Background(), func(tx store.Tx) error {
			for _, do := range steps {
				text, err := do(tx)
				answers = append(answers, fmt.Sprintf("%s %s", text, assay.CodeOf(err)))
				if err != nil && !stubborn {
					return err
				}
			}
			if fails {
				return errMine
			}
			return nil
		})
		return fmt.Sprintf("%v %s", answers, assay.CodeOf(err))
	}
	if a, b := run(p.a), run(p.b); a != b {
		rt.Fatalf("a transaction answered\n%s\n%s", a, b)
	}
}

func (p *pair) step(rt *rapid.T) step {
	k := store.Key{Namespace: someNS.Draw(rt, "namespace"), Bucket: "b", Name: someName.Draw(rt, "name")}
	ifVersion := rapid.Int64Range(-1, 3).Draw(rt, "version")
	switch rapid.IntRange(0, 4).Draw(rt, "operation") {
	case 0:
		data := rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(rt, "data")
		return func(tx store.Tx) (string, error) {
			v, err := tx.Put(k, data, ifVersion)
			return fmt.Sprint("put ", v), err
		}
	case 1:
		return func(tx store.Tx) (string, error) { return "delete", tx.Delete(k, ifVersion) }
	case 2:
		return func(tx store.Tx) (string, error) { return readAll(tx) }
	default:
		f := p.fact(rt)
		return func(tx store.Tx) (string, error) {
			id, err := tx.Append(f)
			return fmt.Sprint("append ", id), err
		}
	}
}

// fact draws a fact that names its id and time, so that both stores get the same.
func (p *pair) fact(rt *rapid.T) assay.Fact {
	f := assay.Fact{
		Kind: someKind.Draw(rt, "kind"), Version: 1, Namespace: someNS.Draw(rt, "namespace"), Actor: "x",
		Time:      day.Add(time.Duration(someTimes.Draw(rt, "hour")) * time.Hour),
		Retention: rapid.SampledFrom([]assay.Retention{assay.RetainAudit, assay.RetainOperational}).Draw(rt, "retention"),
		Payload:   json.RawMessage(fmt.Sprint(rapid.IntRange(0, 1).Draw(rt, "payload"))),
	}
	if rapid.Bool().Draw(rt, "has subject") {
		f.Subject = assay.DigestOf([32]byte{1})
	}
	if len(p.ids) > 0 && rapid.Bool().Draw(rt, "has cause") {
		f.Causes = []assay.FactID{rapid.SampledFrom(p.ids).Draw(rt, "cause")}
	}
	if len(p.ids) > 0 && rapid.IntRange(0, 4).Draw(rt, "repeats an id") == 0 {
		f.ID = rapid.SampledFrom(p.ids).Draw(rt, "id")
		return f
	}
	f.ID = assay.FactID(fmt.Sprintf("018c0f2e-7a10-7c3b-8f00-%012x", len(p.ids)))
	p.ids = append(p.ids, f.ID)
	return f
}

func (p *pair) sequence(rt *rapid.T) {
	from, limit := rapid.Uint64Range(0, 3).Draw(rt, "from"), rapid.IntRange(1, 4).Draw(rt, "limit")
	run := func(s store.Store) string {
		entries, err := s.(store.Outbox).Sequence(context.Background(), from, limit)
		return entriesText(entries, err)
	}
	if a, b := run(p.a), run(p.b); a != b {
		rt.Fatalf("Sequence answered\n%s\n%s", a, b)
	}
}

func (p *pair) place(rt *rapid.T) {
	placed := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) store.Placement {
		seq := rapid.Uint64Range(0, 5).Draw(rt, "seq")
		return store.Placement{Seq: seq, Index: seq + rapid.SampledFrom([]uint64{0, 0, 0, 1}).Draw(rt, "shift")}
	}), 0, 3).Draw(rt, "placements")
	run := func(s store.Store) assay.Code {
		return assay.CodeOf(s.(store.Outbox).Place(context.Background(), placed))
	}
	if a, b := run(p.a), run(p.b); a != b {
		rt.Fatalf("Place(%v) answered %q and %q", placed, a, b)
	}
}

// same holds everything that can be read against each other.
func (p *pair) same(rt *rapid.T) {
	run := func(s store.Store) string {
		var out bytes.Buffer
		err := s.View(context.Background(), func(r store.Reader) error {
			text, err := readAll(r)
			out.WriteString(text)
			return err
		})
		entries, eerr := s.(store.Outbox).Entries(context.Background(), 0, 0)
		fmt.Fprint(&out, err, entriesText(entries, eerr))
		for _, id := range p.ids {
			e, err := s.(store.Outbox).Entry(context.Background(), "a", id)
			fmt.Fprintln(&out, e.Numbered, e.Seq, e.Placed, e.Index, e.Fact.ID, assay.CodeOf(err))
		}
		return out.String()
	}
	if a, b := run(p.a), run(p.b); a != b {
		rt.Fatalf("the stores differ:\n%s\n---\n%s", a, b)
	}
}

// readAll asks every kind of question and writes the answers down.
func readAll(r store.Reader) (string, error) {
	var out bytes.Buffer
	for _, n := range []string{"a", "ab"} {
		for _, prefix := range []string{"", "k", "k1"} {
			list, err := r.List(store.Key{Namespace: n, Bucket: "b", Name: prefix}, "k", 2)
			if err != nil {
				return "", err
			}
			for _, v := range list {
				fmt.Fprintln(&out, v.Key, v.Version, v.Data)
			}
		}
		for _, q := range []store.Query{
			{}, {Kinds: []string{"x.y"}}, {Subject: assay.DigestOf([32]byte{1}), Newest: true},
			{Since: day.Add(time.Hour), Until: day.Add(4 * time.Hour)}, {Newest: true, Limit: 2, After: 4}, {After: 2, Limit: 2},
			{Cause: "018c0f2e-7a10-7c3b-8f00-000000000000"},
		} {
			q.Namespace = n
			rows, err := r.Facts(q)
			if err != nil {
				return "", err
			}
			for _, row := range rows {
				row.Fact.Recorded = time.Time{}
				fmt.Fprintln(&out, row.Commit, row.Fact)
			}
		}
	}
	return out.String(), nil
}

func entriesText(entries []store.Entry, err error) string {
	var out strings.Builder
	out.WriteString(fmt.Sprint(assay.CodeOf(err), "\n"))
	for _, e := range entries {
		e.Fact.Recorded = time.Time{}
		out.WriteString(fmt.Sprintln(e))
	}
	return out.String()
}
