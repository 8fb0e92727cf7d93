package infer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

func TestPageHinkleyFindsARiseAndNothingElse(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	alarms := 0
	for range 50 {
		p := infer.DefaultPageHinkley()
		for range 5_000 {
			var alarm bool
			if p, alarm = p.Add(rng.NormFloat64()); alarm {
				alarms++
				break
			}
		}
	}
	if alarms > 0 {
		t.Errorf("%d of 50 steady streams of 5000 values alarm", alarms)
	}
	for range 50 {
		p, after := infer.DefaultPageHinkley(), 0
		for i := range 2_000 {
			v := rng.NormFloat64()
			if i >= 500 {
				v += 1
			}
			var alarm bool
			if p, alarm = p.Add(v); alarm {
				after = i - 500
				break
			}
		}
		if after < 10 || after > 120 {
			t.Fatalf("a rise of one standard deviation is found after %d steps", after)
		}
	}
	p := infer.DefaultPageHinkley()
	if next, alarm := p.Add(math.NaN()); alarm || next != p {
		t.Error("what is not a number counts")
	}
}

func TestADWINForgetsWhatCameBeforeAChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	a, cuts := infer.ADWIN{}, 0
	for range 5_000 {
		var cut bool
		if a, cut = a.Add(rng.NormFloat64()); cut {
			cuts++
		}
	}
	if n, mean := a.Window(); cuts > 2 || n < 2_500 || math.Abs(mean) > 0.1 {
		t.Errorf("%d cuts of a steady stream, %v values of mean %v are left", cuts, n, mean)
	}
	if len(a.Buckets) > 80 {
		t.Errorf("%d buckets for 5000 values", len(a.Buckets))
	}
	kept := len(a.Buckets)
	for range 300 {
		b, _ := a.Add(2 + rng.NormFloat64())
		if len(a.Buckets) != kept {
			t.Fatal("the caller's value changed")
		}
		a, kept = b, len(b.Buckets)
	}
	if n, mean := a.Window(); n > 400 || math.Abs(mean-2) > 0.3 {
		t.Errorf("%v values of mean %v are left after the change", n, mean)
	}
}

func TestCalibrationTellsAModelThatIsTooSureFromOneThatIsNot(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	phi := func(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
	pit := func(spread float64) (out []float64) {
		for range 500 {
			out = append(out, phi(rng.NormFloat64()*spread))
		}
		return out
	}
	small, chi := 0, 0
	for range 200 {
		c, err := infer.Calibrate(pit(1))
		if err != nil {
			t.Fatal(err)
		}
		if c.KSP < 0.05 {
			small++
		}
		if c.ChiP < 0.05 {
			chi++
		}
	}
	if small > 22 || chi > 22 || small == 0 || chi == 0 {
		t.Errorf("p-values below 0.05 of 200 calibrated models: %d and %d, want about 10", small, chi)
	}
	for spread, held := range map[float64]string{2: "less", 0.5: "more"} {
		c, _ := infer.Calibrate(pit(spread))
		if c.ChiP > 1e-6 || c.KSP > 0.05 && spread == 2 || (held == "less") != (c.Cover80 < 0.7) || (held == "more") != (c.Cover80 > 0.9) {
			t.Errorf("errors %v times what the model says: %+v", spread, c)
		}
	}
	for _, bad := range [][]float64{nil, {1, 2, 3, 4, 5, 6, 7, 8}, append(make([]float64, 8), math.NaN())} {
		if _, err := infer.Calibrate(bad); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := infer.Calibrate(make([]float64, infer.MaxSteps+1)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too many: %v", err)
	}
}
