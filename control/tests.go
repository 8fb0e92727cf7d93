package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/gate"
	"assay.dev/assay/internal/codeowners"
	"assay.dev/assay/store"
)

// The history of tests is kept by identity, from the runs that were attested: a run
// counts once, however often its report is presented.
const (
	testBucket   = "test"         // a test that was ever flaky
	suiteBucket  = "test-suite"   // all tests of the namespace together, named suiteName
	reportBucket = "test-counted" // the reports that were counted
	suiteName    = "all"
)

// testRecord is what is kept of one test. Reports name only the tests that were not
// plainly passed, so a test's runs are the suite's since it was first seen.
type testRecord struct {
	Since  int `json:"since"` // runs of the suite before the test was first seen
	Flaked int `json:"flaked"`
}

// suiteRecord is what is kept of all tests together.
type suiteRecord struct {
	Runs   int `json:"runs"`   // reports
	Cases  int `json:"cases"`  // test cases that ran in them
	Flaked int `json:"flaked"` // of those
}

// observed is the payload of a tests.observed fact.
type observed struct {
	Gate   string   `json:"gate"`
	Report string   `json:"report"` // digest
	Flaky  []string `json:"flaky"`
}

// addHistory gives a gate what it says about flaky tests: their past, and their owners.
func (s *Session) addHistory(ctx context.Context, in *gate.Inputs, owners string) error {
	var err error
	if in.Owners, err = codeowners.Parse("owners", []byte(owners)); err != nil {
		return err
	}
	var names []string
	for _, e := range in.Evidence {
		for _, f := range gate.FlakyFindings(e) {
			names = append(names, f.Rule)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		var suite suiteRecord
		if _, err := readState(r, s.testKey(suiteBucket, suiteName), &suite); err != nil {
			return err
		}
		in.Suite = evidence.History{Runs: suite.Cases, Flaked: suite.Flaked}
		for _, name := range slices.Compact(names) {
			var t testRecord
			version, err := readState(r, s.testKey(testBucket, testName(name)), &t)
			if err != nil {
				return err
			}
			if version > 0 {
				in.History = append(in.History, evidence.History{Test: name, Runs: suite.Runs - t.Since, Flaked: t.Flaked})
			}
		}
		return nil
	})
}

// testRun is what one report says about tests.
type testRun struct {
	cases int
	flaky []string
}

// testRuns are the runs of tests in some evidence, by report.
func testRuns(list []assay.Evidence) map[assay.Digest]testRun {
	out := map[assay.Digest]testRun{}
	for _, e := range list {
		var r testRun
		if t := e.Tests; t != nil {
			r.cases = t.Passed + t.Failed + t.Flaky
		}
		for _, f := range gate.FlakyFindings(e) {
			r.flaky = append(r.flaky, f.Rule)
		}
		slices.Sort(r.flaky)
		r.flaky = slices.Compact(r.flaky)
		out[e.Digest] = r
	}
	return out
}

// observeTests keeps what a recorded verdict tells of tests, with a fact for each
// report, in one transaction. A report that was counted before changes nothing, also
// beside one that was not.
func (s *Session) observeTests(ctx context.Context, v assay.Verdict, runs map[assay.Digest]testRun, cause assay.FactID) error {
	reports := slices.DeleteFunc(slices.Clone(v.Evidence), func(e assay.EvidenceRef) bool { return e.Kind != assay.KindTests || e.Baseline })
	if len(reports) == 0 {
		return nil
	}
	listed := map[string]bool{} // a verdict names so many flaky tests and no more
	for _, t := range v.Flaky {
		listed[t.Test] = true
	}
	fresh, failed := false, 0 // reports that are new, and their flaky tests
	err := s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		fresh, failed = false, 0
		for _, e := range reports {
			k := s.testKey(reportBucket, string(e.Digest))
			if _, err := tx.Get(k); err == nil {
				continue
			} else if assay.CodeOf(err) != assay.CodeNotFound {
				return err
			}
			if _, err := tx.Put(k, []byte(`{}`), 0); err != nil {
				return err
			}
			run := runs[e.Digest]
			flaky := slices.DeleteFunc(slices.Clone(run.flaky), func(name string) bool { return !listed[name] })
			if err := s.countTests(tx, run.cases, flaky); err != nil {
				return err
			}
			fresh = true
			failed += len(flaky)
			payload, err := json.Marshal(observed{Gate: v.Gate, Report: string(e.Digest), Flaky: append([]string{}, flaky...)})
			if err != nil {
				return err
			}
			_, err = tx.Append(assay.Fact{
				Kind: assay.FactTestsObserved, Version: 1, Time: v.Time, Namespace: s.caller.Namespace, Environment: v.Environment,
				Subject: v.Subject.Digest, PolicyRevision: v.Policy.Digest, Actor: s.caller.Name, Causes: []assay.FactID{cause},
				Retention: assay.RetainOperational, Payload: payload,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && fresh { // also none, so that a rate over the first one is seen
		s.p.cfg.Metrics.flakyTests(v.Environment, failed)
	}
	return err
}

// countTests adds one run of so many cases to the suite, and one flake to each of the named tests.
func (s *Session) countTests(tx store.Tx, cases int, flaky []string) error {
	var suite suiteRecord
	key := s.testKey(suiteBucket, suiteName)
	version, err := readState(tx, key, &suite)
	if err != nil {
		return err
	}
	for _, name := range flaky {
		key := s.testKey(testBucket, testName(name))
		t := testRecord{Since: suite.Runs}
		version, err := readState(tx, key, &t)
		if err != nil {
			return err
		}
		t.Flaked++
		if err := writeState(tx, key, t, version); err != nil {
			return err
		}
	}
	suite.Runs++
	suite.Cases += cases
	suite.Flaked += len(flaky)
	return writeState(tx, key, suite, version)
}

func (s *Session) testKey(bucket, name string) store.Key {
	return store.Key{Namespace: s.caller.Namespace, Bucket: bucket, Name: name}
}

// testName is a name that the store takes for a test's identity, which may hold anything.
func testName(test string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(test[:min(len(test), 700)]))
}

// readState decodes a state value into v; without one v stays as it is and the version is 0.
func readState(r store.Reader, key store.Key, v any) (int64, error) {
	value, err := r.Get(key)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(value.Data, v); err != nil {
		return 0, assay.Errorf(assay.CodeInternal, "%s %s cannot be read from the store: %w", key.Bucket, key.Name, err)
	}
	return value.Version, nil
}

func writeState(tx store.Tx, key store.Key, v any, version int64) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = tx.Put(key, data, version)
	return err
}

// ledgerHead is the head that reports pin, nil without a ledger or before its first checkpoint.
func (s *Session) ledgerHead(ctx context.Context) (*assay.LedgerHead, error) {
	if s.p.cfg.Ledger == nil {
		return nil, nil
	}
	c, err := s.p.cfg.Ledger.Head(ctx)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &assay.LedgerHead{Origin: c.Origin, Size: c.Size, RootHash: base64.StdEncoding.EncodeToString(c.Root[:])}, nil
}
