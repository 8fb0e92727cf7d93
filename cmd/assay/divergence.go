package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/diverge"
	"github.com/spf13/cobra"
)

// divergences is what the divergence commands need of a control plane.
type divergences interface {
	Divergences(ctx context.Context, service string, limit int) ([]api.Divergence, error)
	ComparedRegions(ctx context.Context, service string) ([]api.ComparedRegions, error)
}

func (a *app) divergenceCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "divergence",
		Short: "See how the regions of a service compare, and what was said of them",
		Long: `See how the regions of a service compare, and what was said of them.

A control plane (assay serve) compares the regions, clusters or clouds of each SLO with
the annotation assay.dev/regions. What begins and what ends is a fact.`,
	}
	cmd.AddCommand(a.divergenceListCmd(), a.divergenceShowCmd())
	return cmd
}

func (a *app) divergenceListCmd() *cobra.Command {
	var service string
	var limit int
	var check bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the newest verdicts about regions, each with its reason in words",
		Long: `List the newest verdicts about regions, newest first: which region became worse than the
rest of its service by more than the SLO declares, which no longer is, and which lost its
telemetry or has it again. Each is made again from its recorded input while it is listed;
with --check one that comes out otherwise fails the command.

Reads the state directory, or asks --server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage · 3 a verdict came out otherwise (--check).`,
		Example: `  assay divergence list --service checkout
  assay divergence list --check`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > api.MaxDivergences {
				return usageError{fmt.Errorf("--limit %d is not from 1 to %d", limit, api.MaxDivergences)}
			}
			list, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) ([]api.Divergence, error) {
				return o.Divergences(cmd.Context(), service, limit)
			})
			if err != nil {
				return err
			}
			if err := a.print(list, func() { a.divergenceTable(list) }); err != nil {
				return err
			}
			if check {
				return madeAgain(list)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&service, "service", "", "only of this service")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, at most")
	cmd.Flags().BoolVar(&check, "check", false, "fail unless each verdict can be made again from its input")
	return cmd
}

// madeAgain fails unless all verdicts came out as they were recorded.
func madeAgain(list []api.Divergence) error {
	var failed error
	for _, d := range list {
		if !d.Same || d.Judgement.Engine == diverge.Engine && !d.Identical {
			failed = errors.Join(failed, assay.Errorf(assay.CodeUnverified, "verdict %s of %s about %s comes out otherwise from its recorded input", d.ID, d.Judgement.Engine, d.Input.Region))
		}
	}
	return failed
}

func (a *app) divergenceTable(list []api.Divergence) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "nothing was said of any region; a running control plane (assay serve) compares those of\nSLOs with the annotation assay.dev/regions; see how they stand with: assay divergence show SERVICE")
		return
	}
	var rows [][]string
	for _, d := range list {
		rows = append(rows, []string{d.Input.Time.UTC().Format(time.RFC3339), d.Input.Service, d.Input.Region, string(d.Judgement.Verdict), d.Judgement.Words})
	}
	a.out.Table([]string{"TIME", "SERVICE", "REGION", "VERDICT", "WHY"}, rows)
}

func (a *app) divergenceShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show SERVICE",
		Short: "Show where each region of a service stands, with the interval of its difference",
		Long: `Show where each region of a service stands: alike (within the declared bound of the rest),
diverges (worse by more), unsure (neither is shown yet) or unheard (its telemetry is
missing). The interval holds the difference of the bad shares, in percentage points, at
every look together with the declared certainty.

Asks --server, since only a running control plane compares; changes nothing.

Exit codes: 0 shown · 1 error · 2 usage.`,
		Example: "  assay divergence show checkout",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.cfg.get("server") == "" {
				return &assay.Error{Code: assay.CodeInvalid, Msg: "only a running control plane compares regions", Hint: "name one with --server"}
			}
			list, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) ([]api.ComparedRegions, error) {
				return o.ComparedRegions(cmd.Context(), args[0])
			})
			if err != nil {
				return err
			}
			return a.print(list, func() { a.showRegions(list) })
		},
	}
}

func (a *app) showRegions(list []api.ComparedRegions) {
	for _, c := range list {
		fmt.Fprintf(a.out, "%s  by %s, at most %.3g percentage points worse than the rest, judged until %s\n", a.out.Bold(c.SLO), c.Label, 100*c.Bound, c.Until.UTC().Format(time.RFC3339))
		if c.Trouble != "" {
			fmt.Fprintf(a.out, "  %s\n", c.Trouble)
		}
		var rows [][]string
		for _, r := range c.Regions {
			interval, requests := "-", "-"
			if d := r.Difference; d != nil {
				interval, requests = fmt.Sprintf("%+.3g to %+.3g", d.Low, d.High), fmt.Sprintf("%d bad of %d in %s", d.Here.Events, d.Here.Exposure, d.Span)
			}
			rows = append(rows, []string{r.Region, string(r.State), interval, requests})
		}
		if len(rows) > 0 {
			a.out.Table([]string{"REGION", "STATE", "POINTS WORSE", "COUNTED"}, rows)
		}
		for _, r := range c.Regions {
			if r.State != diverge.Alike {
				fmt.Fprintln(a.out, r.Words)
			}
		}
	}
}
