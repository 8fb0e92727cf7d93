package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // --zone works on a machine without a zone database

	"assay.dev/assay"
	"assay.dev/assay/analyze"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

func (a *app) analyzeCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "analyze", Short: "Run the engine on your own data: anomalies, forecasts, canaries from a CSV file"}
	cmd.AddCommand(a.analyzeAnomalyCmd(), a.analyzeForecastCmd(), a.analyzeCanaryCmd())
	return cmd
}

// zoned adds --zone and returns what it names.
func zoned(cmd *cobra.Command) func() (*time.Location, error) {
	name := cmd.Flags().String("zone", "UTC", "zone of the service's users, for example Europe/Berlin: hours are told by its clocks")
	return func() (*time.Location, error) {
		zone, err := time.LoadLocation(*name)
		if err != nil {
			return nil, usageError{fmt.Errorf("--zone %q is not a zone; write a name like Europe/Berlin or UTC", *name)}
		}
		return zone, nil
	}
}

// readPoints reads the series of a command.
func readPoints(path string, zone *time.Location) ([]analyze.Point, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return analyze.ReadSeries(f, path, zone)
}

func (a *app) analyzeAnomalyCmd() *cobra.Command {
	var zone func() (*time.Location, error)
	cmd := &cobra.Command{
		Use:   "anomaly FILE.csv",
		Short: "Score every observation of a series as it would have been seen when it came",
		Long: `Score every observation of a series as it would have been seen when it came.

The file has the columns timestamp and value. A score is how far the observation
goes beyond everything before it, in one of seven views (the value, its means, its
spread, its hour of the day, its trend), as a share of the range so far; above 0.05
it is an alarm that says which view it was. A second detector forecasts each next
observation and bets against itself: a row of errors that are large among earlier
ones is an alarm, too. Nothing after an observation is used.

Reads the file and changes nothing.

Exit codes: 0 scored · 1 the file is not understood · 2 usage.`,
		Example: `  assay analyze anomaly latency.csv --zone Europe/Berlin
  assay analyze anomaly latency.csv -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			where, err := zone()
			if err != nil {
				return err
			}
			points, err := readPoints(args[0], where)
			if err != nil {
				return err
			}
			r := analyze.Anomaly(points, where)
			return a.print(r, func() { a.printAnomalies(r) })
		},
	}
	zone = zoned(cmd)
	return cmd
}

func (a *app) printAnomalies(r analyze.AnomalyReport) {
	values := make([]float64, len(r.Scores))
	for i, s := range r.Scores {
		values[i] = math.NaN()
		if s.Value != nil {
			values[i] = *s.Value
		}
	}
	fmt.Fprintf(a.out, "%s, %d without a value, %s, %d of the forecast\n", plural(len(r.Scores), "observation"), r.Gaps, plural(r.Alarms, "alarm"), r.Surprises)
	fmt.Fprintf(a.out, "%s\n", term.Spark(values, sparkColumns))
	marks := make([]float64, len(r.Scores))
	var rows [][]string
	for i, s := range r.Scores {
		if s.Alarm {
			marks[i] = 1
			rows = append(rows, []string{s.Time.Format(time.RFC3339), fmt.Sprintf("%.3f", *s.Score), s.Why})
		}
		if s.Surprise != nil && s.Surprise.Alarm {
			marks[i] = 1
			rows = append(rows, []string{s.Time.Format(time.RFC3339), fmt.Sprintf("%.3g", s.Surprise.Capital), string(infer.ChannelForecast) + ": " + s.Surprise.Why})
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(a.out, "%s\n", strings.NewReplacer("▁", " ", "█", "▲").Replace(term.Spark(marks, sparkColumns)))
	a.out.Table([]string{"TIME", "SCORE", "WHY"}, rows)
	if r.Surprises > 0 {
		fmt.Fprintf(a.out, "false alarms of the forecast are %s: %s\n", r.Certainty, r.Basis)
	}
}

// plural is a number of things in words.
func plural[N int | int64 | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if word, y := strings.CutSuffix(what, "ry"); y {
		return fmt.Sprintf("%d %sries", n, word)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// sparkColumns is how wide a sparkline is.
const sparkColumns = 72

func (a *app) analyzeForecastCmd() *cobra.Command {
	var zone func() (*time.Location, error)
	var horizon int
	cmd := &cobra.Command{
		Use:   "forecast FILE.csv",
		Short: "Forecast a series with intervals, checked on the file's own past first",
		Long: `Forecast a series with intervals, checked on the file's own past first.

The file has the columns timestamp and value. Forecasts are made from up to twelve
points of the past without what came after, and compared with what came: skill above
0 is better than repeating the last season, and coverage is how much the 90 %
intervals held. Without both, automatic decisions would stay reactive, and it says so.

Reads the file and changes nothing.

Exit codes: 0 forecast · 1 the file is not understood or too short · 2 usage.`,
		Example: `  assay analyze forecast requests.csv --horizon 24 --zone Europe/Berlin
  assay analyze forecast requests.csv --horizon 24 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if horizon < 1 || horizon > infer.MaxHorizon {
				return usageError{fmt.Errorf("--horizon %d is not from 1 to %d steps", horizon, infer.MaxHorizon)}
			}
			where, err := zone()
			if err != nil {
				return err
			}
			points, err := readPoints(args[0], where)
			if err != nil {
				return err
			}
			r, err := analyze.Forecast(points, horizon, where)
			if bad, ok := err.(*assay.Error); ok {
				return bad.In(args[0])
			}
			if err != nil {
				return err
			}
			return a.print(r, func() { a.printForecast(points, r) })
		},
	}
	zone = zoned(cmd)
	cmd.Flags().IntVar(&horizon, "horizon", 24, "steps to forecast")
	return cmd
}

func (a *app) printForecast(points []analyze.Point, r analyze.ForecastReport) {
	past := points[max(0, len(points)-3*len(r.Forecast)):]
	line := make([]float64, 0, len(past)+len(r.Forecast))
	for _, p := range past {
		line = append(line, p.Value)
	}
	for _, s := range r.Forecast {
		line = append(line, s.Q50)
	}
	columns := min(len(line), sparkColumns)
	fmt.Fprintf(a.out, "%s\n%s%s\n", term.Spark(line, sparkColumns), strings.Repeat(" ", columns*len(past)/len(line)), "└ forecast")
	fmt.Fprintf(a.out, "%s\n", r.Reason)
	fmt.Fprintf(a.out, "skill %.2f   coverage of 90 %% intervals %.2f   MASE %.2f   checked from %s of the past   gaps %d\n", r.Skill, r.Coverage90, r.MASE, plural(r.Origins, "point"), r.Gaps)
	var models []string
	for _, m := range r.Models {
		models = append(models, fmt.Sprintf("%s %.0f %%", m.Name, 100*m.Weight))
	}
	fmt.Fprintf(a.out, "blend: %s\n", strings.Join(models, ", "))
	rows := make([][]string, len(r.Forecast))
	for i, s := range r.Forecast {
		rows[i] = []string{s.Time.Format(time.RFC3339), fmt.Sprintf("%.4g", s.Q05), fmt.Sprintf("%.4g", s.Q50), fmt.Sprintf("%.4g", s.Q95)}
	}
	a.out.Table([]string{"TIME", "5 %", "MEDIAN", "95 %"}, rows)
}

func (a *app) analyzeCanaryCmd() *cobra.Command {
	plan, work := decide.NewPlan(), false
	cmd := &cobra.Command{
		Use:   "canary FILE.csv",
		Short: "Replay the counts of a canary: where it would have been stopped or promoted",
		Long: `Replay the counts of a canary: where it would have been stopped or promoted.

The file has the columns time, arm (canary or control), requests and errors, counted
in stretches of time. Both sequential tests of a rollout run over them in the order
of time: evidence of harm stops at 1/alpha, evidence of safety promotes at 1/beta,
and until then the answer is hold, with how many more canary requests it would take.
With --work the column work stands instead of errors: queries, retries or other events
of which one request may cause many.

Reads the file and changes nothing.

Exit codes: 0 promote · 1 the file is not understood · 2 usage · 3 abort · 4 hold.`,
		Example: `  assay analyze canary counts.csv --alpha 0.01 --margin 2`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkRates(plan); err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			counts, err := analyze.ReadCounts(f, args[0], work)
			if err != nil {
				return err
			}
			r, err := analyze.Canary(counts, plan, work)
			if err != nil {
				return err
			}
			if err := a.print(r, func() { a.printCanary(r, plan) }); err != nil {
				return err
			}
			switch r.Verdict {
			case "abort":
				return exit(exitFailed)
			case "hold":
				return exit(exitAbsent)
			}
			return nil
		},
	}
	cmd.Flags().Float64Var(&plan.Alpha, "alpha", plan.Alpha, "largest share of good versions that may ever be stopped")
	cmd.Flags().Float64Var(&plan.Beta, "beta", plan.Beta, "largest share of versions margin times worse that may be promoted")
	cmd.Flags().Float64Var(&plan.Margin, "margin", plan.Margin, "how many times worse is too bad to ship")
	cmd.Flags().BoolVar(&work, "work", false, "the file has work instead of errors, of which one request may cause many")
	return cmd
}

func checkRates(p decide.Plan) error {
	switch {
	case !(p.Alpha > 0 && p.Alpha <= 0.5):
		return usageError{fmt.Errorf("--alpha %v is not above 0 and at most 0.5", p.Alpha)}
	case !(p.Beta > 0 && p.Beta <= 0.5):
		return usageError{fmt.Errorf("--beta %v is not above 0 and at most 0.5", p.Beta)}
	case !(p.Margin > p.Accept && p.Margin <= 100):
		return usageError{fmt.Errorf("--margin %v is not above %v and at most 100", p.Margin, p.Accept)}
	}
	return nil
}

func (a *app) printCanary(r analyze.CanaryReport, plan decide.Plan) {
	fmt.Fprintf(a.out, "%s\n", a.out.Bold(r.Verdict))
	fmt.Fprintf(a.out, "  %s\n", r.Reason)
	fmt.Fprintf(a.out, "  evidence of harm    %.3g of %.3g\n", r.EHarm, 1/plan.Alpha)
	fmt.Fprintf(a.out, "  evidence of safety  %.3g of %.3g\n", r.ESafe, 1/plan.Beta)
	switch {
	case r.Requests == 0 || r.Control.Exposure == 0:
		fmt.Fprintf(a.out, "  divergence          unknown")
	case r.Work:
		fmt.Fprintf(a.out, "  divergence          %+.3g per request", r.Divergence.Points/100)
	default:
		fmt.Fprintf(a.out, "  divergence          %+.3g percentage points", r.Divergence.Points)
	}
	if r.Divergence.Ratio != nil {
		fmt.Fprintf(a.out, ", %.3g times the control's rate", *r.Divergence.Ratio)
	}
	high := "no bound"
	if r.Divergence.High != nil {
		high = fmt.Sprintf("%.3g", *r.Divergence.High)
	}
	fmt.Fprintf(a.out, " (%.3g to %s)\n", r.Divergence.Low, high)
	if r.DecidedAt != nil {
		fmt.Fprintf(a.out, "  decided with the data of %s\n", r.DecidedAt.Format(time.RFC3339))
	}
	fmt.Fprintf(a.out, "  %s: %s\n", r.Certainty, r.Basis)
}
