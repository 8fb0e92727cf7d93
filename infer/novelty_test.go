package infer_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the test does not depend on the machine's zones

	"pgregory.net/rapid"

	"assay.dev/assay/infer"
)

var midnight = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// watch feeds values a minute apart and returns the alarms by their index.
func watch(values []float64) map[int]infer.News {
	n, out := infer.NewNovelty(infer.DefaultNovelty()), map[int]infer.News{}
	for i, v := range values {
		if news := n.Observe(midnight.Add(time.Duration(i)*time.Minute), v); news.Alarm {
			out[i] = news
		}
	}
	return out
}

// noise is n observations around 100 that do not change their ways.
func noise(n int) []float64 {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]float64, n)
	for i := range out {
		out[i] = 100 + 4*r.Float64()
	}
	return out
}

func TestWhatASeriesHasNeverBeenLikeIsAnAlarmInWords(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]float64)
		within int // observations from the 400th on
		says   string
	}{
		{"a spike", func(v []float64) { v[400] = 150 }, 0, "value 150 is above anything in 401 observations"},
		{"a drop", func(v []float64) { v[400] = 0 }, 0, "below anything"},
		{"a slow rise", func(v []float64) {
			for i := 400; i < len(v); i++ {
				v[i] += 0.05 * float64(i-400)
			}
		}, 80, "above anything"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := noise(500)
			c.change(v)
			for i := 400; i <= 400+c.within; i++ {
				if a, ok := watch(v)[i]; ok {
					if !strings.Contains(a.Why, c.says) {
						t.Errorf("the alarm says %q, want %q in it", a.Why, c.says)
					}
					return
				}
			}
			t.Errorf("no alarm from 400 to %d", 400+c.within)
		})
	}
}

func TestNothingNewIsNoAlarm(t *testing.T) {
	constant := make([]float64, 1000)
	for name, v := range map[string][]float64{"constant": constant, "two points": {1, 2}, "one": {7}, "none": nil} {
		if got := watch(v); len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := watch(noise(20_000)); len(got) > 25 {
		t.Errorf("%d alarms in 20,000 observations that never change their ways", len(got))
	}
}

func TestAfterAnAlarmThereIsRest(t *testing.T) {
	v := noise(1000)
	for i := range 5 {
		v[600+i] = 200 + 100*float64(i)
	}
	alarms := watch(v)
	if _, ok := alarms[600]; !ok {
		t.Fatal("no alarm at the first record")
	}
	for i := 601; i < 605; i++ {
		if a, ok := alarms[i]; ok {
			t.Errorf("another alarm at %d: %s", i, a.Why)
		}
	}
}

func TestDaylightSavingMovesTheHourAndNotTheCurve(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	cfg := infer.DefaultNovelty()
	cfg.Zone = berlin
	n := infer.NewNovelty(cfg)
	start := time.Date(2026, 10, 12, 0, 0, 0, 0, berlin) // the clocks go back on the 25th
	for i := range 20 * 24 * 12 {
		at := start.Add(time.Duration(i) * 5 * time.Minute)
		v := 1000.0 // people work from nine to five by their clocks
		if h := at.In(berlin).Hour(); h < 9 || h >= 17 {
			v = 10
		}
		if news := n.Observe(at, v); news.Alarm && i > 2*24*12 {
			t.Fatalf("%s: %s", at, news.Why)
		}
	}
}

func TestNoveltyIsFiniteOnAnySeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := infer.NewNovelty(infer.DefaultNovelty())
		for i, v := range rapid.SliceOfN(rapid.Float64(), 0, 200).Draw(t, "values") {
			news := n.Observe(midnight.Add(time.Duration(i)*time.Minute), v)
			if math.IsNaN(news.Score) || math.IsInf(news.Score, 0) || news.Score < 0 {
				t.Fatalf("score %v of %v", news.Score, v)
			}
		}
	})
	n := infer.NewNovelty(infer.DefaultNovelty())
	for range 100 {
		for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300} {
			if news := n.Observe(midnight, v); news != (infer.News{}) {
				t.Fatalf("%v is news: %+v", v, news)
			}
		}
	}
}
