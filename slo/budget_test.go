package slo_test

import (
	"errors"
	"math/big"
	"testing"
	"time"

	"assay.dev/assay/slo"
	"pgregory.net/rapid"
)

func TestBudgetIsExact(t *testing.T) {
	for _, c := range []struct {
		target           string
		good, total      uint64
		allowed          uint64
		remaining        int64
		spentNum, spentD int64
	}{
		{"0.999", 999_500, 1_000_000, 1000, 500, 1, 2},
		{"0.999", 1000, 1000, 1, 1, 0, 1},
		{"0.999", 998, 999, 0, -1, 1000, 999}, // less than one bad event is allowed
		{"0.9", 0, 10, 1, -9, 10, 1},
		{"0", 0, 10, 10, 0, 1, 1},
		{"0.999999999", 0, 1_000_000_000, 1, -999_999_999, 1_000_000_000, 1},
		{"0.99", 0, 0, 0, 0, 0, 1},
	} {
		b := slo.Budget{Target: ratio(t, c.target), Sum: slo.Sum{Counts: slo.Counts{Good: c.good, Total: c.total}}}
		if b.Allowed() != c.allowed || b.Remaining() != c.remaining || b.Spent().Cmp(big.NewRat(c.spentNum, c.spentD)) != 0 {
			t.Errorf("%+v: allowed %d, remaining %d, spent %s", c, b.Allowed(), b.Remaining(), b.Spent())
		}
	}
}

// One more bad event never leaves more budget; one more good event never less.
func TestBudgetIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Uint64Range(0, 1<<40).Draw(t, "total")
		good := rapid.Uint64Range(0, total).Draw(t, "good")
		b := slo.Budget{Target: slo.Ratio(rapid.Uint64Range(0, uint64(slo.One)-1).Draw(t, "target")), Sum: slo.Sum{Counts: slo.Counts{Good: good, Total: total}}}
		worse, better := b, b
		worse.Total++
		better.Good, better.Total = good+1, total+1
		if worse.Spent().Cmp(b.Spent()) < 0 || worse.Remaining() > b.Remaining() {
			t.Fatalf("a bad event gave budget back: %+v", b)
		}
		if better.Spent().Cmp(b.Spent()) > 0 || better.Remaining() < b.Remaining() {
			t.Fatalf("a good event cost budget: %+v", b)
		}
		if (b.Remaining() < 0) != (b.Bad() > b.Allowed()) {
			t.Fatalf("overdrawn is not remaining below zero: %+v", b)
		}
		// The exact quotient in arbitrary precision agrees with the 128-bit one.
		exact := new(big.Int).Mul(new(big.Int).SetUint64(total), big.NewInt(int64(slo.One-b.Target)))
		if exact.Div(exact, big.NewInt(int64(slo.One))); exact.Uint64() != b.Allowed() {
			t.Fatalf("allowed %d, want %s", b.Allowed(), exact)
		}
	})
}

func TestRatioReadsAndWritesTheSameDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := slo.Ratio(rapid.Uint64Range(0, uint64(slo.One)).Draw(t, "ratio"))
		text, _ := r.MarshalText()
		var back slo.Ratio
		if err := back.UnmarshalText(text); err != nil || back != r {
			t.Fatalf("%d is written as %s and read as %d, %v", r, text, back, err)
		}
	})
}

func objective(t testing.TB, target string, window time.Duration) slo.Objective {
	t.Helper()
	return slo.Objective{Target: ratio(t, target), Method: slo.MethodOccurrences, Window: slo.Window{Rolling: true, Duration: slo.Duration{N: int(window / time.Minute), Unit: 'm'}}}
}

func TestBudgetCoversTheWindowAndBurnTheSpan(t *testing.T) {
	o := objective(t, "0.99", time.Hour)
	r := o.NewRing()
	for m := range 60 {
		c := slo.Counts{Good: 100, Total: 100}
		if m >= 55 {
			c.Good = 80
		}
		put(t, r, m, c)
	}
	now := epoch.Add(time.Hour)
	b, err := o.Budget(r, now)
	if err != nil || b.Total != 6000 || b.Bad() != 100 || b.Allowed() != 60 || b.Remaining() != -40 || b.Completeness() != 1 {
		t.Errorf("%+v, %v", b, err)
	}
	if burn := o.Burn(r, 5*time.Minute, now); burn.Rate().Cmp(big.NewRat(20, 1)) != 0 || burn.Float() != 20 {
		t.Errorf("burn of the last five minutes is %s, want 20", burn.Rate())
	}
	alert := slo.Alert{Factor: 14, Long: time.Hour, Short: 5 * time.Minute}
	judge := func(o slo.Objective, now time.Time) slo.State {
		return alert.Judge(o.Burn(r, alert.Long, now), o.Burn(r, alert.Short, now), 0.9)
	}
	if s := judge(o, now); s != slo.StateOK {
		t.Errorf("the long span burns 1.7 times: %s", s)
	}
	if s := judge(objective(t, "0.999", time.Hour), now); s != slo.StateFiring {
		t.Errorf("the long span burns 17 times: %s", s)
	}
	if s := judge(o, now.Add(3*time.Minute)); s != slo.StateUnknown {
		t.Errorf("three of the last five minutes are missing: %s", s)
	}
	if s := judge(o, now.Add(6*time.Minute)); s != slo.StateUnknown {
		t.Errorf("all of the last five minutes are missing: %s", s)
	}
}

func TestAlertsLongerThanTheWindowAreLeftOut(t *testing.T) {
	if got := slo.AlertsWithin(slo.DefaultAlerts, objective(t, "0.9", time.Hour).Window); len(got) != 1 || got[0].Factor != 14 {
		t.Errorf("%+v", got)
	}
}

func calendar(t testing.TB, start, zone string, d string) slo.Window {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", start, loc)
	if err != nil {
		t.Fatal(err)
	}
	w := slo.Window{Start: at}
	if err := w.Duration.UnmarshalText([]byte(d)); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestCalendarWindowsFollowTheWallClock(t *testing.T) {
	for _, c := range []struct{ start, zone, duration, now, from, to string }{
		// clocks go forward on 2026-03-29: that day has 23 hours
		{"2026-01-01 00:00", "Europe/Berlin", "1d", "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		// and back on 2026-10-25: that day has 25
		{"2026-01-01 00:00", "Europe/Berlin", "1d", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"2022-01-01 12:00", "America/New_York", "1w", "2026-03-10T00:00:00Z", "2026-03-07T17:00:00Z", "2026-03-14T16:00:00Z"},
		{"2026-01-01 00:00", "Europe/Berlin", "1M", "2026-03-15T00:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
		// the 31st becomes the last day of a shorter month, and the 31st again
		{"2026-01-31 00:00", "UTC", "1M", "2026-03-01T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"},
		{"2024-02-29 00:00", "UTC", "1Q", "2026-06-01T00:00:00Z", "2026-05-29T00:00:00Z", "2026-08-29T00:00:00Z"},
		{"2026-01-01 00:00", "Asia/Kathmandu", "6h", "2026-01-01T00:00:00Z", "2025-12-31T18:15:00Z", "2026-01-01T00:15:00Z"},
		{"2026-01-01 00:00", "Europe/Berlin", "6h", "2026-10-25T01:00:00Z", "2026-10-24T23:00:00Z", "2026-10-25T05:00:00Z"},
		// an hour that the zone skipped: the window begins within the gap's end
		{"2026-03-29 02:30", "Europe/Berlin", "1h", "2026-03-29T02:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"},
	} {
		w := calendar(t, c.start, c.zone, c.duration)
		now, _ := time.Parse(time.RFC3339, c.now)
		from, to, err := w.Bounds(now)
		if err != nil || from.UTC().Format(time.RFC3339) != c.from || to.UTC().Format(time.RFC3339) != c.to {
			t.Errorf("%+v: [%v, %v), %v", c, from.UTC(), to.UTC(), err)
		}
	}
}

// Whatever the zone, windows hold their instant, are not longer than announced,
// and follow each other without gap or overlap.
func TestCalendarWindowsTileTime(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"}
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Unix(rapid.Int64Range(0, 1_900_000_000).Draw(t, "start"), 0).In(loc)
		w := slo.Window{Start: start, Duration: slo.Duration{N: rapid.IntRange(1, 3).Draw(t, "n"), Unit: rapid.SampledFrom([]byte("hdwMQY")).Draw(t, "unit")}}
		now := start.Add(time.Duration(rapid.Int64Range(0, 200_000_000).Draw(t, "after")) * time.Second)
		from, to, err := w.Bounds(now)
		if err != nil || now.Before(from) || !now.Before(to) {
			t.Fatalf("%v is outside [%v, %v), %v", now, from, to, err)
		}
		if to.Sub(from) > w.Longest()+time.Hour {
			t.Fatalf("[%v, %v) is longer than %v", from, to, w.Longest())
		}
		next, _, err := w.Bounds(to)
		if err != nil || !next.Equal(to) {
			t.Fatalf("after [%v, %v) comes %v, %v", from, to, next, err)
		}
	})
}

func TestCalendarThatStartsLaterSaysSo(t *testing.T) {
	w := calendar(t, "2026-12-01 00:00", "UTC", "1d")
	if _, _, err := w.Bounds(epoch); !errors.Is(err, slo.ErrNotStarted) {
		t.Error(err)
	}
	o := slo.Objective{Window: w}
	if _, err := o.Budget(slo.NewRing(time.Hour), epoch); !errors.Is(err, slo.ErrNotStarted) {
		t.Error(err)
	}
}

func TestTheFutureOfACalendarWindowIsNotMissing(t *testing.T) {
	o := objective(t, "0.9", time.Hour)
	o.Window = calendar(t, "2026-11-21 00:00", "UTC", "1d")
	r := slo.NewRing(24 * time.Hour)
	for m := -720; m < 0; m++ {
		put(t, r, m, slo.Counts{Good: 1, Total: 1})
	}
	if b, err := o.Budget(r, epoch); err != nil || b.Completeness() != 1 || b.Total != 720 {
		t.Errorf("%+v, %v", b, err)
	}
}

func ratio(t testing.TB, s string) (r slo.Ratio) {
	t.Helper()
	if err := r.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return r
}
