package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"github.com/spf13/cobra"
)

// exceptionDesk is what the commands about emergencies and reports need of a control plane.
type exceptionDesk interface {
	BypassException(ctx context.Context, req api.BypassRequest) (assay.Exception, error)
	ExceptionReport(ctx context.Context) (api.ExceptionReport, error)
}

// scopeFlags say what an exception covers.
type scopeFlags struct {
	rules, subjects, names, packages, advisories, environments []string
}

func (f *scopeFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&f.rules, "rule", nil, "rule to excuse, as the report names it, or absent/REQUIREMENT; may be repeated")
	fs.StringArrayVar(&f.subjects, "subject", nil, "only for the artifact with this digest; may be repeated")
	fs.StringArrayVar(&f.names, "subject-name", nil, "only for artifacts whose name matches this pattern (* any characters but /, ** any); may be repeated")
	fs.StringArrayVar(&f.packages, "package", nil, "only for this component; may be repeated")
	fs.StringArrayVar(&f.advisories, "advisory", nil, "only for this advisory or finding; may be repeated")
	fs.StringArrayVar(&f.environments, "environment", nil, "only for this environment; may be repeated")
}

func (f *scopeFlags) scope() (assay.ExceptionScope, error) {
	s := assay.ExceptionScope{Rules: f.rules, Names: f.names, Packages: f.packages, Advisories: f.advisories, Environments: f.environments}
	for _, text := range f.subjects {
		d, err := assay.ParseDigest(text)
		if err != nil {
			return s, usageError{err}
		}
		s.Subjects = append(s.Subjects, d)
	}
	return s, nil
}

func (a *app) exceptionBypassCmd() *cobra.Command {
	var req api.BypassRequest
	var scope scopeFlags
	var until string
	cmd := &cobra.Command{
		Use:   "bypass --rule RULE --reason TEXT",
		Short: "In an emergency: excuse rules at once, for at most 4 hours, in your name alone",
		Long: `In an emergency: excuse rules at once, for at most 4 hours, in your name alone.

Nobody approves it and everybody sees it: a fact in the ledger names you, the
reason and who is to be paged (spec.bypass.page of the ExceptionPolicy). It cannot
be changed or renewed; it ends by itself, or is revoked, which is recorded too.
Writes into the state directory (no other process may use it meanwhile) or asks
--server. Needs the role operator or approver.

Exit codes: 0 in force · 1 refused or error · 2 usage.`,
		Example: `  assay exception bypass --rule release/no-critical-vulnerabilities --reason "INC-42: checkout is down, the fix is in 1.4.1" --until 1h`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if req.Scope, err = scope.scope(); err != nil {
				return err
			}
			if req.NotAfter, err = parseTime(until, a.now()); err != nil {
				return usageError{fmt.Errorf("--until: %w", err)}
			}
			e, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (assay.Exception, error) {
				return ops.BypassException(cmd.Context(), req)
			})
			if err != nil {
				return err
			}
			return a.print(e, func() {
				a.exceptionTable([]assay.Exception{e}, a.now())
				fmt.Fprintf(a.out, "recorded as %s by %s; to end it early: assay exception revoke %s --reason …\n", assay.FactExceptionBypassed, e.Requester, e.ID)
			})
		},
	}
	scope.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&req.Reason, "reason", "", "what is happening, and why it cannot wait")
	fs.StringVar(&req.Ticket, "ticket", "", "the incident")
	fs.StringVar(&until, "until", "1h", "end: RFC 3339 or a duration from now, at most 4h")
	for _, name := range []string{"rule", "reason"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}

func (a *app) exceptionReportCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "report",
		Short: "Show the open exceptions by age and owner, and how often each was used",
		Long: `Show the open exceptions by age and owner, and how often each was used.

Reads the state directory (no other process may use it meanwhile) or asks
--server; changes nothing.

Exit codes: 0 shown · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (api.ExceptionReport, error) {
				return ops.ExceptionReport(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(r, func() { a.exceptionReport(r) })
		},
	}
}

func (a *app) exceptionReport(r api.ExceptionReport) {
	if len(r.Exceptions) == 0 {
		fmt.Fprintf(a.out, "no open exceptions; %d closed\n", r.Closed)
		return
	}
	span := func(seconds int64) string { return leftOf(time.Duration(seconds) * time.Second) }
	var rows [][]string
	for _, o := range r.Owners {
		rows = append(rows, []string{o.Owner, strconv.Itoa(o.Waiting), strconv.Itoa(o.InForce), strconv.Itoa(o.Emergency), strconv.Itoa(o.Uses), span(o.OldestAge)})
	}
	a.out.Table([]string{"OWNER", "WAITING", "GRANTED", "BYPASSES", "USES", "OLDEST"}, rows)
	fmt.Fprintln(a.out)
	rows = nil
	for _, e := range r.Exceptions {
		state := string(e.State)
		if e.Emergency {
			state = "bypass"
		}
		rows = append(rows, []string{e.ID, state, e.Owner, span(e.Age), span(e.Left), strconv.Itoa(e.Uses), strings.Join(e.Rules, " ")})
	}
	a.out.Table([]string{"ID", "STATE", "OWNER", "AGE", "LEFT", "USES", "RULES"}, rows)
	fmt.Fprintf(a.out, "%d closed\n", r.Closed)
}

// stateOf is an exception's state in a table.
func stateOf(e assay.Exception) string {
	switch {
	case e.State == assay.ExceptionApproved && e.Emergency:
		return "bypass"
	case e.State == assay.ExceptionRequested && e.Needs > 1:
		return fmt.Sprintf("requested (%d/%d)", len(e.Approvals), e.Needs)
	}
	return string(e.State)
}

// exceptionWatch is how often a server looks for exceptions that end.
const exceptionWatch = time.Minute

// watchExceptions reminds of exceptions that end soon, until ctx ends.
func (a *app) watchExceptions(in *installation) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(exceptionWatch)
		defer tick.Stop()
		for {
			if err := in.plane.WatchExceptions(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("exceptions are not watched", "error", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	}
}
