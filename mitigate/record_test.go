package mitigate_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
)

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"engine":"mitigate/1","strategy":{"name":"a","spec":{"service":"shop","scale":{"perReplica":1,"max":2}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := mitigate.ParseRecord(data); err == nil {
			_, _ = r.Encode()
			_, _, _ = mitigate.Replay(data)
		}
	})
}

func TestInputsAreBounded(t *testing.T) {
	r := example(t, "scale")
	in := mitigate.Inputs{Values: make([]mitigate.Value, mitigate.MaxValues+1)}
	if _, _, err := mitigate.Next(r.s, r.st, in, nil, r.now); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too many values give %v", err)
	}
	in = mitigate.Inputs{Settings: make([]mitigate.Setting, mitigate.MaxSettings+1)}
	if _, _, err := mitigate.Next(r.s, r.st, in, nil, r.now); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too many levers give %v", err)
	}
}

func TestForeseeForecastsADayThatRepeatsAndRefusesNoise(t *testing.T) {
	r := example(t, "scale")
	n := 14 * 288
	past := make([]float64, n)
	draw, level := rand.New(rand.NewPCG(7, 7)), 0.0
	for i := range past {
		level = 0.9*level + 12*draw.NormFloat64()
		past[i] = 500 + 300*math.Sin(2*math.Pi*float64(i%288)/288) + level
	}
	fc, err := mitigate.Foresee(r.s, past, r.now)
	if err != nil || len(fc.Upper) == 0 {
		t.Fatal(err)
	}
	if !fc.Trusted {
		t.Errorf("a day that repeats is not trusted: %s", fc.Why)
	}
	for i, u := range fc.Upper {
		if want := 500 + 300*math.Sin(2*math.Pi*float64((n+i)%288)/288); u < want-25 || u > want+120 {
			t.Errorf("step %d: the upper quantile is %.0f around %.0f", i, u, want)
		}
	}
	fc, err = mitigate.Foresee(r.s, past[:5], r.now)
	if err != nil || fc.Trusted || fc.Why == "" {
		t.Errorf("five points are trusted: %v %+v", err, fc)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, law := range []string{"scale", "throttle", "divert"} {
		b.Run(law, func(b *testing.B) {
			r := example(b, law)
			trouble(r, law)
			r.step(time.Second)
			for i := range r.in.Values {
				r.in.Values[i].Time = r.now
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := mitigate.Next(r.s, r.st, r.in, nil, r.now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
