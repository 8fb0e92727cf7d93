package slo_test

import (
	"errors"
	"testing"
	"time"

	"assay.dev/assay/slo"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// brute is the ring as anybody would write it who has all the memory.
type brute map[int64]slo.Counts

func (b brute) sum(head, keep int64, from, to time.Time) slo.Sum {
	var s slo.Sum
	for m := int64(-400); m < 4000; m++ {
		at := epoch.Add(time.Duration(m) * time.Minute)
		if at.Before(from) || !at.Before(to) {
			continue
		}
		s.Minutes++
		if c, ok := b[m]; ok && m > head-keep && m <= head {
			s.Good, s.Total, s.Known = s.Good+c.Good, s.Total+c.Total, s.Known+1
		}
	}
	return s
}

func TestRingEqualsBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keep := rapid.Int64Range(1, 90).Draw(t, "keep")
		ring, all := slo.NewRing(time.Duration(keep)*time.Minute), brute{}
		head, used := int64(0), false
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			m := rapid.Int64Range(-100, 300).Draw(t, "minute")
			at := epoch.Add(time.Duration(m)*time.Minute + time.Duration(rapid.IntRange(0, 59_999).Draw(t, "ms"))*time.Millisecond)
			total := rapid.Uint64Range(0, 1000).Draw(t, "total")
			c := slo.Counts{Good: rapid.Uint64Range(0, total).Draw(t, "good"), Total: total}
			add := rapid.Bool().Draw(t, "add")
			var err error
			if add {
				err = ring.Add(at, c)
			} else {
				err = ring.Put(at, c)
			}
			if tooOld := used && m <= head-keep; tooOld != errors.Is(err, slo.ErrTooOld) {
				t.Fatalf("minute %d, head %d, keep %d: %v", m, head, keep, err)
			}
			if err != nil {
				continue
			}
			if !used || m > head {
				head, used = m, true
			}
			if had := all[m]; add {
				c = slo.Counts{Good: had.Good + c.Good, Total: had.Total + c.Total}
			}
			all[m] = c
			if got, ok := ring.At(at); !ok || got != c {
				t.Fatalf("minute %d holds %v %v, want %v", m, got, ok, c)
			}
			// What leaves the window is gone even if the ring is never asked.
			for k := range all {
				if k <= head-keep {
					delete(all, k)
				}
			}
		}
		from := epoch.Add(time.Duration(rapid.Int64Range(-9000, 20000).Draw(t, "from")) * time.Second)
		to := from.Add(time.Duration(rapid.Int64Range(-60, 9000).Draw(t, "span")) * time.Second)
		if got, want := ring.Sum(from, to), all.sum(head, keep, from, to); got != want {
			t.Fatalf("sum of [%v, %v) is %+v, want %+v", from, to, got, want)
		}
	})
}

func TestRingRefusesWhatCannotBe(t *testing.T) {
	r := slo.NewRing(time.Hour)
	if err := r.Put(epoch, slo.Counts{Good: 2, Total: 1}); !errors.Is(err, slo.ErrImpossible) {
		t.Error(err)
	}
	if err := r.Put(epoch, slo.Counts{Good: 1, Total: 1<<64 - 1}); err != nil {
		t.Error(err)
	}
	if err := r.Add(epoch, slo.Counts{Good: 1, Total: 1}); !errors.Is(err, slo.ErrImpossible) {
		t.Error(err)
	}
	if got, ok := r.At(epoch); !ok || got.Good != 1 {
		t.Errorf("a refused reading changed the minute to %v", got)
	}
}

func TestMissingMinutesAreUnknownAndEmptyOnesAreNot(t *testing.T) {
	r := slo.NewRing(time.Hour)
	for m := range 30 {
		put(t, r, m, slo.Counts{})
	}
	s := r.Sum(epoch, epoch.Add(time.Hour))
	if s.Known != 30 || s.Minutes != 60 || s.Completeness() != 0.5 || s.Total != 0 {
		t.Errorf("%+v", s)
	}
	r.Forget(epoch)
	if _, ok := r.At(epoch); ok {
		t.Error("a forgotten minute is known")
	}
	if slo.NewRing(time.Hour).Sum(epoch, epoch.Add(time.Minute)).Completeness() != 0 {
		t.Error("an empty ring is complete")
	}
}

func TestSlicesNeedAllTheirMinutes(t *testing.T) {
	r := slo.NewRing(time.Hour)
	for m := range 20 {
		c := slo.Counts{Good: 100, Total: 100}
		if m == 7 {
			c.Good = 70 // slice 5..9: 470 of 500 good
		}
		if m != 12 { // slice 10..14 is not fully known
			put(t, r, m, c)
		}
	}
	at := func(share slo.Ratio) slo.Sum {
		return r.Slices(epoch, epoch.Add(20*time.Minute), 5*time.Minute, share)
	}
	if s := at(950_000_000); s.Minutes != 4 || s.Known != 3 || s.Good != 2 || s.Total != 3 {
		t.Errorf("at 95 %%: %+v", s)
	}
	if s := at(940_000_000); s.Good != 3 {
		t.Errorf("at exactly 94 %%: %+v", s)
	}
}

func put(t *testing.T, r *slo.Ring, minute int, c slo.Counts) {
	t.Helper()
	if err := r.Put(epoch.Add(time.Duration(minute)*time.Minute), c); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkRingSum30Days(b *testing.B) {
	r := slo.NewRing(30 * 24 * time.Hour)
	for m := range r.Minutes() {
		if err := r.Put(epoch.Add(time.Duration(m)*time.Minute), slo.Counts{Good: 9, Total: 10}); err != nil {
			b.Fatal(err)
		}
	}
	head, _ := r.Head()
	for b.Loop() {
		if r.Sum(head.Add(-30*24*time.Hour), head).Total == 0 {
			b.Fatal("empty")
		}
	}
}
