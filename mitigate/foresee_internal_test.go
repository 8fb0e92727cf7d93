package mitigate

import (
	"math"
	"strings"
	"testing"

	"assay.dev/assay/infer"
)

// A service whose load never changes has no bad forecast, and nobody is told of a skill of 0.
func TestAForecastThatIsNotTrustedSaysWhyInWords(t *testing.T) {
	same := make([]float64, 200)
	for i := range same {
		same[i] = 500
	}
	constant, err := infer.Predict(same, infer.ForecastConfig{Horizon: 4, Seasons: [2]int{24, 0}})
	if err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]infer.Prediction{
		"the load repeats itself exactly, so that nothing is better than repeating it": constant,
		"too little of the load has been seen to check it":                             {Origins: 1, MASE: 0.5, Naive: 1, Skill: 0.5},
		"it is no better than repeating the last season (skill -0.20":                  {Origins: 12, MASE: 1.2, Naive: 1, Skill: -0.2, Cover90: 0.9},
		"its 90 % intervals held 62.0 % of the past (85 to 97 % are wanted)":           {Origins: 12, MASE: 0.5, Naive: 1, Skill: 0.5, Cover90: 0.62},
	} {
		if got := distrust(p); p.Trusted() || math.IsNaN(p.Skill) || !strings.HasPrefix(got, want) {
			t.Errorf("trusted %t, %q; expected %q", p.Trusted(), got, want)
		}
	}
}
