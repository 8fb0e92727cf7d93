package main

import (
	"fmt"

	"assay.dev/assay/gameday"
	"github.com/spf13/cobra"
)

func (a *app) gamedayCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gameday",
		Short: "Rehearse releases and failures on real processes",
		Long: `Rehearse releases and failures on real processes of this machine: a shop, the
embedded proxy, a control plane and load. Each game day asserts its outcomes.`,
	}
	cmd.AddCommand(a.gamedayListCmd(), a.gamedayRunCmd())
	return cmd
}

func (a *app) gamedayListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the game days",
		Long:  "List the game days.\n\nReads and changes nothing.\n\nExit codes: 0 listed · 2 usage.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			type row struct {
				Name  string `json:"name"`
				About string `json:"about"`
			}
			var rows []row
			var table [][]string
			for _, s := range gameday.Scenarios() {
				rows = append(rows, row{s.Name, s.About})
				table = append(table, []string{s.Name, s.About})
			}
			return a.print(rows, func() {
				a.out.Table([]string{"GAME DAY", "WHAT HAPPENS"}, table)
				fmt.Fprintln(a.out, "run one with: assay gameday run NAME")
			})
		},
	}
}

func (a *app) gamedayRunCmd() *cobra.Command {
	var f playFlags
	cmd := &cobra.Command{
		Use:   "run NAME...",
		Short: "Run game days and assert their outcomes",
		Long: `Run a game day and assert its outcomes; several, if they share an installation, one
after the other on one.

Needs the go command. Writes below --dir, ` + demoDir + ` by default, and into Go's
build cache, and changes nothing else; a folder that no game day made is refused.
Children end with it.

Exit codes: 0 every outcome as asserted · 1 error · 2 usage · 3 an outcome is not.`,
		Example: `  assay gameday run control-plane-killed
  assay gameday run late-fault memory-limit`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []gameday.Scenario
			for _, name := range args {
				s, err := gameday.ScenarioNamed(name)
				if err != nil {
					return usageError{err}
				}
				if len(list) > 0 && !s.Shares(list[0]) {
					return usageError{fmt.Errorf("%s and %s do not share an installation: run one after the other", list[0].Name, name)}
				}
				list = append(list, s)
			}
			return a.play(cmd.Context(), f, false, func(w *gameday.World) (gameday.Report, error) { return w.Play(list...) })
		},
	}
	f.add(cmd, "127.0.0.1:0")
	return cmd
}
