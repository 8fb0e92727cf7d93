package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

// exceptions is what the exception commands need of a control plane.
type exceptions interface {
	RequestException(ctx context.Context, req api.ExceptionRequest) (assay.Exception, error)
	ApproveException(ctx context.Context, id string) (assay.Exception, error)
	RevokeException(ctx context.Context, id, reason string) (assay.Exception, error)
	Exceptions(ctx context.Context) ([]assay.Exception, error)
}

func (a *app) exceptionCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exception",
		Short: "Ask for, approve, revoke, list and report time-boxed exceptions, and bypass in an emergency",
		Long: `Ask for, approve, revoke, list and report time-boxed exceptions, and bypass in an emergency.

An exception excuses exactly the rules it names, until an end that it must have,
and only after as many others approved it as the policy says (one, if it says nothing).
Who you are is who your token says (ASSAY_TOKEN), or, on a local directory without a
token, your account on this machine.`,
	}
	cmd.AddCommand(a.exceptionRequestCmd(), a.exceptionApproveCmd(), a.exceptionRevokeCmd(), a.exceptionListCmd(),
		a.exceptionBypassCmd(), a.exceptionReportCmd())
	return cmd
}

func (a *app) exceptionRequestCmd() *cobra.Command {
	var req api.ExceptionRequest
	var scope scopeFlags
	var from, until string
	cmd := &cobra.Command{
		Use:   "request --rule RULE --reason TEXT --until TIME",
		Short: "Ask for an exception; somebody else has to approve it",
		Long: `Ask for an exception; somebody else has to approve it.

Writes the request into the state directory (no other process may use it
meanwhile) or sends it to --server; a fact tells who asked.

Exit codes: 0 done · 1 refused or error · 2 usage.`,
		Example: `  assay exception request --rule release/no-critical-vulnerabilities --advisory CVE-2026-1 --reason "not reachable, fix in review" --until 72h`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if req.Scope, err = scope.scope(); err != nil {
				return err
			}
			now := a.now()
			if req.NotAfter, err = parseTime(until, now); err != nil {
				return usageError{fmt.Errorf("--until: %w", err)}
			}
			if from != "" {
				if req.NotBefore, err = parseTime(from, now); err != nil {
					return usageError{fmt.Errorf("--from: %w", err)}
				}
			}
			return a.withExceptions(cmd.Context(), stateNeeded, func(ops exceptions) (assay.Exception, error) {
				return ops.RequestException(cmd.Context(), req)
			}, "ask another person to run: assay exception approve %s")
		},
	}
	fs := cmd.Flags()
	scope.add(cmd)
	fs.StringVar(&req.Reason, "reason", "", "why it is acceptable, in at least 10 characters")
	fs.StringVar(&req.Ticket, "ticket", "", "where the fix is tracked")
	fs.StringVar(&from, "from", "", "start: a date, RFC 3339, or a duration from now such as 2d (default now)")
	fs.StringVar(&until, "until", "", "end: a date, RFC 3339, or a duration from now such as 72h or 14d, at most 90d after the start")
	for _, name := range []string{"rule", "reason", "until"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}

func (a *app) exceptionApproveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "approve ID",
		Short: "Approve a request of somebody else",
		Long: `Approve a request of somebody else.

Changes the exception in the state directory (no other process may use it
meanwhile) or on --server; a fact tells who approved. Needs the role approver. A
server signs a statement of the approval; so does work on a local directory that
has keys, if the passphrase is in the environment or in a file.

Exit codes: 0 done · 1 refused or error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withExceptions(cmd.Context(), a.canSign(), func(ops exceptions) (assay.Exception, error) {
				return ops.ApproveException(cmd.Context(), args[0])
			}, "to end it early: assay exception revoke %s --reason …")
		},
	}
}

func (a *app) exceptionRevokeCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke ID --reason TEXT",
		Short: "End an exception at once",
		Long: `End an exception at once, whether it was approved or not. It never comes back.

Changes the exception in the state directory (no other process may use it
meanwhile) or on --server; a fact tells who revoked it and why. Whoever asked for
it may, and every approver.

Exit codes: 0 done · 1 refused or error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withExceptions(cmd.Context(), stateNeeded, func(ops exceptions) (assay.Exception, error) {
				return ops.RevokeException(cmd.Context(), args[0], reason)
			}, "")
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why it ends")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that does not exist
	return cmd
}

func (a *app) exceptionListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List exceptions and the time they have left",
		Long: `List the exceptions of the namespace and the time they have left.

Reads the state directory (no other process may use it meanwhile) or asks
--server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) ([]assay.Exception, error) {
				return ops.Exceptions(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(list, func() { a.exceptionTable(list, a.now()) })
		},
	}
}

// canSign is what an approval wants of the state directory: its keys, if they are
// there and nobody has to type their passphrase.
func (a *app) canSign() need {
	if a.cfg.get("passphrase") == "" && a.cfg.get("passphrase-file") == "" {
		return stateNeeded
	}
	if _, err := os.Stat(a.attestKeyPath()); err != nil && signerProgram(a.attestKeyPath()) == "" {
		return stateNeeded
	}
	return stateSigning
}

func (a *app) withExceptions(ctx context.Context, n need, do func(exceptions) (assay.Exception, error), next string) error {
	e, err := ask(ctx, a, n, func(ops *operations) (assay.Exception, error) { return do(ops) })
	if err != nil {
		return err
	}
	return a.print(e, func() {
		a.exceptionTable([]assay.Exception{e}, a.now())
		if next != "" {
			fmt.Fprintf(a.out, next+"\n", e.ID)
		}
	})
}

func (a *app) exceptionTable(list []assay.Exception, now time.Time) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "no exceptions; ask for one with: assay exception request --rule … --reason … --until …")
		return
	}
	for _, e := range list {
		state := stateOf(e)
		left := ""
		switch {
		case e.State == assay.ExceptionRevoked:
		case !now.Before(e.NotAfter):
			state = "expired"
		case now.Before(e.NotBefore):
			left = "begins " + e.NotBefore.UTC().Format("2006-01-02 15:04")
		default:
			left = leftOf(e.NotAfter.Sub(now)) + " left"
		}
		fmt.Fprintln(a.out, strings.TrimRight(e.ID+"  "+state+"  "+left, " "))
		people := e.Requester
		if e.Approver != "" {
			people += ", approved by " + e.Approver
		}
		for _, line := range [][2]string{
			{"rules", strings.Join(e.Scope.Rules, " ")}, {"only for", onlyFor(e.Scope)}, {"asked by", people}, {"reason", e.Reason},
		} {
			a.out.Paragraph("  "+line[0]+strings.Repeat(" ", 10-len(line[0])), line[1])
		}
	}
}

// leftOf is a time that is left, in days where there are many: the rest of a minute is not
// nothing.
func leftOf(d time.Duration) string {
	switch {
	case d >= 96*time.Hour:
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + " days"
	case d < time.Minute:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// onlyFor is what a scope covers beside its rules, for who has to approve it.
func onlyFor(s assay.ExceptionScope) string {
	var parts []string
	for _, d := range s.Subjects {
		parts = append(parts, d.Short())
	}
	parts = slices.Concat(parts, s.Packages, s.Advisories, s.Names, s.Environments)
	return cmp.Or(strings.Join(parts, " "), "everything")
}

// parseTime reads RFC 3339, a date (its start, UTC) or a duration from now, also in days
// and weeks.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d).UTC(), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return now.Add(time.Duration(d)).UTC(), nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q is neither a duration such as 72h or 14d nor a date such as 2026-12-31, with or without T18:00:00Z", s)
	}
	return t.UTC(), nil
}
