package main

import (
	"context"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

type decisionReads interface {
	Decisions(ctx context.Context, rollout string, limit int) ([]api.Decision, error)
	Decision(ctx context.Context, id assay.FactID) (api.Decision, error)
	DecisionRecord(ctx context.Context, id assay.FactID) ([]byte, error)
}

func (a *app) decisionsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "decisions",
		Short: "Follow, explain and replay decisions",
		Long: `Follow, explain and replay decisions.

A decision is recorded when its choice, what a guard said or what is eligible has
changed, and every ten seconds. Each can be made again from what it was made of.`,
	}
	cmd.AddCommand(a.decisionsTailCmd(), a.decisionsExplainCmd(), a.decisionsReplayCmd())
	return cmd
}

func (a *app) decisionsTailCmd() *cobra.Command {
	var rollout string
	var limit int
	var follow bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "List the newest decisions, and follow them",
		Long: `List the newest decisions, oldest first, and with --follow those that come.

Asks --server or reads the state directory; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > maxFacts {
				return usageError{fmt.Errorf("--limit %d is not from 1 to %d", limit, maxFacts)}
			}
			if follow && a.format != "table" {
				return usageError{fmt.Errorf("--follow goes with -o table")}
			}
			if follow {
				if err := a.followsAServer("decisions tail --follow"); err != nil {
					return err
				}
			}
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			return a.tail(cmd.Context(), ops, rollout, limit, follow)
		},
	}
	cmd.Flags().StringVar(&rollout, "rollout", "", "only of the rollout with this id")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "stay and print those that come")
	return cmd
}

func (a *app) tail(ctx context.Context, ops decisionReads, rollout string, limit int, follow bool) error {
	seen := map[assay.FactID]bool{}
	tick := time.NewTicker(pollRollout)
	defer tick.Stop()
	for {
		list, err := ops.Decisions(ctx, rollout, limit)
		if err != nil {
			return err
		}
		if !follow {
			return a.print(list, func() {
				if len(list) == 0 {
					fmt.Fprintln(a.out, "no decisions; a running control plane (assay serve) makes them for rollouts and strategies;\nstart a rollout with: assay rollout start --canary VERSION --digest DIGEST")
				}
				a.decisionLines(list, seen)
			})
		}
		a.decisionLines(list, seen)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// decisionLines prints those that were not seen, oldest first.
func (a *app) decisionLines(list []api.Decision, seen map[assay.FactID]bool) {
	for i := len(list) - 1; i >= 0; i-- {
		d := list[i]
		if seen[d.ID] {
			continue
		}
		seen[d.ID] = true
		fmt.Fprintf(a.out, "%s  %s  %-7s  %s: %s\n", d.Decision.Time.UTC().Format("2006-01-02T15:04:05.000Z"), d.ID, d.Decision.Action.Kind, d.Decision.Service, d.Decision.Words)
	}
}

func (a *app) decisionsExplainCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID",
		Short: "Explain one decision: the sentence, the evidence, the alternatives",
		Long: `Explain one decision: the sentence, the evidence before and after, the
alternatives with what each is expected to cost, what guards said, and the inputs.

Asks --server or reads the state directory; changes nothing.

Exit codes: 0 explained · 1 error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			d, err := ops.Decision(cmd.Context(), assay.FactID(args[0]))
			if err != nil {
				return err
			}
			return a.print(d, func() {
				a.explain(d.Decision)
				if d.Action != nil {
					fmt.Fprintf(a.out, "\ndone %s later: %s has %d %%\n", d.Action.Time.Sub(d.Decision.Time).Round(time.Millisecond), d.Action.Action.Version, d.Action.Observed)
				}
				fmt.Fprintf(a.out, "\nmake it again with: assay decisions replay %s --check\n", d.ID)
			})
		},
	}
}

func indent(rows [][]string) [][]string {
	for i := range rows {
		rows[i][0] = "  " + rows[i][0]
	}
	return rows
}

// ratioInterval is the anytime confidence interval of a test's ratio.
func ratioInterval(t assay.TestValue) string {
	low, high := "0", "∞"
	if t.RatioLow > 0 {
		low = fmt.Sprintf("%.2g", t.RatioLow)
	}
	if t.RatioHigh > 0 {
		high = fmt.Sprintf("%.2g", t.RatioHigh)
	}
	return low + "…" + high
}

// replayed is what making one decision again came to.
type replayed struct {
	ID        assay.FactID `json:"id"`
	Identical bool         `json:"identical"`
	Choice    bool         `json:"same_choice"`
	Engine    string       `json:"engine"`
}

func (a *app) decisionsReplayCmd() *cobra.Command {
	var check bool
	var rollout string
	cmd := &cobra.Command{
		Use:   "replay [ID…]",
		Short: "Make recorded decisions again from what they were made of",
		Long: `Make recorded decisions again from what they were made of: those named, those of
a rollout, or all, up to the newest thousand. The same build gives the same bytes; another one
the same choice, with numbers that may differ in their last digits.

Asks --server or reads the state directory; decides here; changes nothing.

Exit codes: 0 made again · 1 error · 2 usage · 3 with --check: something differs.`,
		Example: `  assay decisions replay --rollout 0199… --check`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			list, err := a.replayAll(cmd.Context(), ops, args, rollout)
			if err != nil {
				return err
			}
			same := 0
			for _, r := range list {
				if r.Identical {
					same++
				}
			}
			if err := a.print(list, func() { a.replayLines(list, same) }); err != nil {
				return err
			}
			if check && same != len(list) {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "fail unless every one comes out identical")
	cmd.Flags().StringVar(&rollout, "rollout", "", "the newest thousand decisions of the rollout with this id")
	return cmd
}

func (a *app) replayAll(ctx context.Context, ops decisionReads, ids []string, rollout string) ([]replayed, error) {
	if len(ids) == 0 {
		list, err := ops.Decisions(ctx, rollout, maxFacts)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			ids = append(ids, string(d.ID))
		}
	}
	out := make([]replayed, 0, len(ids))
	for _, id := range ids {
		data, err := ops.DecisionRecord(ctx, assay.FactID(id))
		if err != nil {
			return nil, err
		}
		r, err := decide.Replay(data)
		if err != nil {
			return nil, err
		}
		out = append(out, replayed{assay.FactID(id), r.Identical, r.SameChoice, r.Engine})
	}
	return out, nil
}

func (a *app) replayLines(list []replayed, same int) {
	for _, r := range list {
		word := a.out.Paint(term.Green, "identical")
		switch {
		case !r.Choice:
			word = a.out.Paint(term.Vermilion, "another choice")
		case !r.Identical:
			word = a.out.Paint(term.Amber, "same choice, numbers differ")
		}
		fmt.Fprintf(a.out, "%s  %s\n", r.ID, word)
	}
	fmt.Fprintf(a.out, "%d of %d identical\n", same, len(list))
}
