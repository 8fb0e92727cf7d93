package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/budget"
	"assay.dev/assay/control"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/policy"
	"assay.dev/assay/slo"
	"github.com/spf13/cobra"
)

// objectives is what the slo commands need of a control plane.
type objectives interface {
	Objectives(ctx context.Context) ([]api.Objective, error)
	Objective(ctx context.Context, name string) (api.Objective, error)
}

func (a *app) sloCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "slo", Short: "Objectives: what was promised, what is left of the error budget, how fast it goes"}
	cmd.AddCommand(a.sloStatusCmd(), a.sloExplainCmd(), a.sloLintCmd())
	return cmd
}

func (a *app) sloStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show objectives with their budget, burn rate and the last two hours",
		Long: `Show the objectives of the namespace, the one that has spent most of its budget
first, or the one with NAME: that of the SLO, or SLO/INDEX for one of several.

BUDGET LEFT is the share of the bad events allowed in the window that has not
happened yet. BURN is how many times too fast it goes, over the longest span that
fits the window; 1 spends exactly the budget. STATE is ok, the alert that fires, or
unknown if too little of the window is known. The line shows bad events per minute.

Asks --server, or reads the series of a state directory that no server uses;
changes nothing.

Exit codes: 0 shown · 1 error · 2 usage.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withObjectives(cmd.Context(), func(ops objectives) error {
				list, err := fetchObjectives(cmd.Context(), ops, args)
				if err != nil {
					return err
				}
				return a.print(list, func() { a.objectiveTable(list) })
			})
		},
	}
}

// maxDrawn is how many objectives get their line drawn: each costs a request.
const maxDrawn = 20

// fetchObjectives returns the named objective, or all of them; the first ones
// with their minutes.
func fetchObjectives(ctx context.Context, ops objectives, args []string) ([]api.Objective, error) {
	if len(args) == 1 {
		o, err := ops.Objective(ctx, args[0])
		return []api.Objective{o}, err
	}
	list, err := ops.Objectives(ctx)
	if err != nil {
		return nil, err
	}
	for i := range min(len(list), maxDrawn) {
		if list[i], err = ops.Objective(ctx, objectiveID(list[i].Objective)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func objectiveID(o slo.Objective) string { return fmt.Sprintf("%s/%d", o.SLO, o.Index) }

// withObjectives runs fn with the objectives that the configuration names.
func (a *app) withObjectives(ctx context.Context, fn func(objectives) error) error {
	a.extend = func(ctx context.Context, in *installation, cfg *control.Config) (err error) {
		if in.telemetry, err = a.readTelemetry(ctx, a.cfg.get("dir")); err != nil || in.telemetry == nil {
			return err
		}
		cfg.Books = in.telemetry.books
		return nil
	}
	ops, err := a.connect(ctx, stateNeeded)
	if err != nil {
		return err
	}
	defer ops.close()
	if a.cfg.get("server") == "" {
		if _, err := os.Stat(seriesDir(a.cfg.get("dir"))); err != nil {
			return &assay.Error{
				Code: assay.CodeNotFound, File: a.cfg.get("dir"), Msg: "holds no series: no telemetry has come in",
				Hint: "send some to assay serve, see docs/telemetry.md; or name another control plane with --server",
			}
		}
	}
	return fn(ops)
}

func (a *app) objectiveTable(list []api.Objective) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "no objectives; put OpenSLO files into the policy directory, see docs/slo.md")
		return
	}
	var rows [][]string
	for _, o := range list {
		burn := "-"
		if n := len(o.Burns); n > 0 {
			burn = fmt.Sprintf("%.2g× in %s", o.Burns[n-1].Long, span(o.Burns[n-1].Alert.Long))
		}
		name := o.Objective.SLO
		if o.Objective.Index > 0 {
			name = objectiveID(o.Objective)
		}
		rows = append(rows, []string{
			name, o.Objective.Target.Percent() + " %", o.Objective.Window.Duration.String(),
			budgetLeft(o), burn, a.objectiveState(o), badLine(o.Minutes),
		})
	}
	a.out.Table([]string{"OBJECTIVE", "TARGET", "WINDOW", "BUDGET LEFT", "BURN", "STATE", "BAD PER MINUTE"}, rows)
	for _, o := range list {
		if !o.Known {
			fmt.Fprintf(a.out, "%s: %s\n", o.Objective.SLO, o.Reason)
		}
		if words := o.SecondWords(); words != "" {
			fmt.Fprintf(a.out, "%s: %s\n", o.Objective.SLO, words)
		}
	}
}

// spans are stretches of time in words, the day with the first.
func spans(list []slo.Span) string {
	var parts []string
	for i, x := range list {
		from := x.From.Format(time.TimeOnly)
		if i == 0 {
			from = x.From.Format(time.DateTime)
		}
		parts = append(parts, from+" to "+x.To.Format(time.TimeOnly))
	}
	return strings.Join(parts, ", ") + " UTC"
}

func budgetLeft(o api.Objective) string {
	if o.Total == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*(1-o.Spent))
}

// objectiveState is a word with a colour: the gravest that can be said.
func (a *app) objectiveState(o api.Objective) string {
	for _, b := range o.Burns {
		if b.State == slo.StateFiring {
			return a.out.Paint(term.Vermilion, "firing: "+b.Alert.Name)
		}
	}
	switch {
	case o.Remaining < 0:
		return a.out.Paint(term.Vermilion, "overdrawn")
	case !o.Known:
		return a.out.Paint(term.Grey, "unknown")
	}
	return a.out.Paint(term.Green, "ok")
}

// badLine draws bad events in the newest minutes, several minutes a mark; a dot
// is a time without data.
func badLine(minutes []api.Minute) string {
	const width = 24
	marks := []rune("▁▂▃▄▅▆▇█")
	each := max(1, (len(minutes)+width-1)/width)
	var bad []uint64
	var known []bool
	for part := range slices.Chunk(minutes, each) {
		sum, any := uint64(0), false
		for _, m := range part {
			if m.Known {
				sum, any = sum+m.Total-m.Good, true
			}
		}
		bad, known = append(bad, sum), append(known, any)
	}
	if len(bad) == 0 {
		return ""
	}
	most := max(1, slices.Max(bad))
	var b strings.Builder
	for i, n := range bad {
		if !known[i] {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(marks[int(float64(n)/float64(most)*float64(len(marks)-1))])
	}
	return b.String()
}

// span writes a length of time without the parts that are zero.
func span(d time.Duration) string {
	s := d.String()
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}

func (a *app) sloExplainCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "explain NAME",
		Short: "Say in words what an objective counts, allows and has spent",
		Long: `Say in words what an objective counts, what its window allows, what has been
spent, and what each row of the burn-rate table sees.

Asks --server, or reads the series of a state directory that no server uses;
changes nothing.

Exit codes: 0 explained · 1 error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withObjectives(cmd.Context(), func(ops objectives) error {
				o, err := ops.Objective(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(o, func() { a.explainObjective(o) })
			})
		},
	}
}

func (a *app) explainObjective(o api.Objective) {
	obj, unit := o.Objective, "events"
	if obj.Method == slo.MethodTimeslices {
		unit = fmt.Sprintf("slices of %s", span(obj.SliceWindow))
	}
	kind := "a calendar window of "
	if obj.Window.Rolling {
		kind = "the last "
	}
	fmt.Fprintf(a.out, "%s of %s: %s %% of %s are good in %s%s\n", a.out.Bold(obj.Name), obj.Service, obj.Target.Percent(), unit, kind, obj.Window.Duration)
	if obj.Method == slo.MethodTimeslices {
		fmt.Fprintf(a.out, "  slice      good if at least %s %% of its events are\n", obj.SliceTarget.Percent())
	}
	for _, q := range []struct {
		name  string
		query *slo.Query
	}{{"good", obj.Indicator.Good}, {"bad", obj.Indicator.Bad}, {"total", &obj.Indicator.Total}} {
		if q.query != nil {
			fmt.Fprintf(a.out, "  %-9s  %s\n", q.name, strings.Join(strings.Fields(q.query.Text), " "))
		}
		if q.query != nil && q.query.Fallback != "" {
			fmt.Fprintf(a.out, "  %-9s  %s\n", "fallback", strings.Join(strings.Fields(q.query.Fallback), " "))
		}
	}
	fmt.Fprintf(a.out, "  known      %.1f %% of the window", 100*o.Completeness)
	if !o.Newest.IsZero() {
		fmt.Fprintf(a.out, ", newest data of %s", o.Newest.Format(time.RFC3339))
	}
	fmt.Fprintf(a.out, "\n  counted    %d %s, %d of them bad\n", o.Total, unit, o.Total-o.Good)
	fmt.Fprintf(a.out, "  allowed    %d bad\n", o.Allowed)
	if o.Remaining < 0 {
		fmt.Fprintf(a.out, "  spent      %.1f %% of the budget: overdrawn by %d\n", 100*o.Spent, -o.Remaining)
	} else {
		fmt.Fprintf(a.out, "  spent      %.1f %% of the budget; %d more may go wrong\n", 100*o.Spent, o.Remaining)
	}
	if words := o.SecondWords(); words != "" {
		fmt.Fprintf(a.out, "  second     %s\n", words)
	}
	if len(o.SecondSpans) > 0 {
		fmt.Fprintf(a.out, "             %s\n", spans(o.SecondSpans))
	}
	for _, b := range o.Burns {
		fmt.Fprintf(a.out, "  %-9s  burns %.2g× in %s and %.2g× in %s; fires at %d× in both: %s", b.Alert.Name,
			b.Long, span(b.Alert.Long), b.Short, span(b.Alert.Short), b.Alert.Factor, b.State)
		if b.LongSecond > 0 {
			fmt.Fprintf(a.out, "; %d and %d minutes of that rest on the second source", b.LongSecond, b.ShortSecond)
		}
		fmt.Fprintln(a.out)
	}
	if !o.Known {
		fmt.Fprintf(a.out, "  unknown    %s\n", o.Reason)
	}
}

func (a *app) sloLintCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "lint FILE...",
		Short: "Check OpenSLO files for mistakes, with the place and what to do",
		Long: `Check OpenSLO v1 files for mistakes and for what is not supported, with the place
and what to do. SLOs may refer to SLIs of the other files. assay policy lint does
the same with the files of a policy directory.

Reads the files and changes nothing.

Exit codes: 0 no errors, warnings included · 1 a file cannot be read · 2 usage · 3 errors found.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var files []policy.File
			for _, path := range args {
				data, err := readFile(path, slo.MaxFileBytes)
				if err != nil {
					return err
				}
				files = append(files, policy.File{Path: path, Content: data})
			}
			return a.printProblems(lintObjectives(files))
		},
	}
}

// lintObjectives reads OpenSLO files and says what is wrong or doubtful.
func lintObjectives(files []policy.File) []policyProblem {
	var problems []policyProblem
	list, notes, err := control.ReadObjectives(files)
	for _, e := range flat(err) {
		problems = append(problems, problemOf("objective", e))
	}
	for _, n := range notes {
		problems = append(problems, policyProblem{Level: levelWarning, Rule: "objective", File: n.File, Line: n.Line, Column: 1, Msg: n.Msg})
	}
	for _, o := range list {
		if err := budget.Check(o); err != nil {
			e := flat(err)[0]
			problems = append(problems, policyProblem{
				Level: levelWarning, Rule: "objective", Hint: e.Hint,
				Msg: fmt.Sprintf("SLO %s: the indicator cannot be counted, so its budget is never known: %s", o.SLO, e.Msg),
			})
		}
		if err := budget.CheckSecond(o); err != nil {
			e := flat(err)[0]
			problems = append(problems, policyProblem{
				Level: levelWarning, Rule: "objective", Hint: e.Hint,
				Msg: fmt.Sprintf("SLO %s: its second source cannot be counted, so it is never read: %s", o.SLO, e.Msg),
			})
		}
	}
	return problems
}

// lintSignals is the part of `policy lint` that is about telemetry.
func lintSignals(rev *policy.Revision) []policyProblem {
	problems := lintObjectives(rev.Objectives())
	for _, path := range rev.Empty() {
		problems = append(problems, policyProblem{Level: levelWarning, Rule: "empty", File: path, Msg: "holds no resource", Hint: "a file that was cut off looks like this; remove it if nothing is meant to be declared in it"})
	}
	for _, e := range flat(control.CheckRollouts(rev)) {
		problems = append(problems, problemOf("rollout", e))
	}
	for _, e := range flat(control.CheckStrategies(rev)) {
		problems = append(problems, problemOf("strategy", e))
	}
	for _, r := range rev.Rollouts() {
		found, err := r.Lint()
		for _, e := range flat(errors.Join(append(found, err)...)) {
			p := problemOf("rollout", e)
			p.Level = levelWarning // it works, and takes longer than it may
			problems = append(problems, p)
		}
	}
	return problems
}

func problemOf(rule string, e *assay.Error) policyProblem {
	msg := e.Msg
	if e.Field != "" {
		msg = strings.TrimSpace(e.Field + " " + msg)
	}
	return policyProblem{Level: levelError, Rule: rule, File: e.File, Line: e.Line, Column: e.Column, Msg: msg, Hint: e.Hint}
}
