//go:build !race

// See sums_test.go for why.

package anomaly_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/anomaly"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

func TestWhatAServiceWasBeforeIsLearntAnewAndIsNobodysNews(t *testing.T) {
	for name, killed := range map[string]bool{"by the watcher that was told": false, "by one that is started after it": true} {
		t.Run(name, func(t *testing.T) {
			const day, known = 24 * 60, 7 * 24 * 60
			w := newWorld(t, "")
			draw := rand.New(rand.NewPCG(3, 4))
			put := func(from, to int) {
				for n := from; n < to; n++ {
					load := daily(begin.Add(time.Duration(n) * time.Minute))
					w.set(n, minuteOf{total: uint64(load + 30*draw.NormFloat64()), bad: 3})
				}
			}
			w.now = begin.Add(known * time.Minute)
			put(known, known+180)
			a := w.watcher()
			w.until(a, known+120)
			was, err := a.Foreseen("checkout", "checkout/0", w.now)
			if err != nil || !strings.Contains(was.Load.Reason, "too few to forecast") {
				t.Fatalf("%+v, %v", was.Load.Reason, err)
			}
			before := len(w.found())
			put(0, known)
			for n := day; n < day+30; n++ {
				w.set(n, minuteOf{total: 600, bad: 600}) // an outage that nobody watched
			}
			// What cannot be recorded changes nothing.
			if err := a.Relearn([]string{"checkout"}, func() error { return errors.New("no") }); err == nil {
				t.Fatal("an error is lost")
			}
			if f, err := a.Foreseen("checkout", "checkout/0", w.now); err != nil || f.Load.Reason != was.Load.Reason {
				t.Errorf("%s, %v", f.Load.Reason, err)
			}
			forget := func() error {
				return w.store.Update(t.Context(), func(tx store.Tx) error { return anomaly.Forget(tx, policy.DefaultNamespace, "checkout") })
			}
			if err := a.Relearn([]string{"another"}, func() error { return nil }); err != nil {
				t.Fatal(err)
			}
			if f, err := a.Foreseen("checkout", "checkout/0", w.now); err != nil || f.Load.Reason != was.Load.Reason {
				t.Errorf("another service's history: %s, %v", f.Load.Reason, err)
			}
			if err := a.Relearn([]string{"checkout"}, forget); err != nil {
				t.Fatal(err)
			}
			if killed {
				a = w.watcher()
			}
			w.until(a, known+180)
			if f, err := a.Foreseen("checkout", "checkout/0", w.now); err != nil || !f.Load.Trusted {
				t.Errorf("%s, %v", f.Load.Reason, err)
			}
			if got := w.found(); len(got) != before {
				t.Errorf("the past is news: %+v", got[before:])
			}
		})
	}
}
