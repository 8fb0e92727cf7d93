package attest

import (
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Results of a test run, in the words of in-toto. ResultPassed and ResultFailed are the others.
const ResultWarned = "WARNED"

// TestResult is the predicate of an in-toto test result, v0.1. Configuration is
// what was run: the reports that it was made from, by digest. A test that failed
// and then passed is among the warned. Counts is our extension: nil where
// somebody else wrote the result.
type TestResult struct {
	Result        string       `json:"result"`
	Configuration []Descriptor `json:"configuration"`
	URL           string       `json:"url,omitempty"`
	PassedTests   []string     `json:"passedTests,omitempty"`
	WarnedTests   []string     `json:"warnedTests,omitempty"`
	FailedTests   []string     `json:"failedTests,omitempty"`

	Counts *TestCounts `json:"-"` // assay.ExtensionTestCounts
}

// TestCounts counts all tests, named or not.
type TestCounts struct {
	assay.TestCounts
	Listed int `json:"listed"` // names in warnedTests and failedTests: the first MaxListed
}

// descriptors lists the artifact and, if Commit is a full Git revision, that too.
func descriptors(s assay.Subject) ([]Descriptor, error) {
	if _, err := assay.ParseDigest(string(s.Digest)); err != nil {
		return nil, fieldError("subject.digest", "is "+quote(string(s.Digest))+"; a statement is about an artifact with a digest")
	}
	all := []Descriptor{{Name: s.Name, Digest: digestSet(s.Digest)}}
	if isRevision(s.Commit) {
		all = append(all, Descriptor{Name: "source", Digest: map[string]string{"gitCommit": s.Commit}})
	}
	return all, nil
}

// isRevision reports whether s is a full Git commit id, SHA-1 or SHA-256. A tag
// or a short id names no content.
func isRevision(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// TestResultStatement makes the unsigned in-toto test result of test reports
// about an artifact: FAILED if a test failed, WARNED if one was flaky, and PASSED
// otherwise. Reports in which no test ran are refused: nothing was tested.
func TestResultStatement(s assay.Subject, reports []assay.Evidence) ([]byte, error) {
	subjects, err := descriptors(s)
	if err != nil {
		return nil, err
	}
	r := TestResult{Result: ResultPassed, Configuration: reportDescriptors(reports), Counts: &TestCounts{}}
	for _, e := range reports {
		if e.Kind != assay.KindTests || e.Tests == nil {
			return nil, fieldError("evidence", "from "+quote(e.Source)+" is "+quote(string(e.Kind))+"; a test result is made of reports of kind "+string(assay.KindTests))
		}
		c := &r.Counts.TestCounts
		c.Passed += e.Tests.Passed
		c.Failed += e.Tests.Failed
		c.Skipped += e.Tests.Skipped
		c.Flaky += e.Tests.Flaky
		for _, f := range e.Findings {
			if len(r.FailedTests)+len(r.WarnedTests) == MaxListed {
				break
			}
			// Readers rank what failed and then passed below what failed.
			if f.Severity.Rank() < assay.SeverityHigh.Rank() {
				r.WarnedTests = append(r.WarnedTests, clip(f.Rule, 1000))
			} else {
				r.FailedTests = append(r.FailedTests, clip(f.Rule, 1000))
			}
		}
	}
	r.Counts.Listed = len(r.FailedTests) + len(r.WarnedTests)
	switch {
	case r.Counts.Passed+r.Counts.Failed+r.Counts.Flaky == 0:
		return nil, fieldError("evidence", "holds no test that ran; there is no result to attest")
	case r.Counts.Failed > 0 || len(r.FailedTests) > 0:
		r.Result = ResultFailed
	case r.Counts.Flaky > 0:
		r.Result = ResultWarned
	}
	return marshalStatement(subjects, assay.TestResultPredicateType, r, member{assay.ExtensionTestCounts, r.Counts})
}

// reportDescriptors names reports by digest.
func reportDescriptors(reports []assay.Evidence) []Descriptor {
	all := make([]Descriptor, 0, len(reports))
	for _, e := range reports {
		all = append(all, Descriptor{Name: e.Source, URI: sourceURI(e.Source), Digest: digestSet(e.Digest)})
	}
	return all
}

// ParseTestResult reads the predicate of a test result. Fields it does not know
// are ignored, as in-toto demands; the contents of our own extension are read strictly.
func ParseTestResult(predicate []byte) (TestResult, error) {
	var r TestResult
	if err := decodeOpen(predicate, &r); err != nil {
		return TestResult{}, err
	}
	if !slices.Contains([]string{ResultPassed, ResultWarned, ResultFailed}, r.Result) {
		return TestResult{}, fieldError("result", "is "+quote(r.Result)+"; expected PASSED, WARNED or FAILED")
	}
	if len(r.Configuration) == 0 {
		return TestResult{}, fieldError("configuration", "is missing or empty; in-toto demands what was run")
	}
	if r.Result == ResultPassed && len(r.FailedTests) > 0 {
		return TestResult{}, fieldError("failedTests", "is not empty although the result is PASSED")
	}
	var all struct {
		Counts *jsontext.Value `json:"https://assay.dev/test-result/counts/v1"`
	}
	if err := jsonv2.Unmarshal(predicate, &all); err != nil {
		return TestResult{}, assay.Errorf(assay.CodeInvalid, "predicate has the wrong form: %v", err)
	}
	if all.Counts != nil {
		r.Counts = &TestCounts{}
		if err := strict.JSON(*all.Counts, r.Counts); err != nil {
			e := assay.Errorf(assay.CodeInvalid, "is not what this version writes: %w", err)
			e.Field = assay.ExtensionTestCounts
			return TestResult{}, e
		}
	}
	return r, nil
}

// Describe says in one line what the result is.
func (r TestResult) Describe() string {
	if c := r.Counts; c != nil {
		return fmt.Sprintf("%s, %d passed, %d failed, %d flaky, %d skipped", r.Result, c.Passed, c.Failed, c.Flaky, c.Skipped)
	}
	return fmt.Sprintf("%s, names %d passed, %d warned, %d failed", r.Result, len(r.PassedTests), len(r.WarnedTests), len(r.FailedTests))
}
