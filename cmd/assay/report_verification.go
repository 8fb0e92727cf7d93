package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/report"
	"github.com/spf13/cobra"
)

// verificationFlags are the flags of report verification.
type verificationFlags struct {
	from, to, period, environment string
	require                       float64
}

func (a *app) verificationCmd() *cobra.Command {
	var f verificationFlags
	cmd := &cobra.Command{
		Use:   "verification",
		Short: "How many checks pass, by environment and period",
		Long: `How many checks pass, by environment and period: passed of all checks, which should
be 99 % or more.

A check is one requirement of a verdict that was recorded (assay attest). It passed if
the evidence was there and nothing that blocks objects to it; it did not if it was
violated or absent, even where an exception let the artifact through. What policies
objected to about nothing that is required is one more check that did not pass. Dry
runs count; what assay verify only asked is not recorded and does not.

Flaky tests neither pass nor fail. They are counted apart, once for each test report,
where it was attested first. A time in which nothing was checked has no rate.

Reads the state directory (no other process may use it meanwhile) or asks
--server; changes nothing.

Exit codes: 0 measured · 1 error · 2 usage · 3 below --require · 4 nothing was checked.`,
		Example: `  assay report verification --from 168h
  assay report verification --from 2026-07-01 --to 2026-10-01 --period week --environment prod --require 0.99`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.verification(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.from, "from", report.DefaultWindow.String(), "begin: a date, RFC 3339, or a duration back from now such as 720h")
	fs.StringVar(&f.to, "to", "", "end, exclusive, likewise (default now)")
	fs.StringVar(&f.period, "period", "day", strings.Join(report.Periods, ", ")+", in UTC")
	fs.StringVar(&f.environment, "environment", "", "only this one")
	fs.Float64Var(&f.require, "require", 0, fmt.Sprintf("smallest share that is good enough in every environment, 0 to 1; without it %v is the target and only said", report.DefaultTarget))
	return cmd
}

// request reads the flags.
func (f verificationFlags) request(now time.Time) (api.VerificationRequest, error) {
	req := api.VerificationRequest{Period: f.period, Environment: f.environment, Target: f.require}
	if !slices.Contains(report.Periods, f.period) {
		return req, usageError{fmt.Errorf("--period %s", strict.OneOf(f.period, report.Periods))}
	}
	if !(f.require >= 0 && f.require <= 1) {
		return req, usageError{fmt.Errorf("--require %v is not a share from 0 to 1", f.require)}
	}
	var err error
	req.From, req.To, err = parseBetween(f.from, f.to, now)
	return req, err
}

func (a *app) verification(ctx context.Context, f verificationFlags) error {
	req, err := f.request(a.now())
	if err != nil {
		return err
	}
	v, err := ask(ctx, a, stateNeeded, func(ops *operations) (report.Verification, error) { return ops.Verification(ctx, req) })
	if err != nil {
		return err
	}
	if err := a.print(v, func() { a.printVerification(v) }); err != nil {
		return err
	}
	missed := func(e report.EnvironmentRate) bool { return e.Standing == report.RateMissed }
	switch {
	case v.Total.Checks == 0:
		return exit(exitAbsent)
	case f.require > 0 && slices.ContainsFunc(v.Environments, missed):
		return exit(exitFailed)
	}
	return nil
}

func (a *app) printVerification(v report.Verification) {
	fmt.Fprintf(a.out, "%s to %s by %s, target %.6g %%\n", v.From.Format(time.RFC3339), v.To.Format(time.RFC3339), v.Period, 100*v.Target)
	if v.Total.Checks == 0 && v.Total.Flaky == 0 {
		fmt.Fprintln(a.out, "nothing checked; verdicts are recorded by: assay attest ARTIFACT --evidence FILE …")
		return
	}
	for _, e := range v.Environments {
		a.printRate(a.out.Bold(e.Title()), e.Rate)
		for _, p := range joined(e.Periods) {
			a.printRate("  "+periodName(v.Period, p), p.Rate)
		}
	}
	a.printRate(a.out.Bold("total"), v.Total)
}

// printRate prints one line: a sign, whose rate, and the counts.
func (a *app) printRate(name string, r report.Rate) {
	fmt.Fprintf(a.out, "%s %s  %s", a.standingSign(r.Standing), name, r.Percent())
	if r.Checks > 0 {
		fmt.Fprintf(a.out, "  %d of %s passed, %d violated, %d absent; %s", r.Passed, plural(r.Checks, "check"), r.Violated, r.Absent, plural(r.Verdicts, "verdict"))
	}
	if r.Excused > 0 {
		fmt.Fprintf(a.out, ", %d by an exception", r.Excused)
	}
	if r.Flaky > 0 {
		fmt.Fprintf(a.out, "; apart: %s", plural(r.Flaky, "flaky test"))
	}
	fmt.Fprintln(a.out)
}

// standingSign says whether a target holds; of nothing nobody knows.
func (a *app) standingSign(s report.Standing) string {
	switch s {
	case report.RateHolds:
		return a.out.Paint(term.Green, "✓")
	case report.RateMissed:
		return a.out.Paint(term.Vermilion, "✗")
	}
	return a.out.Paint(term.Amber, "–")
}

// joined makes one of neighbouring periods without anything.
func joined(list []report.PeriodRate) (out []report.PeriodRate) {
	empty := func(r report.Rate) bool { return r.Checks == 0 && r.Flaky == 0 }
	for _, p := range list {
		if last := len(out) - 1; last >= 0 && empty(p.Rate) && empty(out[last].Rate) {
			out[last].To = p.To
			continue
		}
		out = append(out, p)
	}
	return out
}

// periodName is a period, or periods that were joined: its days, both ends included, or its hours.
func periodName(period string, p report.PeriodRate) string {
	if period == "hour" {
		return p.From.Format("2006-01-02T15:04Z") + " – " + p.To.Format("2006-01-02T15:04Z")
	}
	first, last := p.From.Format(time.DateOnly), p.To.Add(-1).Format(time.DateOnly)
	if first == last {
		return first
	}
	return first + " – " + last
}
