package gate

import (
	"cmp"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// maxFlaky is how many flaky tests a verdict lists, the most probable first.
const maxFlaky = 200

// FlakyFindings returns the findings of a test report that are flaky tests: readers
// rank what failed and passed below what failed every time.
func FlakyFindings(e assay.Evidence) []assay.Finding {
	if e.Kind != assay.KindTests {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(e.Findings), func(f assay.Finding) bool { return f.Severity.Rank() >= assay.SeverityHigh.Rank() })
}

// flaky lists the flaky tests of all test reports, with how probable it is that a
// run of each is flaky, and who owns it. They decide nothing.
func (c *check) flaky() []assay.FlakyTest {
	history := map[string]evidence.History{}
	for _, h := range c.in.History {
		history[h.Test] = h
	}
	seen := map[string]bool{}
	var out []assay.FlakyTest
	for _, e := range c.in.Evidence {
		for _, f := range FlakyFindings(e) {
			if seen[f.Rule] {
				continue
			}
			seen[f.Rule] = true
			h := history[f.Rule]
			h.Runs, h.Flaked = h.Runs+1, h.Flaked+1 // this run
			t := assay.FlakyTest{Test: f.Rule, Location: f.Location, Runs: h.Runs, Flaked: h.Flaked, Owners: c.in.Owners.OfTest(f.Rule, f.Location.File)}
			t.Probability, t.Low, t.High = evidence.FlakeProbability(h, c.in.Suite)
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b assay.FlakyTest) int {
		return cmp.Or(-cmp.Compare(a.Probability, b.Probability), cmp.Compare(a.Test, b.Test))
	})
	return out[:min(len(out), maxFlaky)]
}
