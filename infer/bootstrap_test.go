package infer_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"assay.dev/assay/infer"
)

// held is how often, in percent, the intervals of an action that did nothing hold nothing,
// made of resampled pasts and of the past as it was.
type held struct{ in95, in80, was95, was80 float64 }

// coverage plays pasts of a length with an autocorrelation, of which the action follows an
// extreme if triggered.
func coverage(t *testing.T, seed uint64, past int, phi float64, triggered bool) (out held) {
	t.Helper()
	const runs = 400
	rng := rand.New(rand.NewPCG(seed, uint64(past)))
	w := walk{rng: rng, phi: phi}
	for n := 0; n < runs; {
		y, _ := w.series(past + 306)
		at := past
		for triggered && at < past+300 && y[at-1] < 11.5 {
			at++
		}
		if at == past+300 {
			continue
		}
		a := infer.Aftermath{Series: y[at-past : at+6], At: past, Dead: 1, Window: 5, Material: 0.1, Paths: 199, Seed: uint64(n)}
		n++
		share := 100.0 / runs
		for _, paths := range []int{a.Paths, 0} {
			a.Paths = paths
			got, err := infer.Attribute(a)
			if err != nil {
				t.Fatal(err)
			}
			if got.Placebos == 0 || (got.Bootstrap != nil) != (paths > 0) || !(got.Low <= got.Low80 && got.Low80 <= got.High80 && got.High80 <= got.High) {
				t.Fatalf("%+v", got)
			}
			in95, in80 := &out.in95, &out.in80
			if paths == 0 {
				in95, in80 = &out.was95, &out.was80
			}
			if got.Low <= 0 && 0 <= got.High {
				*in95 += share
			}
			if got.Low80 <= 0 && 0 <= got.High80 {
				*in80 += share
			}
		}
	}
	return out
}

func TestResampledPastsFollowFromTheirSeed(t *testing.T) {
	y, _ := walk{rng: rand.New(rand.NewPCG(35, 36)), phi: 0.5}.series(400)
	of := func(seed uint64) (infer.Attribution, string) {
		got, err := infer.Attribute(infer.Aftermath{Series: y, At: 390, Dead: 1, Window: 5, Material: 0.1, Paths: infer.BootstrapPaths, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		return got, string(data)
	}
	a, first := of(1)
	if _, again := of(1); first != again {
		t.Errorf("the same seed gives\n%s\nand\n%s", first, again)
	}
	b, _ := of(2)
	if a.Low == b.Low || a.Bootstrap.Seed != 1 || b.Bootstrap.Seed != 2 {
		t.Errorf("another seed gives the same pasts: %+v, %+v", a, b)
	}
	if width := a.High - a.Low; math.Abs(b.Low-a.Low) > width/4 || a.P != b.P || a.Change != b.Change {
		t.Errorf("the seed says more than the past: %+v, %+v", a, b)
	}
	if a.Helped < 0.02 || a.Helped > 0.98 {
		t.Errorf("nothing was done, and it helped with a probability of %v", a.Helped)
	}
	for i := 391; i < len(y); i++ {
		y[i] -= 4
	}
	if c, _ := of(1); c.Helped < 0.99 || c.High >= 0 {
		t.Errorf("four standard deviations less: %+v", c)
	}
	if _, err := infer.Attribute(infer.Aftermath{Series: y, At: 390, Dead: 1, Window: 5, Paths: infer.MaxPaths + 1}); err == nil {
		t.Error("any number of paths is drawn")
	}
}

func BenchmarkAttribute(b *testing.B) {
	y, _ := walk{rng: rand.New(rand.NewPCG(37, 38)), phi: 0.5}.series(720)
	for name, paths := range map[string]int{"resampled": infer.BootstrapPaths, "by ranks": 0} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := infer.Attribute(infer.Aftermath{Series: y, At: 714, Dead: 1, Window: 5, Material: 0.1, Paths: paths}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
