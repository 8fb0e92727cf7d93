package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

// anomalies is what the anomaly commands need of a control plane.
type anomalies interface {
	Anomalies(ctx context.Context, service string, limit int) ([]api.Anomaly, error)
	Indicators(ctx context.Context, service string) (api.Indicators, error)
	Foreseen(ctx context.Context, service, objective string) (api.Foreseen, error)
}

func (a *app) anomalyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "anomaly",
		Short: "See what was out of the ordinary, and what is expected next",
		Long: `See what was out of the ordinary, and what is expected next.

A control plane (assay serve) watches the indicators of every objective, and whether
they are still measured. What it finds is a fact. What is planned, and by which clocks
a service's people live, stands in a Calendar resource of the policy directory.`,
	}
	cmd.AddCommand(a.anomalyListCmd(), a.anomalyShowCmd())
	return cmd
}

func (a *app) anomalyListCmd() *cobra.Command {
	var service string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the newest anomalies, each with its reason in words",
		Long: `List the newest anomalies, newest first, each with its reason in words. One that a
rollout, an event or a maintenance explains is listed with that.

Reads the state directory, or asks --server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Example: "  assay anomaly list --service checkout",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > api.MaxAnomalies {
				return usageError{fmt.Errorf("--limit %d is not from 1 to %d", limit, api.MaxAnomalies)}
			}
			list, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) ([]api.Anomaly, error) {
				return o.Anomalies(cmd.Context(), service, limit)
			})
			if err != nil {
				return err
			}
			return a.print(list, func() { a.anomalyTable(list) })
		},
	}
	cmd.Flags().StringVar(&service, "service", "", "only of this service")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, at most")
	return cmd
}

func (a *app) anomalyTable(list []api.Anomaly) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "nothing was out of the ordinary")
		return
	}
	var rows [][]string
	for _, f := range list {
		words := f.Words
		if f.Suppressed != "" {
			words += " · suppressed: " + f.Suppressed
		}
		service := f.Service
		if service == "" {
			service = "-"
		}
		rows = append(rows, []string{f.Time.UTC().Format(time.RFC3339), service, string(f.Channel), words})
	}
	a.out.Table([]string{"TIME", "SERVICE", "CHANNEL", "WHY"}, rows)
}

func (a *app) anomalyShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show SERVICE",
		Short: "Show a service's indicators, the band they are expected in, and the load to come",
		Long: `Show the indicators of a service over the last three hours, the band that nine of ten
observations are expected in, and the load that is forecast, with what that is worth.

Asks --server, since only a running control plane watches; changes nothing.

Exit codes: 0 shown · 1 error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.cfg.get("server") == "" {
				return &assay.Error{Code: assay.CodeInvalid, Msg: "only a running control plane watches a service", Hint: "name one with --server"}
			}
			w, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) (w watched, err error) {
				if w.Indicators, err = o.Indicators(cmd.Context(), args[0]); err != nil {
					return w, err
				}
				for _, objective := range w.Objectives {
					f, err := o.Foreseen(cmd.Context(), args[0], objective.Objective)
					if err != nil {
						return w, err
					}
					w.Loads = append(w.Loads, f)
				}
				return w, nil
			})
			if err != nil {
				return err
			}
			return a.print(w, func() { a.showIndicators(w) })
		},
	}
}

// watched is a service as it is watched, with the load of each objective.
type watched struct {
	api.Indicators
	Loads []api.Foreseen `json:"loads"` // by objective, in their order
}

func (a *app) showIndicators(w watched) {
	fmt.Fprintf(a.out, "%s  by the clocks of %s, watched until %s\n", a.out.Bold(w.Service), w.Zone, w.Until.Format(time.RFC3339))
	if w.Together > 1 {
		fmt.Fprintf(a.out, "  its indicators are watched together in %d groups; what spans two is not seen\n", w.Together)
	}
	if w.Trouble != "" {
		fmt.Fprintf(a.out, "  trouble: %s\n", w.Trouble)
	}
	for i, o := range w.Objectives {
		fmt.Fprintf(a.out, "%s  %s, %s with data\n", o.Objective, o.Name, plural(o.Minutes, "minute"))
		for _, l := range o.Lines {
			a.showLine(l)
		}
		fmt.Fprintf(a.out, "  load: %s\n", o.Load.Reason)
		a.showLoad(w.Loads[i])
		if len(o.Load.Steps) == 0 {
			continue
		}
		last := o.Load.Steps[len(o.Load.Steps)-1]
		fmt.Fprintf(a.out, "    skill %.2f   coverage %.2f   sharpness %.2f   live coverage %.2f over %s\n", o.Load.Skill, o.Load.Coverage, o.Load.Sharpness, o.Load.Live, plural(o.Load.LiveSlots, "slot"))
		fmt.Fprintf(a.out, "    at %s %.4g requests a minute, %.4g to %.4g in 9 of 10 cases\n", last.Time.Format(time.RFC3339), last.Mean, last.Low, last.High)
	}
}

// showLoad draws the load of the past and the one to come, and says how well forecasts
// described what came and what is planned.
func (a *app) showLoad(f api.Foreseen) {
	var past, next []float64
	for _, s := range f.Past {
		past = append(past, s.Value)
	}
	for _, s := range f.Load.Steps {
		next = append(next, s.Mean)
	}
	switch {
	case len(past) > 0 && len(next) > 0:
		fmt.Fprintf(a.out, "    %s then %s\n", term.Spark(past, sparkColumns), term.Spark(next, sparkColumns))
	case len(past) > 0: // nothing is forecast yet
		fmt.Fprintf(a.out, "    %s\n", term.Spark(past, sparkColumns))
	}
	if c := f.Calibration; c != nil {
		fmt.Fprintf(a.out, "    80 %% bands held %.0f %% of %s; by tenths of the forecasts %s\n", 100*c.Cover80, plural(c.N, "slot"), term.Spark(c.Bins[:], len(c.Bins)))
	}
	for _, p := range f.Planned {
		fmt.Fprintf(a.out, "    planned: %s %s, %s to %s\n", p.Kind, p.Name, p.Start.UTC().Format(time.RFC3339), p.End.UTC().Format(time.RFC3339))
	}
}

func (a *app) showLine(l anomaly.Indicator) {
	values, alarms := make([]float64, len(l.Points)), 0
	var newest *anomaly.Point
	for i, p := range l.Points {
		values[i] = math.NaN()
		if p.Known {
			values[i], newest = p.Value, &l.Points[i]
		}
		if p.Alarm != "" {
			alarms++
		}
	}
	fmt.Fprintf(a.out, "  %-9s  %s  %s\n", l.Name, term.Spark(values, sparkColumns), plural(alarms, "alarm"))
	if newest != nil && newest.Band {
		fmt.Fprintf(a.out, "             %.4g, expected %.4g to %.4g\n", newest.Value, newest.Low, newest.High)
	}
}
