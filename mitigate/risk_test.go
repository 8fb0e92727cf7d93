package mitigate_test

import (
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
	"pgregory.net/rapid"
)

func TestASmallChangeGoesAsDeclaredAndABigOneAsks(t *testing.T) {
	for _, c := range []struct {
		name   string
		change mitigate.Proposed
		gate   string
	}{
		{"small, proven, budget full", mitigate.Proposed{Lines: 20, Files: 2, Blast: 0.05, Changes: 50, BudgetLeft: 1}, api.RiskNormal},
		{"middling", mitigate.Proposed{Lines: 300, Files: 8, Blast: 0.3, Failed: 2, Changes: 30, BudgetLeft: 0.6}, api.RiskSlow},
		{"large, often taken back", mitigate.Proposed{Lines: 3000, Files: 60, Blast: 0.8, Failed: 5, Changes: 15, Exceptions: 2, BudgetLeft: 0.2}, api.RiskApprove},
		{"small, and cannot be changed back", mitigate.Proposed{Lines: 40, Files: 2, Blast: 0.3, Changes: 20, BudgetLeft: 0.3, Irreversible: true}, api.RiskApprove},
		{"the budget is spent", mitigate.Proposed{Lines: 1, Files: 1, Changes: 50, BudgetLeft: 0}, api.RiskFreeze},
		{"the budget is spent, and it repairs", mitigate.Proposed{Lines: 1, Files: 1, Changes: 50, BudgetLeft: 0, Repairs: true}, api.RiskApprove},
		{"nobody said how large it is, nor what it reaches", mitigate.Proposed{Unsized: true, Blast: 1, BudgetLeft: -1}, api.RiskApprove},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := mitigate.Risk(c.change)
			if err != nil || r.Gate != c.gate {
				t.Errorf("gate %s with %d points (%v): %+v", r.Gate, r.Score, err, r.Factors)
			}
			sum := 0
			for _, f := range r.Factors {
				sum += f.Points
				if f.Words == "" || f.Points > f.Most {
					t.Errorf("%+v", f)
				}
			}
			if sum != r.Score {
				t.Errorf("factors add up to %d, the score is %d", sum, r.Score)
			}
		})
	}
}

func TestMoreRiskNeverLowersTheScore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := mitigate.Proposed{
			Lines: rapid.IntRange(0, 5000).Draw(t, "lines"), Files: rapid.IntRange(0, 200).Draw(t, "files"), Blast: rapid.Float64Range(0, 1).Draw(t, "blast"),
			Changes: rapid.IntRange(10, 60).Draw(t, "changes"), Exceptions: rapid.IntRange(0, 5).Draw(t, "exceptions"), BudgetLeft: rapid.Float64Range(0, 1).Draw(t, "budget"),
		}
		b := a
		switch rapid.IntRange(0, 5).Draw(t, "which") {
		case 0:
			b.Lines += 100
		case 1:
			b.Files += 5
		case 2:
			b.Blast = min(1, b.Blast+0.2)
		case 3:
			b.Failed += 2
		case 4:
			b.Exceptions++
		case 5:
			b.BudgetLeft = max(0, b.BudgetLeft-0.2)
		}
		ra, errA := mitigate.Risk(a)
		rb, errB := mitigate.Risk(b)
		if errA != nil || errB != nil || rb.Score < ra.Score {
			t.Fatalf("%+v scores %d, %+v scores %d (%v, %v)", a, ra.Score, b, rb.Score, errA, errB)
		}
	})
}

func TestRiskRefusesWhatIsNoChange(t *testing.T) {
	for _, c := range []mitigate.Proposed{{Lines: -1}, {Failed: 3, Changes: 2}, {Blast: 2}, {BudgetLeft: 2}} {
		if _, err := mitigate.Risk(c); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%+v gives %v", c, err)
		}
	}
}
