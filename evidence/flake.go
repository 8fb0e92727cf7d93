package evidence

import "gonum.org/v1/gonum/mathext"

// History is what is known of one test, or of all tests of a suite together,
// from earlier reports. A test is the same as long as its Finding.Rule is.
type History struct {
	Test   string `json:"test"`   // the Rule of its findings, "" for a suite
	Runs   int    `json:"runs"`   // reports that ran it, retries not counted
	Flaked int    `json:"flaked"` // of these, in which it failed and then passed
	Failed int    `json:"failed"` // of these, in which it failed with all its retries
}

const (
	// flakePrior is what is believed of a suite that nobody has seen: one run in
	// a hundred is flaky, and fifty runs outweigh the belief.
	flakePriorFlaked, flakePriorRuns = 0.5, 50.0
	// flakeWeight is how many runs of a test the experience with its suite counts for.
	flakeWeight = 20.0
	// flakeTail is what the interval leaves out on each side.
	flakeTail = 0.025
)

// FlakeProbability is the probability that the next run of a test, on code that
// is good, fails and then passes; with its 95% credible interval.
//
// A run that failed with all its retries says nothing about it: the code may be
// bad. So of a test n = Runs - Failed runs count, of which k = Flaked were
// flaky, and k is Binomial(n, p). The prior of p is pooled over the suite: a
// Beta distribution with the mean of the suite
//
//	m = (suite.Flaked + 0.5) / (suite.Runs - suite.Failed + 50)
//
// and the weight of 20 runs, so that p is, after what was seen,
//
//	Beta(20·m + k, 20·(1-m) + n - k)
//
// whose mean and quantiles at 0.025 and 0.975 are returned. A test that nobody
// has seen gets the mean of its suite, and an interval that says how little
// that is.
func FlakeProbability(h History, suite History) (mean, low, high float64) {
	n, k := h.trials()
	all, flaked := suite.trials()
	m := (flaked + flakePriorFlaked) / (all + flakePriorRuns)
	a := flakeWeight*m + k
	b := flakeWeight*(1-m) + n - k
	return a / (a + b), mathext.InvRegIncBeta(a, b, flakeTail), mathext.InvRegIncBeta(a, b, 1-flakeTail)
}

// trials returns the runs that say something about flakiness, and those that
// were flaky; what cannot be, such as more flaky runs than runs, is bent into range.
func (h History) trials() (n, k float64) {
	runs := max(h.Runs, 0) - min(max(h.Failed, 0), max(h.Runs, 0))
	return float64(runs), float64(min(max(h.Flaked, 0), runs))
}
