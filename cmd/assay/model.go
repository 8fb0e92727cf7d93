package main

import (
	"context"
	"fmt"
	"time"

	"assay.dev/assay/api"
	"github.com/spf13/cobra"
)

// models is what the model commands need of a control plane.
type models interface {
	Models(ctx context.Context) ([]api.Model, error)
	Model(ctx context.Context, name string) (api.Model, error)
	RollbackModel(ctx context.Context, o api.ModelOrder) (api.Model, error)
	RefitModel(ctx context.Context, o api.ModelOrder) (api.Model, error)
}

func (a *app) modelCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "See which versions of models decide, and roll one back",
		Long: `See which versions of models decide, and roll one back.

A model forecasts a load, or says what actions do. It is held against what comes:
one that no longer describes it is demoted to rules, a new version is fitted on what
has been like now and runs beside, and it decides once it has erred less on what
neither had seen. Every change is a fact.`,
	}
	cmd.AddCommand(a.modelListCmd(), a.modelShowCmd(), a.modelRollbackCmd(), a.modelRefitCmd())
	return cmd
}

func (a *app) modelListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the models with the version that decides",
		Long: `List the models with the version that decides, the one that runs beside, and how
much speaks for that.

Reads the state directory, or asks --server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) ([]api.Model, error) { return o.Models(cmd.Context()) })
			if err != nil {
				return err
			}
			return a.print(list, func() { a.modelTable(list) })
		},
	}
}

func (a *app) modelTable(list []api.Model) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "no decision rests on a model yet")
		return
	}
	var rows [][]string
	for _, m := range list {
		beside, words := "-", m.Reason
		if m.Shadow != "" {
			beside = fmt.Sprintf("%s (%.3g to 1)", m.Shadow, m.Evidence)
		}
		if m.Pinned != "" {
			words = "pinned by " + m.Pinned
		}
		rows = append(rows, []string{m.Name, string(m.Kind), m.Active, beside, words})
	}
	a.out.Table([]string{"MODEL", "KIND", "DECIDES", "BESIDE", "WHY"}, rows)
}

func (a *app) modelShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show MODEL",
		Short: "Show a model's versions, how well it describes what comes, and who decided when",
		Long: `Show a model's versions, how well the one that decides describes what comes, and
when and why another one came to decide.

Reads the state directory, or asks --server; changes nothing.

Exit codes: 0 shown · 1 error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) (api.Model, error) { return o.Model(cmd.Context(), args[0]) })
			if err != nil {
				return err
			}
			return a.print(m, func() { a.showModel(m) })
		},
	}
}

func (a *app) showModel(m api.Model) {
	fmt.Fprintf(a.out, "%s  %s of %s, %s decides\n", a.out.Bold(m.Name), m.Kind, m.Service, m.Active)
	if m.Reason != "" {
		fmt.Fprintf(a.out, "  %s\n", m.Reason)
	}
	if m.Pinned != "" {
		fmt.Fprintf(a.out, "  pinned by %s; nothing is promoted until: assay model refit %s --reason …\n", m.Pinned, m.Name)
	}
	if m.Skill != nil {
		fmt.Fprintf(a.out, "  held against %s: skill %.2f over the newest day\n", plural(m.Steps, "step"), *m.Skill)
	}
	if f := m.Fit; f != nil {
		fmt.Fprintf(a.out, "  80 %% intervals held %.0f %% of %s (p %.2g for an even spread)\n", 100*f.Cover80, plural(f.N, "step"), f.ChiP)
	}
	if m.Shadow != "" {
		fmt.Fprintf(a.out, "  %s runs beside: evidence %.3g to 1 that it errs less; it decides at 100 to 1\n", m.Shadow, m.Evidence)
	}
	var rows [][]string
	for _, v := range m.Versions {
		since := "all that is kept"
		if !v.Since.IsZero() {
			since = "since " + v.Since.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{v.Name, v.Made.UTC().Format(time.RFC3339), since, v.Reason})
	}
	a.out.Table([]string{"VERSION", "FITTED", "LEARNS FROM", "WHY"}, rows)
	for _, c := range m.Changes {
		fmt.Fprintf(a.out, "%s  %s → %s  %s\n", c.Time.UTC().Format(time.RFC3339), c.From, c.To, c.Reason)
	}
}

func (a *app) modelRollbackCmd() *cobra.Command {
	var order api.ModelOrder
	cmd := &cobra.Command{
		Use:   "rollback MODEL --to VERSION --reason TEXT",
		Short: "Let an earlier version of a model, or the rules, decide",
		Long: `Let an earlier version of a model, or the rules, decide from its next forecast on.
It holds until somebody asks for a new version: nothing is promoted meanwhile, though
a version that no longer describes what comes is still demoted.

Writes the state directory, or asks --server; records who did it and why.

Exit codes: 0 rolled back · 1 refused or error · 2 usage.`,
		Example: "  assay model rollback strategy/shop-scale/load --to rules --reason 'a sale begins'",
	}
	cmd.Flags().StringVar(&order.To, "to", "", "version, such as v1, or rules")
	_ = cmd.MarkFlagRequired("to") // fails only for a flag that does not exist
	a.modelOrder(cmd, &order, "rolled back", func(ctx context.Context, o *operations) (api.Model, error) { return o.RollbackModel(ctx, order) })
	return cmd
}

func (a *app) modelRefitCmd() *cobra.Command {
	var order api.ModelOrder
	cmd := &cobra.Command{
		Use:   "refit MODEL --reason TEXT",
		Short: "Fit a new version on the newest three days, and let it run beside",
		Long: `Fit a new version of a model on the newest three days and let it run beside the one
that decides. It decides once it has erred less. A rollback no longer holds.

Writes the state directory, or asks --server; records who did it and why.

Exit codes: 0 fitted · 1 refused or error · 2 usage.`,
		Example: "  assay model refit strategy/shop-scale/load --reason 'the sale is over'",
	}
	a.modelOrder(cmd, &order, "refitted", func(ctx context.Context, o *operations) (api.Model, error) { return o.RefitModel(ctx, order) })
	return cmd
}

// modelOrder lets a command tell a model something.
func (a *app) modelOrder(cmd *cobra.Command, order *api.ModelOrder, done string, tell func(context.Context, *operations) (api.Model, error)) {
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().StringVar(&order.Reason, "reason", "", "why, one line")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that does not exist
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		order.Model = args[0]
		m, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) (api.Model, error) { return tell(cmd.Context(), o) })
		if err != nil {
			return err
		}
		return a.print(m, func() {
			fmt.Fprintf(a.out, "%s  %s  %s decides", done, m.Name, m.Active)
			if m.Shadow != "" {
				fmt.Fprintf(a.out, ", %s runs beside", m.Shadow)
			}
			fmt.Fprintln(a.out)
		})
	}
}
