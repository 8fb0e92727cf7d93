package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/mitigate"
	"github.com/spf13/cobra"
)

// strategies is what the strategy commands need of a control plane.
type strategies interface {
	Strategies(ctx context.Context) ([]api.StrategyStatus, error)
	Strategy(ctx context.Context, name string) (api.StrategyStatus, error)
	TellStrategy(ctx context.Context, name string, a api.StrategyAnswer) (api.StrategyStatus, error)
}

func (a *app) strategyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "strategy",
		Short: "See what strategies decide for standing objectives, and answer them",
		Long: `See what strategies decide for standing objectives, and answer them.

What is watched, which lever may be moved and within which bounds stands in a
Strategy resource of the policy directory. Strategies are run by a control plane
(assay serve); list and explain also read a state directory that no server uses.`,
	}
	cmd.AddCommand(a.strategyListCmd(), a.strategyExplainCmd(), a.strategyRiskCmd(),
		a.strategyTellCmd(mitigate.ToldYes, "Allow what a strategy asks about"),
		a.strategyTellCmd(mitigate.ToldNo, "Refuse what a strategy asks about"),
		a.strategyTellCmd(mitigate.ToldPause, "Let a strategy decide and do nothing"),
		a.strategyTellCmd(mitigate.ToldResume, "End a strategy's pause"),
		a.strategyTellCmd(mitigate.ToldAllow, "Allow more spend than the cap until the day ends"),
		a.strategyTellCmd(mitigate.ToldClear, "Call a source harmless for a day: it is let in again at once"),
		a.strategyTellCmd(mitigate.ToldThaw, "Let a lever that swung and was frozen move again"))
	return cmd
}

func (a *app) strategyListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the declared strategies and what each decided last",
		Long: `List the declared strategies and what each decided last.

Reads the policy directory and the state directory, or asks --server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) ([]api.StrategyStatus, error) { return o.Strategies(cmd.Context()) })
			if err != nil {
				return err
			}
			return a.print(list, func() { a.strategyTable(list) })
		},
	}
}

func (a *app) strategyTable(list []api.StrategyStatus) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "no strategies are declared; see docs/strategies.md")
		return
	}
	var rows [][]string
	for _, s := range list {
		level := s.Level
		if s.Effective != s.Level {
			level = s.Effective + " (declared " + s.Level + ")"
		}
		last := "has not decided yet"
		switch {
		case s.Paused != "":
			last = "paused: " + s.Paused
		case s.Decision != nil:
			last = s.Decision.Words
		}
		if len(s.Frozen) > 0 {
			last = "frozen: " + frozenTargets(s) + "; " + last
		}
		rows = append(rows, []string{s.Name, s.Service, s.Law, level, last})
	}
	a.out.Table([]string{"STRATEGY", "SERVICE", "LAW", "LEVEL", "DECIDED"}, rows)
}

func (a *app) strategyExplainCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "explain STRATEGY",
		Aliases: []string{"status"},
		Short:   "Explain where a strategy's levers stand and why",
		Long: `Explain where a strategy's levers stand and why: the newest decision with its
reasons, the bounds between which nothing is done, how often the direction changed,
which door moves each lever and what it acknowledged, how good its forecasts are, and
what its newest judged action did.

Reads the policy directory and the state directory, or asks --server; changes nothing.

Exit codes: 0 explained · 1 error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) (api.StrategyStatus, error) { return o.Strategy(cmd.Context(), args[0]) })
			if err != nil {
				return err
			}
			return a.print(s, func() { a.explainStrategy(s) })
		},
	}
}

func (a *app) explainStrategy(s api.StrategyStatus) {
	fmt.Fprintf(a.out, "%s  %s of %s, level %s\n", s.Name, s.Law, s.Service, s.Level)
	if s.Lowered != "" {
		fmt.Fprintf(a.out, "held at %s: %s\n", s.Effective, s.Lowered)
	}
	if s.Paused != "" {
		fmt.Fprintf(a.out, "paused: %s\n", s.Paused)
	}
	for _, f := range s.Frozen {
		fmt.Fprintf(a.out, "frozen: %s swings, %s; lift it with: assay strategy thaw %s --target %s --reason …\n", f.Target, f.Words, s.Name, f.Target)
	}
	if s.Decision == nil {
		fmt.Fprintln(a.out, "it has not decided anything yet")
		return
	}
	fmt.Fprintf(a.out, "%s  %s\n", s.Decided.Format(time.RFC3339), s.Decision.Words)
	for _, r := range s.Decision.Reasons {
		fmt.Fprintf(a.out, "  · %s\n", r)
	}
	if len(s.Bands) > 0 {
		var rows [][]string
		for _, b := range s.Bands {
			rows = append(rows, []string{b.Target, fmt.Sprintf("%.4g", b.Now), fmt.Sprintf("%.4g", b.Want), fmt.Sprintf("%.4g to %.4g", b.Low, b.High), fmt.Sprint(b.Toggles), b.Held})
		}
		a.out.Table([]string{"LEVER", "STANDS", "WANTED", "NOTHING IS DONE", "TURNS/H", "HELD BECAUSE"}, rows)
	}
	a.strategyTrail(s)
	a.doorTable(s.Doors)
	if m := s.Model; m != nil {
		fmt.Fprintf(a.out, "forecast of %s: skill %.2f, 90 %% intervals held %.0f %%; %s\n", m.At.Format(time.RFC3339), m.Skill, 100*m.Cover, trust(*m))
	}
	if o := s.Outcome; o != nil {
		fmt.Fprintf(a.out, "newest outcome: %s of %s, %s: %s\n", o.Action.Kind, o.Action.Target(), o.Effect, o.Reason)
	}
	if q := s.Question; q != nil {
		fmt.Fprintf(a.out, "it asks: %s %s from %.4g to %.4g; answer with: assay strategy approve %s --question %s --reason …\n", q.Kind, q.Target(), q.Now, q.Want, s.Name, s.QuestionID)
	}
	if s.Fact != "" {
		fmt.Fprintf(a.out, "the whole decision: assay decisions explain %s\n", s.Fact)
	}
}

// frozenTargets are the levers that swing.
func frozenTargets(s api.StrategyStatus) string {
	var out []string
	for _, f := range s.Frozen {
		out = append(out, f.Target)
	}
	return strings.Join(out, ", ")
}

// strategyTrail draws where levers stood and where they were wanted.
func (a *app) strategyTrail(s api.StrategyStatus) {
	for _, b := range s.Bands {
		var stood, wanted []float64
		for _, q := range s.Trail {
			for _, l := range q.Levers {
				if l.Target == b.Target {
					stood, wanted = append(stood, l.Now), append(wanted, l.Want)
				}
			}
		}
		if len(stood) > 1 {
			fmt.Fprintf(a.out, "%s  stood %s  wanted %s\n", b.Target, term.Spark(stood, sparkColumns), term.Spark(wanted, sparkColumns))
		}
	}
}

// doorTable shows what moves each lever, and what was acknowledged.
func (a *app) doorTable(doors []api.StrategyDoor) {
	var rows [][]string
	for _, d := range doors {
		stands, acknowledged := []string{}, "nothing yet"
		for _, s := range d.Stands {
			stands = append(stands, scoped(s))
		}
		if k := d.Acknowledged; k != nil {
			acknowledged = scoped(*k) + " at " + k.Time.Format(time.RFC3339)
		}
		door := d.Door
		if d.Class != "" {
			door += " (" + d.Class + ")"
		}
		rows = append(rows, []string{d.Lever, door, strings.Join(stands, ", "), acknowledged, d.Why})
	}
	if len(rows) > 0 {
		a.out.Table([]string{"LEVER", "DOOR", "STANDS", "ACKNOWLEDGED", "WHY IT MOVES NOTHING BY ITSELF"}, rows)
	}
}

func scoped(s api.StrategyStand) string {
	if s.Scope == "" {
		return fmt.Sprintf("%.4g", s.Value)
	}
	return fmt.Sprintf("%s %.4g", s.Scope, s.Value)
}

func trust(m api.StrategyModel) string {
	if m.Trusted {
		return "it is acted upon"
	}
	return "it is not acted upon: " + m.Why
}

func (a *app) strategyTellCmd(told, short string) *cobra.Command {
	answer := api.StrategyAnswer{Told: told}
	use, answers := told+" STRATEGY --reason TEXT", told == mitigate.ToldYes || told == mitigate.ToldNo
	cmd := &cobra.Command{
		Short: short,
		Long: short + `.

Asks --server, which changes what the strategy may do and records who said so and
why. Reads nothing here.

Exit codes: 0 recorded · 1 refused or error · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var asked *assay.Action
			s, err := ask(cmd.Context(), a, stateNeeded, func(o *operations) (api.StrategyStatus, error) {
				if answers && answer.Question == "" {
					now, err := o.Strategy(cmd.Context(), args[0])
					if err != nil {
						return now, err
					}
					asked, answer.Question = now.Question, now.QuestionID
				}
				return o.TellStrategy(cmd.Context(), args[0], answer)
			})
			if err != nil {
				return err
			}
			return a.print(s, func() {
				fmt.Fprintf(a.out, "told  %s  %s\n", s.Name, told)
				if asked != nil {
					fmt.Fprintf(a.out, "  question %s: %s %s from %.4g to %.4g\n", answer.Question, asked.Kind, asked.Target(), asked.Now, asked.Want)
				}
			})
		},
	}
	cmd.Flags().StringVar(&answer.Reason, "reason", "", "why, one line")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that does not exist
	switch told {
	case mitigate.ToldYes, mitigate.ToldNo:
		cmd.Flags().StringVar(&answer.Question, "question", "", "id of the question, from strategy explain (default the one that it asks now)")
	case mitigate.ToldAllow:
		cmd.Flags().Float64Var(&answer.Amount, "amount", 0, "how much more, in the strategy's currency")
		_ = cmd.MarkFlagRequired("amount")
		use = told + " STRATEGY --amount AMOUNT --reason TEXT"
	case mitigate.ToldThaw:
		cmd.Flags().StringVar(&answer.Target, "target", "", "lever that may move again, as strategy explain names it (default the one that is frozen)")
		use = told + " STRATEGY [--target LEVER] --reason TEXT"
	case mitigate.ToldClear:
		cmd.Flags().StringVar(&answer.Source, "source", "", "source that is harmless")
		_ = cmd.MarkFlagRequired("source")
		use = told + " STRATEGY --source SOURCE --reason TEXT"
	}
	cmd.Use = use
	return cmd
}

func (a *app) strategyRiskCmd() *cobra.Command {
	var c mitigate.Proposed
	var budget, blast float64
	cmd := &cobra.Command{
		Use:   "risk --lines N --blast PERCENT",
		Short: "Score the risk of a change and say which gate and steps it should have",
		Long: `Score the risk of a change and say which gate and steps it should have: 0 to 100
points from its size, blast radius, the history of such changes, active exceptions
and the error budget that is left, each named with its points. The score is a
declared convention, not a probability.

Reads and changes nothing.

Exit codes: 0 scored · 1 error · 2 usage.`,
		Example: `  assay strategy risk --lines 420 --files 12 --blast 40 --failed 3 --changes 20 --budget-left 35`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(blast >= 0 && blast <= 100) {
				return usageError{fmt.Errorf("--blast %v is not from 0 to 100 percent", blast)}
			}
			if !(budget >= -1e6 && budget <= 100) {
				return usageError{fmt.Errorf("--budget-left %v is no percentage of an error budget: 100 is all of it, and below 0 it is overdrawn", budget)}
			}
			c.Blast, c.BudgetLeft = blast/100, -1
			if cmd.Flags().Changed("budget-left") {
				c.BudgetLeft = max(budget, 0) / 100 // one that is overdrawn is spent, and below 0 nobody would know
			}
			r, err := mitigate.Risk(c)
			if err != nil {
				return usageError{err}
			}
			return a.print(r, func() { a.riskTable(r) })
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&c.Lines, "lines", 0, "changed lines")
	fs.IntVar(&c.Files, "files", 0, "changed files")
	fs.Float64Var(&blast, "blast", 0, "share of users that it reaches at once if it fails, percent")
	fs.IntVar(&c.Failed, "failed", 0, "earlier changes of the service that were taken back")
	fs.IntVar(&c.Changes, "changes", 0, "earlier changes of the service")
	fs.IntVar(&c.Exceptions, "exceptions", 0, "active exceptions that it needs")
	fs.Float64Var(&budget, "budget-left", 0, "error budget that is left, percent (default not known)")
	fs.BoolVar(&c.Irreversible, "irreversible", false, "it changes data that cannot be changed back")
	return cmd
}

func (a *app) riskTable(r api.Risk) {
	fmt.Fprintf(a.out, "risk %d of 100: %s\n", r.Score, r.Words)
	var rows [][]string
	for _, f := range r.Factors {
		rows = append(rows, []string{f.Name, fmt.Sprintf("%d of %d", f.Points, f.Most), f.Words})
	}
	a.out.Table([]string{"FACTOR", "POINTS", "WHY"}, rows)
	steps := make([]string, len(r.Steps))
	for i, s := range r.Steps {
		steps[i] = fmt.Sprint(s)
	}
	fmt.Fprintf(a.out, "steps %s, each for at least %s times the declared time\n", strings.Join(steps, ", "), fmt.Sprint(r.Slower))
}
