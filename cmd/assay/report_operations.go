package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/report"
	"github.com/spf13/cobra"
)

// operationsFlags are the flags of report operations.
type operationsFlags struct {
	from, to, service, environment string
}

func (a *app) operationsCmd() *cobra.Command {
	var f operationsFlags
	cmd := &cobra.Command{
		Use:   "operations",
		Short: "How often versions are taken back, how fast, and whether actions help",
		Long: `How often versions are taken back, how fast, and whether the actions of strategies
help, by service and in all:

  time to revert  from a bad version's first request until its traffic is seen to be
                  back; the slowest should be below 10 minutes. What a person ordered
                  is counted apart.
  carried out     actions that were read back as wanted, of those that were tried;
                  should be 95 % or more
  helped          actions after which less budget was spent than would have been, of
                  all that were judged or refused, whatever came out; should be more
                  than 90 %. Giving a lever back is no attempt to help.
  burn            budget spent after actions, in units of what was spent before;
                  should be below 1
  toggles         changes of direction of the lever that swung most, in any hour;
                  should be below 6

It is made of the facts of rollouts that ended and of actions that were taken and
judged in the time. Reads the state directory (no other process may use it meanwhile)
or asks --server; changes nothing.

Exit codes: 0 measured · 1 error · 2 usage · 4 nothing happened.`,
		Example: `  assay report operations --from 168h
  assay report operations --service shop --from 2026-07-01 --to 2026-10-01 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.operations(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.from, "from", report.DefaultWindow.String(), "begin: a date, RFC 3339, or a duration back from now such as 720h")
	fs.StringVar(&f.to, "to", "", "end, exclusive, likewise (default now)")
	fs.StringVar(&f.service, "service", "", "only this one")
	fs.StringVar(&f.environment, "environment", "", "only this one")
	return cmd
}

func (a *app) operations(ctx context.Context, f operationsFlags) error {
	req := api.OperationsRequest{Service: f.service, Environment: f.environment}
	var err error
	if req.From, req.To, err = parseBetween(f.from, f.to, a.now()); err != nil {
		return err
	}
	o, err := ask(ctx, a, stateNeeded, func(ops *operations) (report.Operations, error) { return ops.Operations(ctx, req) })
	if err != nil {
		return err
	}
	if err := a.print(o, func() { a.printOperations(o) }); err != nil {
		return err
	}
	if o.Total.Empty() {
		return exit(exitAbsent)
	}
	return nil
}

func (a *app) printOperations(o report.Operations) {
	fmt.Fprintf(a.out, "%s to %s\n", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	if o.Total.Empty() {
		fmt.Fprintln(a.out, "no rollout ended and no strategy acted; begin with: assay rollout start …, or a strategy at level act")
		return
	}
	var rows [][]string
	row := func(name string, o report.OperationsOfOne) {
		r, c := o.Rollouts, o.Actions
		rows = append(rows, []string{
			name, strconv.Itoa(r.Versions), strconv.Itoa(r.TakenBack), strconv.Itoa(r.ByPerson), strconv.Itoa(r.Failed),
			strconv.Itoa(c.Tried), strconv.Itoa(c.Done), strconv.Itoa(c.Helped), strconv.Itoa(c.NoEffect), strconv.Itoa(c.Harmed),
			strconv.Itoa(c.Unclear()), strconv.Itoa(c.Toggles), strconv.Itoa(c.Frozen),
		})
	}
	for _, s := range o.Services {
		row(s.Title(), s.OperationsOfOne)
	}
	if len(o.Services) > 1 {
		row("total", o.Total)
	}
	a.out.Table([]string{"service", "versions", "taken back", "by a person", "failed", "actions", "done", "helped", "no effect", "harmed", "unclear", "toggles/h", "frozen"}, rows)
	a.printTargets(o.Total)
}

// printTargets prints a line for each measure of all services together.
func (a *app) printTargets(o report.OperationsOfOne) {
	r, c := o.Rollouts, o.Actions
	line := func(s report.Standing, name, words string) {
		fmt.Fprintf(a.out, "%s %-14s  %s\n", a.standingSign(s), name, words)
	}
	if r.Rollbacks != nil {
		fmt.Fprintf(a.out, "  %-14s  %.0f %% of versions (%.0f %%: %.0f to %.0f %%)\n", "rollbacks",
			100**r.Rollbacks, 100*report.RollbacksConfidence, 100*r.Interval[0], 100*r.Interval[1])
	}
	revert := "nothing was taken back by itself"
	if v := r.Revert; v.Measured > 0 {
		revert = fmt.Sprintf("%s in the middle, %s at most; %d of %d below %s", seconds(v.Median), seconds(v.Slowest), v.Within, v.Measured, report.TargetRevert)
	}
	line(r.Revert.Standing, "time to revert", revert)
	line(c.CarriedOutStanding, "carried out", shareOf(c.CarriedOut, fmt.Sprintf("%d of %d, should be %.0f %% or more", c.Done, c.Tried, 100*report.TargetDone)))
	line(c.SuccessStanding, "helped", shareOf(c.Success, fmt.Sprintf("%d of %d, should be above %.0f %%", c.Helped, c.Judged()+c.Refused, 100*report.TargetHelped)))
	burn := "nothing was judged that spent budget"
	if c.Burn != nil {
		burn = fmt.Sprintf("%.2f of what was spent before, should be below %g", *c.Burn, report.TargetBurn)
	}
	line(c.BurnStanding, "burn", burn)
	toggles := "no lever moved"
	if c.TogglesStanding != report.NothingHappened {
		toggles = fmt.Sprintf("%d in an hour at most, should be below %d", c.Toggles, report.TargetToggles)
	}
	line(c.TogglesStanding, "toggles", toggles)
}

// shareOf is a share of attempts for people.
func shareOf(share *float64, counts string) string {
	if share == nil {
		return "nothing was tried"
	}
	return fmt.Sprintf("%.0f %%: %s", 100**share, counts)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}
