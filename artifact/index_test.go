package artifact_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

// image returns a verdict about an image.
func image(name, content string, outcome assay.Outcome, at time.Time) assay.Verdict {
	v := verdict(outcome, at)
	v.Subject = assay.Subject{Name: name, Digest: digest(content), URI: "pkg:oci/checkout"}
	return v
}

func (w *world) index(t *testing.T) *artifact.Index {
	t.Helper()
	x := artifact.NewIndex(w.store, ns)
	if err := x.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestIndexAnswersByDigestAndByReference(t *testing.T) {
	w := newWorld(t)
	const tag = "registry.example/shop/checkout:1.4"
	w.record(t, w.entry(t, image(tag, "one", assay.OutcomePass, now)))
	x := w.index(t)
	k, ok := x.Lookup(digest("one"))
	if !ok || k.Name != tag || k.Attestations != 1 || len(k.Judgements) != 1 || k.Judgements[0].Outcome != assay.OutcomePass || k.Judgements[0].KeyID != w.signer.KeyID() {
		t.Errorf("Lookup: %+v, %v", k, ok)
	}
	if _, ok := x.Lookup(digest("two")); ok {
		t.Error("an artifact that nobody judged is known")
	}
	for ref, want := range map[string]assay.Digest{
		tag: digest("one"),
		"registry.example/shop/checkout@" + string(digest("x")):     digest("x"),
		"registry.example/shop/checkout:1.4@" + string(digest("x")): digest("x"),
		"registry.example/shop/checkout":                            "", // means :latest
		"shop/checkout:1.4":                                         "", // Docker Hub's
		"registry.example/shop/CHECKOUT:1.4":                        "",
		"":                                                          "",
		strings.Repeat("a", 5000):                                   "",
	} {
		if got, ok := x.Resolve(ref); got != want || ok != (want != "") {
			t.Errorf("Resolve(%.60q) = %q, %v; want %q", ref, got, ok, want)
		}
	}
}

func TestATagMeansWhatTheNewestVerdictAboutItSays(t *testing.T) {
	w := newWorld(t)
	const tag = "registry.example/shop/checkout:prod"
	w.record(t, w.entry(t, image(tag, "new", assay.OutcomeFail, now)))
	w.record(t, w.entry(t, image(tag, "old", assay.OutcomePass, now.Add(-time.Hour))))
	if got, _ := w.index(t).Resolve(tag); got != digest("new") {
		t.Errorf("Resolve: %s", got)
	}
	if got, err := artifact.Find(t.Context(), w.store, ns, tag); got != digest("new") || err != nil {
		t.Errorf("Find: %s, %v", got, err)
	}
}

func TestAFileDoesNotAnswerForAnImageOfItsName(t *testing.T) {
	w := newWorld(t)
	w.record(t, w.entry(t, image("nginx", "a file", assay.OutcomePass, now)))
	x := w.index(t)
	if got, ok := x.Resolve("nginx"); ok {
		t.Errorf("the image nginx is %s", got)
	}
	if got, err := artifact.Find(t.Context(), w.store, ns, "nginx"); got != digest("a file") || err != nil {
		t.Errorf("the file is not found by its name: %s, %v", got, err)
	}
	if _, err := artifact.Find(t.Context(), w.store, ns, "apache"); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestRefreshSeesOnlyWhatWasRecordedSinceAndTellsWhoWaits(t *testing.T) {
	w := newWorld(t)
	x := w.index(t)
	quiet := x.Changed()
	if err := x.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-quiet:
		t.Error("a refresh without news told that something changed")
	default:
	}
	old := x.Through()
	for i := range 5 {
		w.record(t, w.entry(t, image(fmt.Sprintf("registry.example/a:%d", i), fmt.Sprint(i), assay.OutcomePass, now)))
	}
	w.record(t, w.entry(t, image("registry.example/a:4", "4", assay.OutcomeFail, now.Add(time.Minute))))
	if err := x.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-quiet:
	default:
		t.Error("nobody was told of the change")
	}
	k, _ := x.Lookup(digest("4"))
	if x.Len() != 5 || x.Through() <= old || k.Attestations != 2 || k.Judgements[0].Outcome != assay.OutcomeFail {
		t.Errorf("%d artifacts through %d, the last %+v", x.Len(), x.Through(), k)
	}
	// Read in one go or bit by bit, the index is the same.
	fresh := w.index(t)
	for i := range 5 {
		a, _ := x.Lookup(digest(fmt.Sprint(i)))
		b, _ := fresh.Lookup(digest(fmt.Sprint(i)))
		c, _ := x.Resolve(fmt.Sprintf("registry.example/a:%d", i))
		d, _ := fresh.Resolve(fmt.Sprintf("registry.example/a:%d", i))
		if fmt.Sprint(a) != fmt.Sprint(b) || c != d {
			t.Errorf("artifact %d: %+v %s and %+v %s", i, a, c, b, d)
		}
	}
}

func TestAnIndexSeesOneNamespace(t *testing.T) {
	w := newWorld(t)
	e := w.entry(t, image("registry.example/a:1", "one", assay.OutcomePass, now))
	e.Namespace = "other"
	w.record(t, e)
	x := w.index(t)
	if _, ok := x.Lookup(digest("one")); ok || x.Len() != 0 {
		t.Error("the index shows another namespace's artifact")
	}
	if _, ok := x.Resolve("registry.example/a:1"); ok {
		t.Error("the index shows another namespace's reference")
	}
}

func TestFollowRefreshesWhenPokedAndGoesOnAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(mem.Config{})
		x := artifact.NewIndex(s, ns)
		ctx, cancel := context.WithCancel(t.Context())
		var failures []error
		done := make(chan error)
		go func() { done <- x.Follow(ctx, time.Hour, func(err error) { failures = append(failures, err) }) }()
		synctest.Wait()
		changed := x.Changed()
		put(t, s, 0, 1)
		x.Poke()
		<-changed
		if x.Len() != 1 {
			t.Errorf("%d artifacts", x.Len())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		x.Poke()
		synctest.Wait()
		if len(failures) != 1 || x.Len() != 1 {
			t.Errorf("failures %v, %d artifacts still known", failures, x.Len())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestARebuildFromTheFactsEqualsTheState(t *testing.T) {
	w := newWorld(t)
	w.record(t, w.entry(t, w.excused(t)))
	for i, o := range []assay.Outcome{assay.OutcomePass, assay.OutcomeFail, assay.OutcomeAbsent} {
		v := image("registry.example/shop/checkout:1", fmt.Sprint(i%2), o, now.Add(time.Duration(3-i)*time.Minute))
		v.Environment = []string{"prod", "staging", ""}[i]
		w.record(t, w.entry(t, v))
	}
	before := w.state(t)
	r, err := artifact.Rebuild(t.Context(), w.store, ns)
	if err != nil || r.Differed != 0 || r.Artifacts != 3 || r.Attestations != 4 || r.References != 2 {
		t.Fatalf("Rebuild: %+v, %v", r, err)
	}
	// Losing and damaging it changes nothing that a rebuild does not bring back.
	err = w.store.Update(t.Context(), func(tx store.Tx) error {
		var errs []error
		for i, k := range sortedKeys(before) {
			if i%2 == 0 {
				errs = append(errs, tx.Delete(k, store.AnyVersion))
				continue
			}
			_, err := tx.Put(k, []byte(`{"gate":"forged"}`), store.AnyVersion)
			errs = append(errs, err)
		}
		_, err := tx.Put(store.Key{Namespace: ns, Bucket: "artifact-reference", Name: "registry.example/forged:1"}, []byte(`{}`), 0)
		return errors.Join(append(errs, err)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = artifact.Rebuild(t.Context(), w.store, ns); err != nil || r.Differed != len(before)+1 {
		t.Errorf("Rebuild of a damaged state: %+v, %v; %d values were damaged", r, err, len(before)+1)
	}
	after := w.state(t)
	if len(after) != len(before) {
		t.Errorf("%d values, before %d", len(after), len(before))
	}
	for k, v := range before {
		if after[k] != v {
			t.Errorf("%v is %s; it was %s", k, after[k], v)
		}
	}
}

// state returns every value about artifacts.
func (w *world) state(t *testing.T) map[store.Key]string {
	t.Helper()
	all := map[store.Key]string{}
	err := w.store.View(t.Context(), func(r store.Reader) error {
		for _, b := range []string{"artifact", "attestation", "bundle", "artifact-reference"} {
			values, err := r.List(store.Key{Namespace: ns, Bucket: b}, "", 0)
			if err != nil {
				return err
			}
			for _, v := range values {
				all[v.Key] = string(v.Data)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func sortedKeys(m map[store.Key]string) (keys []store.Key) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// put writes n artifacts from number from on straight into the store, in the shape
// that Record gives them, with three judgements each.
func put(t testing.TB, s store.Store, from, n int) {
	t.Helper()
	for start := from; start < from+n; start += 1000 {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			for i := start; i < min(start+1000, from+n); i++ {
				if err := putOne(tx, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func putOne(tx store.Tx, i int) error {
	sub := assay.Subject{Name: fmt.Sprintf("registry.example/team/service-%d:1.%d", i%500, i), Digest: digest(fmt.Sprint(i))}
	payload, err := json.Marshal(artifact.VerdictPayload{Gate: "release", Subject: sub})
	if err != nil {
		return err
	}
	id, err := tx.Append(assay.Fact{Kind: assay.FactVerdict, Version: 1, Time: now, Namespace: ns, Subject: sub.Digest, Actor: "ci", Retention: assay.RetainOperational, Payload: payload})
	if err != nil {
		return err
	}
	v := artifact.Summary{Subject: sub, First: now, Last: now, Attestations: 3}
	for j, env := range []string{"dev", "prod", "staging"} {
		v.Judgements = append(v.Judgements, artifact.Attestation{
			Gate: "release", Environment: env, Mode: assay.ModeEnforce, Outcome: assay.OutcomePass, Time: now,
			Policy: digest("policy"), Bundle: digest(fmt.Sprint("bundle", i, j)), KeyID: "SHA256:key",
		})
	}
	for bucket, value := range map[string]any{"artifact": v, "artifact-reference": artifact.Meaning{Digest: sub.Digest, Time: now, Fact: id}} {
		data, err := json.Marshal(value)
		if err != nil {
			return err
		}
		name := string(sub.Digest)
		if bucket != "artifact" {
			name = sub.Name
		}
		if _, err := tx.Put(store.Key{Namespace: ns, Bucket: bucket, Name: name}, data, store.AnyVersion); err != nil {
			return err
		}
	}
	return nil
}

func TestAHundredThousandArtifactsFitIntoTheirMemory(t *testing.T) {
	n, most := 100_000, int64(60<<20) // bytes; admission as a whole has 500 MB
	if testenv.RaceDetector {         // a tenth, in a tenth: filling the store is what takes long
		n, most = n/10, most/10
	}
	s := mem.New(mem.Config{})
	t.Cleanup(func() { _ = s.Close() })
	put(t, s, 0, n)
	x := artifact.NewIndex(s, ns)
	before := heap()
	if err := x.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	used := heap() - before
	t.Logf("%d artifacts with 3 judgements each: %d MB", x.Len(), used>>20)
	if x.Len() != n || used > most {
		t.Errorf("%d artifacts in %d bytes; expected %d in at most %d", x.Len(), used, n, most)
	}
	runtime.KeepAlive(x)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkIndex(b *testing.B) {
	s := mem.New(mem.Config{})
	b.Cleanup(func() { _ = s.Close() })
	put(b, s, 0, 100_000)
	x := artifact.NewIndex(s, ns)
	if err := x.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	d := digest("77777")
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := x.Lookup(d); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("resolve", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := x.Resolve("registry.example/team/service-277:1.77777"); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("refresh of one", func(b *testing.B) {
		i := 100_000
		for b.Loop() {
			put(b, s, i, 1)
			i++
			if err := x.Refresh(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"nginx", "registry.example/a/b:1", "a@" + string(digest("x")), "localhost:5000/x", "::", "a@sha512:00", "\x00", strings.Repeat("a", 1009) + ".local:5000/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		canonical, d, err := artifact.ParseReference(s)
		if err != nil {
			if assay.CodeOf(err) == assay.CodeInternal {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if (canonical == "") == (d == "") {
			t.Fatalf("%q is %q and %q", s, canonical, d)
		}
		if canonical == "" {
			return
		}
		if again, _, err := artifact.ParseReference(canonical); err != nil || again != canonical {
			t.Errorf("%q is %q, which is %q, %v", s, canonical, again, err)
		}
	})
}
