package control

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/budget"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
)

// Books are the books of objectives, kept for one namespace.
type Books interface {
	Namespace() string
	Snapshots(now time.Time) []budget.Snapshot
	Snapshot(name string, now time.Time) (budget.Snapshot, error)
}

// Objectives lists the objectives of the caller's namespace, the one that has
// spent most of its budget first.
func (s *Session) Objectives(context.Context) ([]api.Objective, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	list := []api.Objective{}
	if s.books() {
		for _, snap := range s.p.cfg.Books.Snapshots(s.p.cfg.Now()) {
			list = append(list, apiObjective(snap))
		}
	}
	slices.SortStableFunc(list, func(a, b api.Objective) int {
		return cmp.Or(cmp.Compare(b.Spent, a.Spent), cmp.Compare(a.Objective.SLO, b.Objective.SLO), cmp.Compare(a.Objective.Index, b.Objective.Index))
	})
	return list, nil
}

// Objective returns one objective with its newest minutes. The name is that of
// its SLO, or "slo/index" for one of several.
func (s *Session) Objective(_ context.Context, name string) (api.Objective, error) {
	if err := s.read(); err != nil {
		return api.Objective{}, err
	}
	if !s.books() {
		e := assay.Errorf(assay.CodeNotFound, "objective %q is not kept for namespace %q", name, s.caller.Namespace)
		e.Hint = "books are kept by assay serve, for the namespace that it was started with"
		return api.Objective{}, e
	}
	snap, err := s.p.cfg.Books.Snapshot(name, s.p.cfg.Now())
	if err != nil {
		return api.Objective{}, err
	}
	o := apiObjective(snap)
	o.SecondSpans = snap.Second
	for _, m := range snap.Minutes {
		o.Minutes = append(o.Minutes, api.Minute{Time: m.Time, Known: m.Known, Second: m.Second, Good: m.Good, Total: m.Total})
	}
	return o, nil
}

// books reports whether the caller's namespace is the one whose books are kept.
func (s *Session) books() bool {
	return s.p.cfg.Books != nil && s.p.cfg.Books.Namespace() == s.caller.Namespace
}

func apiObjective(s budget.Snapshot) api.Objective {
	spent, _ := s.Budget.Spent().Float64() // a quotient of events: finite, and rounding is for display
	o := api.Objective{
		Objective: s.Objective, Time: s.Time, Known: s.Known, Reason: s.Reason, Newest: s.Newest,
		Completeness: s.Budget.Completeness(), Good: s.Budget.Good, Total: s.Budget.Total,
		Allowed: s.Budget.Allowed(), Remaining: s.Budget.Remaining(), Spent: spent, Burns: []api.Burn{},
		Instead: s.Instead, Second: s.Budget.Second,
	}
	for _, b := range s.Burns {
		o.Burns = append(o.Burns, api.Burn{
			Alert: b.Alert, Long: b.Long.Float(), Short: b.Short.Float(), State: b.State, LongSecond: b.Long.Second, ShortSecond: b.Short.Second,
		})
	}
	return o
}

// Note is something that is accepted and deserves a second look.
type Note struct {
	File string
	Line int
	Msg  string
}

// ReadObjectives reads OpenSLO files, together: SLOs may refer to SLIs of other
// files. The error joins one for each resource that is wrong; what could be read
// is returned beside it.
func ReadObjectives(files []policy.File) (list []slo.Objective, notes []Note, err error) {
	var sets []*slo.Set
	var problems []error
	for _, f := range files {
		set, err := slo.Parse(f.Path, f.Content)
		if err != nil {
			problems = append(problems, err)
		}
		if set == nil {
			continue
		}
		sets = append(sets, set)
		for _, text := range set.Notes {
			n := Note{File: f.Path, Msg: text}
			if line, msg, ok := strings.Cut(strings.TrimPrefix(text, f.Path+":"), ": "); ok {
				n.Line, _ = strconv.Atoi(line) // 0 is unknown
				n.Msg = msg
			}
			notes = append(notes, n)
		}
	}
	list, err = slo.Resolve(sets...)
	return list, notes, errors.Join(append(problems, err)...)
}

// CheckSignals holds together what a policy revision says about telemetry: its
// OpenSLO files can be read, its rollouts pass CheckRollouts, and its strategies
// CheckStrategies. The error joins one for each mistake, with its place.
func CheckSignals(rev *policy.Revision) error {
	_, _, err := ReadObjectives(rev.Objectives())
	return errors.Join(err, CheckRollouts(rev), CheckStrategies(rev))
}

// CheckStrategies checks that the objectives exist that a revision's strategies name:
// one whose error budget is never known would never be weighed.
func CheckStrategies(rev *policy.Revision) error {
	objectives, _, _ := ReadObjectives(rev.Objectives()) // those that can be read
	var problems []error
	for _, s := range rev.Strategies() {
		if !hasObjective(objectives, s.Spec.Objective) {
			problems = append(problems, s.Errorf([]string{"spec", "objective"}, noObjective, s.Spec.Objective))
		}
	}
	return errors.Join(problems...)
}

// noObjective says that an objective is named that nobody declared.
const noObjective = "%q is no objective of an OpenSLO file in this policy"

// CheckRollouts checks that the expressions of a revision's rollouts can be
// counted, and that the objectives they name exist.
func CheckRollouts(rev *policy.Revision) error {
	objectives, _, _ := ReadObjectives(rev.Objectives()) // those that can be read
	var problems []error
	for _, r := range rev.Rollouts() {
		for i, ind := range r.Spec.Indicators {
			at := []string{"spec", "indicators", strconv.Itoa(i)}
			problems = append(problems, checkSource(r, ind, ind.Source(), at))
			if ind.Fallback != nil {
				problems = append(problems, checkSource(r, ind, *ind.Fallback, append(at, "fallback")))
			}
		}
		if !hasObjective(objectives, r.Spec.Objective) {
			problems = append(problems, r.Errorf([]string{"spec", "objective"}, noObjective, r.Spec.Objective))
		}
	}
	return errors.Join(problems...)
}

// checkSource checks the expressions of one of an indicator's sources.
func checkSource(r policy.Rollout, ind policy.RolloutIndicator, s policy.RolloutSource, at []string) error {
	var problems []error
	for _, e := range s.Expressions() {
		var err error
		switch {
		case e.Text == "":
		case e.Key == "gauge":
			_, err = signal.Compile(signal.Spec{Name: ind.Name, Gauge: e.Text, Min: ind.Min, Max: ind.Max})
		default:
			_, err = signal.ParseCounters(e.Text)
		}
		if err != nil {
			problems = append(problems, r.Errorf(append(slices.Clone(at), e.Key), "%v", err))
		}
	}
	return errors.Join(problems...)
}

// hasObjective reports whether an objective that is named is none, or one of the list.
func hasObjective(list []slo.Objective, name string) bool {
	return name == "" || slices.ContainsFunc(list, func(o slo.Objective) bool {
		return name == o.SLO || name == o.SLO+"/"+strconv.Itoa(o.Index)
	})
}
