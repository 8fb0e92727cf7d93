package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"assay.dev/assay/bench/result"
)

// class is what the page compares a cell under.
func class(c cell) string {
	switch {
	case inside(c):
		return "inside"
	case claimed(c):
		return "enough"
	case half(c):
		return "half"
	}
	return "thin"
}

// part is some of the grid's cells and some of the contenders.
type part struct {
	cells map[cell]bool
	names *regexp.Regexp
}

func (p *part) has(c cell) bool        { return p == nil || p.cells[c] }
func (p *part) plays(k contender) bool { return p == nil || p.names.MatchString(k.Name) }

// sample plays a part of the grid with the draws that the whole has, for whoever changes
// the engine and wants to see one kind of cell soon.
func sample(s sizes, seed uint64, t traces, cells, who string, stdout io.Writer) error {
	wanted, err := regexp.Compile(cells)
	if err != nil {
		return err
	}
	names, err := regexp.Compile(who)
	if err != nil {
		return err
	}
	r, err := playPart(s, seed, t, func(c cell) bool { return wanted.MatchString(class(c) + ": " + c.String()) }, names)
	if err != nil {
		return err
	}
	return r.sampled(stdout)
}

// playPart plays the grid's cells that are wanted, and their healthy twins, with the draws
// that the whole has.
func playPart(s sizes, seed uint64, t traces, wanted func(cell) bool, names *regexp.Regexp) (report, error) {
	chosen := map[cell]bool{}
	b := board{seed: seed, contenders: contenders(), traces: t, only: &part{chosen, names}}
	grid := s.grid()
	healthy := twins(grid)
	for _, c := range grid {
		if wanted(c) {
			chosen[c], chosen[c.healthy()] = true, true
		}
	}
	r := report{seed: seed, sizes: s, contenders: b.contenders}
	var err error
	if b.known, err = b.learn(healthy, s.pasts); err != nil {
		return r, err
	}
	none := [2]time.Duration{}
	if r.healthy, err = b.measure(healthy, func(cell) int { return s.healthy }, none, 0); err != nil {
		return r, err
	}
	r.grid, err = b.measure(grid, func(cell) int { return s.bad }, none, 1000)
	return r, err
}

// renewPrice plays the cells that the section of price is made of, and puts it into the
// page in the place of the one that stands there.
func renewPrice(s sizes, seed uint64, t traces, file string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	needed := map[cell]bool{}
	for _, c := range s.grid() {
		if half(c) {
			needed[c], needed[c.atMargin()] = true, true
		}
	}
	r, err := playPart(s, seed, t, func(c cell) bool { return needed[c] }, regexp.MustCompile(""))
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := r.price(&b); err != nil {
		return err
	}
	whole, err := renew(string(page), priceHeading, b.String())
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(whole), 0o644)
}

// sampled prints every contender that was played in every cell.
func (r report) sampled(stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "class\tcell\tcontender\tloss\t±\tfalse aborts %\thealthy held %\thealthy s\tmissed %\tbad held %\tbad s\tharmed")
	percent := func(n, of int) string { return result.Figure(100 * float64(n) / float64(of)) }
	for _, g := range r.grid {
		for k, y := range g.tallies {
			h := r.twin(g.cell).tallies[k]
			if y.runs == 0 || h.runs == 0 {
				continue
			}
			loss, se := expectedLoss(y, h)
			fmt.Fprintf(w, "%s\t%s\t%s\t%.4f\t%.4f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", class(g.cell), g.cell, r.contenders[k].Name, loss, se,
				percent(h.aborted, h.runs), percent(h.held, h.runs), result.Figure(h.seconds.mean()), percent(y.promoted, y.runs), percent(y.held, y.runs), result.Figure(y.seconds.mean()), result.Figure(y.harmed.mean()))
		}
	}
	return w.Flush()
}
