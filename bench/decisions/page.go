package main

import (
	"fmt"
	"math"
	"runtime"
	"strings"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/decide"
)

// page is docs/scoreboard.md.
func (r report) page(rows []result.Row) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `# Scoreboard: which controller decides a rollout best

This page is written by `+"`make bench-decisions`"+` from its own output; do not edit it.
Seed %d; the same seed gives the same figures. Measured on a machine of the class %s/%s with %d processors, which changes nothing but how long it takes.

How strategies operate services when something fails is [another page](scoreboard-operations.md).

Our controller, ports of three others, and an oracle that knows the fault decide the same simulated rollouts; what is measured are false aborts, missed regressions, requests that failed and would not have on the old version, the time until the decision, and an expected loss that adds them up.
A cell is one setting of traffic, the old version's error rate, how many times more often the new version fails, how far failures come in bursts (variance to mean, phi) and the new version's first share of traffic; its loss is %g %% of the loss of bad releases and %g %% of that of healthy ones, in percent of the error budget.
A cell has enough traffic when the canary requests expected in our plan's horizon of one hour are at least twice both floors: below the first no test finds the regression at a false-abort rate of %g %%, below the second none clears a healthy release of failing %d times as often; without it, a controller that goes on is guessing, and ours holds and says how many requests it still needs.
%s

%s

## Measures

%s
`, r.seed, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), 100*badShare, 100*(1-badShare), 100*alpha, margin, r.whereWorse(), r.afterwards(), result.Markdown(rows, "rollouts or cells"))
	r.rules(&b)
	r.summary(&b)
	r.falseAborts(&b)
	r.losses(&b)
	if err := r.price(&b); err != nil {
		return "", err
	}
	r.happened(&b)
	r.sceneTables(&b)
	r.outageTable(&b)
	r.etaTable(&b)
	latencyTable(&b, r.latency)
	return b.String(), nil
}

// renew puts a section, which begins with an empty line and its heading, in the place of
// the one of that heading.
func renew(page, heading, section string) (string, error) {
	before, rest, ok := strings.Cut(page, "\n"+heading+"\n")
	if !ok {
		return "", fmt.Errorf("the page has no section %q: write the whole page first, with --write alone", heading)
	}
	after := ""
	if at := strings.Index(rest, "\n## "); at >= 0 {
		after = rest[at:]
	}
	return before + section + after, nil
}

// whereWorse is the page's fourth sentence.
func (r report) whereWorse() string {
	claim, part, rest, within := r.compare(claimed, anybody), r.compare(half, anybody), r.compare(thin, anybody), r.compare(inside, anybody)
	return fmt.Sprintf("Where we are worse: of %d cells with enough traffic and a regression of at least the plan's margin (%d times), ours has the lowest loss in %d, the same as the best peer within chance (%g standard errors) in %d, and a higher one in %d; of the %d that can find the regression but not clear a healthy release, where ours makes good releases wait, it is higher in %d (what a loss as low as a peer's would cost in missed regressions, and where the plan's promise excludes it, stands [below](#what-the-lower-loss-would-cost)); with traffic for neither in %d of %d; of the %d cells whose regression lies inside the margin, which our plan accepts on purpose, in %d; and on a healthy release our false-abort rate is low but not zero, where a fixed threshold far from the service's rate never aborts.",
		claim.cells, margin, claim.lower, chance, claim.equal, claim.higher, part.cells, part.higher, rest.higher, rest.cells, within.cells, within.higher)
}

// firstChance is how many standard errors a difference had to have at first.
const firstChance = 2

// afterwards names what was decided when a result was known, and what comes out without.
func (r report) afterwards() string {
	first := r.compareBeyond(firstChance, found, anybody)
	return fmt.Sprintf("Chosen after a result was seen: at first a cell had enough traffic when the regression could be found, and chance was %d standard errors; the floor to clear a healthy release was added, and chance became %g, when ours was worse in cells that have the first and not the second. By the first definitions there are %d cells with enough traffic, and ours is higher than the best peer, tuned ones too, in %d, lowest in %d. The constants of the engine that this page measures (%s) were chosen by simulations with other seeds than this page's, after a page of the engine before it was known. Steps that go ahead of safety, and what evidence of safety is divided by where errors come in bursts, were built because that page had ours higher in 10 of the 12 cells that find and do not clear, and were tried on these with this page's seed: three budgets for such steps (0.1, 0.3 and 1 %%), three limits to how far evidence may lean to harm, and the dispersion of safety with and without what is added for the tail. That the last step looks once more after the proof was added when a first whole run had ours higher in one of the 48 (a page of that was not published).",
		firstChance, chance, first.cells, first.higher, first.lower, decide.EngineOfRates)
}

func (r report) rules(b *strings.Builder) {
	b.WriteString("\n## Who decides\n\n")
	result.Head(b, "controller", "configuration")
	for _, c := range r.contenders {
		result.Line(b, c.Name, c.Rule)
	}
	fmt.Fprintf(b, `
The ports copy decision rules, not products: Argo Rollouts' analysis counters, Flagger's scheduler, Kayenta's NetflixACAJudge (its published test values are reproduced to the last digit). Each stands once as documented and once tuned by somebody who knows the service's true error rate, which we are not told. Our plan names the objective, as plans do; the only use of its budget is how much of it steps may risk that are taken before a release is cleared (a thousandth).

Declared costs, in percent of the error budget of 30 days, whose objective allows twice the old version's error rate: a false abort %g, a person asked at the end %g, an hour that a healthy version waits %g; a bad version that was promoted stays for %g hours; every failed request counts as what it is. Rollouts are followed for %s.
`, costFalseAbort, costAsk, costHour, missHours, "three hours")
}

func (r report) names() []string {
	var out []string
	for _, c := range r.contenders {
		out = append(out, c.Name)
	}
	return out
}

func (r report) summary(b *strings.Builder) {
	b.WriteString("\n## In one table\n\nOver the cells with enough traffic and a regression of at least the margin, each cell weighing the same; ± is the standard error.\n\n")
	result.Head(b, "controller", "regret to the oracle, % of budget", "false aborts, %", "missed, %", "held, %", "harmed requests per bad rollout", "seconds to abort", "seconds to promote a healthy one")
	for k, c := range r.contenders {
		mean, se := r.regret(k)
		var miss, held, harmed, seconds moments
		for _, g := range r.grid {
			if !claimed(g.cell) {
				continue
			}
			y := g.tallies[k]
			miss.add(float64(y.promoted) / float64(y.runs))
			held.add(float64(y.held) / float64(y.runs))
			harmed.add(y.harmed.mean())
			if y.seconds.n > 0 {
				seconds.add(y.seconds.mean())
			}
		}
		var false_, promote moments
		for _, h := range r.healthy {
			false_.add(float64(h.tallies[k].aborted) / float64(h.tallies[k].runs))
			if h.tallies[k].seconds.n > 0 {
				promote.add(h.tallies[k].seconds.mean())
			}
		}
		result.Line(b, c.Name, result.Figure(mean)+" ± "+result.Figure(se), result.Figure(100*false_.mean()), result.Figure(100*miss.mean()), result.Figure(100*held.mean()), result.Figure(harmed.mean()), result.Figure(seconds.mean()), result.Figure(promote.mean()))
	}
}

func setting(c cell) []string {
	return []string{result.Figure(c.Phi), fmt.Sprintf("%g %%", 100*c.Weight), fmt.Sprintf("%g %%", 100*c.Base), result.Figure(c.Traffic)}
}

var settings = []string{"phi", "weight", "errors", "requests/s"}

func (r report) falseAborts(b *strings.Builder) {
	fmt.Fprintf(b, "\n## False aborts\n\nPercent of %d healthy rollouts per cell.\n\n", r.sizes.healthy)
	result.Head(b, append(settings, r.names()...)...)
	for _, h := range r.healthy {
		row := setting(h.cell)
		for _, y := range h.tallies {
			row = append(row, result.Figure(100*float64(y.aborted)/float64(y.runs)))
		}
		result.Line(b, row...)
	}
}

func (r report) losses(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Expected loss\n\nIn percent of the error budget, from %d bad and %d healthy rollouts per cell and controller; bold is the lowest below the oracle's column, ± the standard error of ours.\n\n", r.sizes.bad, r.sizes.healthy)
	result.Head(b, append(append(settings, "times worse", "floor to find it", "floor to clear", "expected", "enough"), r.names()...)...)
	for _, g := range r.grid {
		h := r.twin(g.cell)
		row := append(setting(g.cell), result.Figure(g.Ratio), result.Figure(g.floor()), result.Figure(g.clearing()), result.Figure(g.expected()), yes(g.enough()))
		least := math.Inf(1)
		for k := range len(g.tallies) - 1 {
			l, _ := expectedLoss(g.tallies[k], h.tallies[k])
			least = min(least, l)
		}
		for k := range g.tallies {
			l, se := expectedLoss(g.tallies[k], h.tallies[k])
			text := result.Figure(l)
			if l == least && k < len(g.tallies)-1 {
				text = "**" + text + "**"
			}
			if k == 0 {
				text += " ± " + result.Figure(se)
			}
			row = append(row, text)
		}
		result.Line(b, row...)
	}
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// happened tells one contender's bad rollouts of a cell: missed, held, seconds, harmed.
func happened(y tally) string {
	share := func(n int) string { return result.Figure(100 * float64(n) / float64(y.runs)) }
	return fmt.Sprintf("%s / %s / %s / %s", share(y.promoted), share(y.held), result.Figure(y.seconds.mean()), result.Figure(y.harmed.mean()))
}

func (r report) happened(b *strings.Builder) {
	b.WriteString("\n## What became of bad releases\n\nPer cell: missed, % / held, % / mean seconds until the abort / mean harmed requests.\n\n")
	result.Head(b, append(append(settings, "times worse", "enough"), r.names()...)...)
	for _, g := range r.grid {
		row := append(setting(g.cell), result.Figure(g.Ratio), yes(g.enough()))
		for _, y := range g.tallies {
			row = append(row, happened(y))
		}
		result.Line(b, row...)
	}
}

func (r report) sceneTables(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Off the grid\n\n200 requests a second in the mean, 1 %% errors, 10 %% weight, %d rollouts each. Shared incidents: both versions fail ten times as often for 5 minutes in every half hour. Late fault: the change shows after 20 minutes, and everybody bakes for 30. Day and night: traffic between a tenth and all of it, error rate up to twice at night. NASA and WorldCup98: recorded intensities from a random moment on, scaled.\n", r.sizes.extra)
	if !r.traces {
		b.WriteString("\nThe recorded intensities were not there when this page was written.\n")
	}
	b.WriteString("\nHealthy releases: false aborts, % / held, % / mean seconds until the promotion.\n\n")
	result.Head(b, append([]string{"scene", "phi"}, r.names()...)...)
	for _, c := range r.scenes {
		if c.Ratio == 1 {
			row := []string{string(c.Scene), result.Figure(c.Phi)}
			for _, y := range c.tallies {
				row = append(row, fmt.Sprintf("%s / %s / %s", result.Figure(100*float64(y.aborted)/float64(y.runs)), result.Figure(100*float64(y.held)/float64(y.runs)), result.Figure(y.seconds.mean())))
			}
			result.Line(b, row...)
		}
	}
	b.WriteString("\nReleases that fail three times as often: missed, % / held, % / mean seconds until the abort / mean harmed requests.\n\n")
	result.Head(b, append([]string{"scene", "phi"}, r.names()...)...)
	for _, c := range r.scenes {
		if c.Ratio > 1 {
			row := []string{string(c.Scene), result.Figure(c.Phi)}
			for _, y := range c.tallies {
				row = append(row, happened(y))
			}
			result.Line(b, row...)
		}
	}
}

func (r report) outageTable(b *strings.Builder) {
	b.WriteString("\n## Telemetry is out for ten minutes\n\nFrom half a minute into the rollout on, at 10 requests a second, 1 % errors, half of the releases twice as bad. What was decided without seeing anything:\n\n")
	result.Head(b, "controller", "rollouts", "aborts", "promotions")
	for k, o := range r.outage {
		result.Line(b, r.contenders[k].Name, fmt.Sprint(o.runs), fmt.Sprint(o.aborted), fmt.Sprint(o.promoted))
	}
	b.WriteString("\nThe oracle needs no telemetry and has ended before.\n")
}

func (r report) etaTable(b *strings.Builder) {
	fmt.Fprintf(b, "\n## How many more requests\n\nHealthy releases whose traffic is too thin for an hour, %d per row, asked after 15 minutes how many canary requests the decision will have taken, and followed until it came. Every step of theirs waits for safety (stepBudget: 0): what is announced is canary requests at the present share, and a step changes how many it takes.\n\n", r.sizes.eta)
	result.Head(b, append(settings, "answered", "announced, median", "needed, median", "needed, 10 % and 90 %", "in the 80 % interval, %")...)
	for _, e := range r.eta {
		covered := result.Figure(100 * e.coverage())
		result.Line(b, append(setting(e.cell), fmt.Sprintf("%d of %d", e.runs, e.runs+e.never),
			result.Figure(result.Median(e.predicted)), result.Figure(result.Median(e.needed)),
			result.Figure(e.quantile(0.1))+" – "+result.Figure(e.quantile(0.9)), covered)...)
	}
}
