package infer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// walk is an autocorrelated series around 10 with the standard deviation 1, shared with
// controls to a given part.
type walk struct {
	rng      *rand.Rand
	phi      float64
	shared   float64 // correlation with the controls
	controls int
	heavy    bool // every now and then a spike that passes by itself
}

func (w walk) series(n int) (y []float64, controls [][]float64) {
	one := func() []float64 {
		out := make([]float64, n)
		v, spike := w.rng.NormFloat64(), 0.0
		for i := range out {
			v = w.phi*v + math.Sqrt(1-w.phi*w.phi)*w.rng.NormFloat64()
			if w.heavy && w.rng.Float64() < 0.01 {
				spike += 3 + 3*w.rng.ExpFloat64()
			}
			spike *= 0.8
			out[i] = v + spike
		}
		return out
	}
	common := one()
	mix := func() []float64 {
		own := one()
		for i := range own {
			own[i] = 10 + math.Sqrt(w.shared)*common[i] + math.Sqrt(1-w.shared)*own[i]
		}
		return own
	}
	y = mix()
	for range w.controls {
		controls = append(controls, mix())
	}
	return y, controls
}

// trigger is the first step from from on at which the mean of the last three is extreme,
// as an alarm would say; -1 if there is none.
func trigger(y []float64, from, to int) int {
	for i := from; i < to; i++ {
		if (y[i-1]+y[i-2]+y[i-3])/3 > 11.8 {
			return i
		}
	}
	return -1
}

// attributions are the verdicts on runs whose action changed the series by effect.
func attributions(t testing.TB, w walk, runs int, effect float64) (out map[assay.Effect]int, total int) {
	t.Helper()
	out = map[assay.Effect]int{}
	for total < runs {
		y, controls := w.series(2600)
		at := trigger(y, 1500, 2500)
		if at < 0 {
			continue
		}
		for i := at + 2; i < len(y); i++ {
			y[i] += effect
		}
		got, err := infer.Attribute(infer.Aftermath{Series: y[:at+22], Controls: cut(controls, at+22), At: at, Dead: 2, Window: 20, Hold: 5, Material: 0.1})
		if err != nil {
			t.Fatal(err)
		}
		out[got.Effect]++
		total++
	}
	return out, total
}

func cut(series [][]float64, n int) (out [][]float64) {
	for _, s := range series {
		out = append(out, s[:n])
	}
	return out
}

// extreme reports whether the last value of a past is among its highest twentieth.
func extreme(past []float64) bool {
	above, last := 0, past[len(past)-1]
	for _, v := range past {
		if v > last {
			above++
		}
	}
	return 20*above < len(past)
}

func TestSeriesThatSayNothingAreInconclusive(t *testing.T) {
	constant, nan, calm := make([]float64, 300), make([]float64, 300), make([]float64, 300)
	rng := rand.New(rand.NewPCG(19, 20))
	for i := range nan {
		nan[i], calm[i] = math.NaN(), 10+rng.NormFloat64()
	}
	hole := append([]float64{}, calm...)
	for i := 255; i < 275; i++ {
		hole[i] = math.NaN()
	}
	for name, a := range map[string]infer.Aftermath{
		"NaN":               {Series: nan, At: 250, Window: 20},
		"constant":          {Series: constant, At: 250, Window: 20},
		"two points":        {Series: []float64{1, 2}, At: 1, Window: 1},
		"no past":           {Series: calm[:60], At: 30, Window: 20},
		"nothing was seen":  {Series: hole, At: 250, Dead: 5, Window: 20},
		"controls are lost": {Series: calm, Controls: [][]float64{nan}, At: 250, Window: 20},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := infer.Attribute(a)
			if err != nil || got.Effect != assay.EffectInconclusive || got.Why == "" {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	for name, a := range map[string]infer.Aftermath{
		"window past the end":    {Series: calm, At: 295, Window: 20},
		"no window":              {Series: calm, At: 250},
		"holds longer":           {Series: calm, At: 250, Window: 5, Hold: 6},
		"acted before it began":  {Series: calm, At: 0, Window: 5},
		"infinite":               {Series: append(calm[:299:299], math.Inf(1)), At: 250, Window: 5},
		"controls of other size": {Series: calm, Controls: [][]float64{calm[:3]}, At: 250, Window: 5},
		"overflow":               {Series: calm, At: 250, Window: math.MaxInt, Dead: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := infer.Attribute(a); assay.CodeOf(err) != assay.CodeInvalid {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := infer.Attribute(infer.Aftermath{Series: make([]float64, infer.MaxSteps+1), At: 1, Window: 1}); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("%v", err)
	}
}

// Nothing of the size was seen before. Minutes that were a little high passed by themselves,
// so one that is very high may pass too; what has outlasted all of them is of another kind.
func TestAnExtremeThatWasNeverSeenIsAHelpOnlyIfItHadOutlastedWhatPassedByItself(t *testing.T) {
	for name, tc := range map[string]struct {
		lasted int // steps before the action
		size   float64
		wrong  assay.Effect // what its end must not be called
		want   assay.Effect // what it must be
	}{
		"a spike of a step":         {1, 20, assay.EffectHelped, assay.EffectInconclusive},
		"a dip of a step":           {1, -20, assay.EffectHarmed, assay.EffectInconclusive},
		"a fault of five steps":     {5, 20, "", assay.EffectHelped},
		"a fall of five steps ends": {5, -20, "", assay.EffectHarmed},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(23, 24))
			const runs = 100
			seen := map[assay.Effect]int{}
			for range runs {
				y := make([]float64, 300)
				for i := range y {
					y[i] = 30 + rng.NormFloat64()
					if i >= 250-tc.lasted && i < 251 {
						y[i] += tc.size
					}
				}
				got, err := infer.Attribute(infer.Aftermath{Series: y, At: 250, Dead: 1, Window: 5, Hold: 2})
				if err != nil {
					t.Fatal(err)
				}
				if !got.Unseen {
					t.Fatalf("it was seen: %+v", got)
				}
				if seen[got.Effect]++; got.Effect == tc.wrong || tc.lasted == 1 && (got.Similar == 0 || got.Low > 0 || got.High < 0 || got.Why == "") {
					t.Fatalf("%+v", got)
				}
			}
			if t.Logf("%v", seen); seen[tc.want] < 95 {
				t.Errorf("%v, want %s", seen, tc.want)
			}
		})
	}
}

func TestAFaultThatWasNeverSeenIsHeldAgainstItsStaying(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	helped, still := 0, 0
	for range 100 {
		y := make([]float64, 300)
		for i := range y {
			y[i] = 1 + 0.2*rng.NormFloat64()
			if i >= 240 {
				y[i] *= 20
			}
		}
		a := infer.Aftermath{Series: y, At: 250, Dead: 2, Window: 10, Hold: 3}
		if got, _ := infer.Attribute(a); got.Effect == assay.EffectHelped || got.Effect == assay.EffectHarmed {
			still++
		}
		for i := 251; i < len(y); i++ {
			y[i] /= 20
		}
		if got, _ := infer.Attribute(a); got.Effect == assay.EffectHelped && got.Unseen {
			helped++
		}
	}
	if helped < 95 || still > 10 {
		t.Errorf("%d of 100 helps are found; %d of 100 faults that stayed are called an effect", helped, still)
	}
}
