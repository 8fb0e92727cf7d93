package artifact_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

// judge writes the state of an artifact with so many judgements, and the fact that says so.
func judge(t *testing.T, s store.Store, name string, judgements int, at time.Time) artifact.Summary {
	t.Helper()
	v := artifact.Summary{Subject: assay.Subject{Name: name, Digest: digest(name)}, First: at, Last: at, Attestations: judgements}
	for j := range judgements {
		v.Judgements = append(v.Judgements, artifact.Attestation{
			Gate: "release", Environment: fmt.Sprint("env", j), Mode: assay.ModeWarn, Outcome: assay.OutcomeAbsent, Time: at.Add(time.Duration(j)),
			Policy: digest("policy"), Bundle: digest(fmt.Sprint(name, j, at)), KeyID: "SHA256:key",
		})
	}
	err := s.Update(t.Context(), func(tx store.Tx) error {
		payload, err := json.Marshal(artifact.VerdictPayload{Subject: v.Subject})
		if err != nil {
			return err
		}
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := tx.Put(store.Key{Namespace: ns, Bucket: "artifact", Name: string(v.Subject.Digest)}, data, store.AnyVersion); err != nil {
			return err
		}
		_, err = tx.Append(assay.Fact{Kind: assay.FactVerdict, Version: 1, Time: at, Namespace: ns, Subject: v.Subject.Digest, Actor: "ci", Retention: assay.RetainOperational, Payload: payload})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantKnown holds what an index knows against the state it was read from, in every field.
func wantKnown(t *testing.T, x *artifact.Index, v artifact.Summary) {
	t.Helper()
	want := artifact.Known{Name: v.Subject.Name, Attestations: v.Attestations, Judgements: []artifact.Judgement{}}
	for _, a := range v.Judgements {
		want.Judgements = append(want.Judgements, artifact.Judgement{
			Gate: a.Gate, Environment: a.Environment, Mode: a.Mode, Outcome: a.Outcome, Time: a.Time, Policy: a.Policy, Bundle: a.Bundle, KeyID: a.KeyID,
		})
	}
	if got, ok := x.Lookup(v.Subject.Digest); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: Lookup %+v, %v; want %+v", v.Subject.Name, got, ok, want)
	}
}

func TestAnIndexGivesBackWhatItWasGiven(t *testing.T) {
	s := mem.New(mem.Config{})
	t.Cleanup(func() { _ = s.Close() })
	var all []artifact.Summary
	for i, at := range []time.Time{now, time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC), now.Add(time.Nanosecond)} {
		all = append(all, judge(t, s, fmt.Sprintf("an artifact\x01 of %d", i), 100*i, at))
	}
	x := artifact.NewIndex(s, ns)
	if err := x.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		wantKnown(t, x, v)
	}
}

// An artifact that is judged again and again must not leave what was said before in memory.
func TestAnIndexForgetsWhatWasReplaced(t *testing.T) {
	const times, most = 100, 64 << 10 // a record has about 12 KB
	s := mem.New(mem.Config{})
	t.Cleanup(func() { _ = s.Close() })
	x := artifact.NewIndex(s, ns)
	judge(t, s, "app", 1, now)
	if err := x.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var last artifact.Summary
	for i := range times {
		last = judge(t, s, "app", 256, now.Add(time.Duration(i)*time.Hour))
		if err := x.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantKnown(t, x, last)
	if size := x.RecordBytes(); size > most {
		t.Errorf("one artifact of 256 judgements, judged %d times, takes %d bytes", times, size)
	}
}

// failing is a store whose views read everything and then fail.
type failing struct {
	store.Store
	err error
}

func (f *failing) View(ctx context.Context, fn func(store.Reader) error) error {
	return errors.Join(f.Store.View(ctx, fn), f.err)
}

func TestARefreshThatFailsIsNotSeenAndLeavesNothingBehind(t *testing.T) {
	f := &failing{Store: mem.New(mem.Config{})}
	t.Cleanup(func() { _ = f.Close() })
	x := artifact.NewIndex(f, ns)
	first := judge(t, f.Store, "one", 2, now)
	if err := x.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	size := x.RecordBytes()
	f.err = errors.New("the disk is gone")
	second := judge(t, f.Store, "one", 5, now.Add(time.Hour)) // words and records that the index has not seen
	for range 3 {
		if err := x.Refresh(t.Context()); !errors.Is(err, f.err) {
			t.Fatalf("Refresh: %v", err)
		}
	}
	wantKnown(t, x, first)
	if got := x.RecordBytes(); got != size {
		t.Errorf("after refreshes that failed the index holds %d bytes, before %d", got, size)
	}
	f.err = nil
	third := judge(t, f.Store, "two", 3, now)
	if err := x.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKnown(t, x, second)
	wantKnown(t, x, third)
}
