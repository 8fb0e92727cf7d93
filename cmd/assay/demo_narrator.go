package main

import (
	"fmt"
	"os"
	"strings"

	"assay.dev/assay/api"
	"assay.dev/assay/internal/term"
	terminal "golang.org/x/term"
)

// narrator tells how a play goes: lines that finish with a result, a live line while
// a rollout runs, and plain lines when piped.
type narrator struct {
	out *term.Writer

	name, doing string // of the step under way, "" if none
	held        []string
	last        string // what a piped watch said last
}

// wipe is what removes a line that is not finished.
const wipe = "\r\x1b[2K"

// Step implements gameday.Narrator.
func (n *narrator) Step(name, doing string) func(ok bool, name, result string) {
	n.name, n.doing, n.last = name, doing, ""
	n.draw(doing)
	return func(ok bool, name, result string) {
		sign := n.out.Paint(term.Green, "✓")
		if !ok {
			sign = n.out.Paint(term.Vermilion, "✗")
		}
		if n.out.Live() {
			fmt.Fprint(n.out, wipe)
		}
		fmt.Fprintf(n.out, "%s %-9s %s\n", sign, name, result)
		n.name = ""
		for _, line := range n.held {
			n.Say(line)
		}
		n.held = nil
	}
}

// Say implements gameday.Narrator. What is said during a step belongs below it,
// except while a rollout is shown: that is news.
func (n *narrator) Say(line string) {
	if n.name != "" && n.last == "" {
		n.held = append(n.held, line)
		return
	}
	if n.name != "" && n.out.Live() {
		fmt.Fprint(n.out, wipe)
	}
	fmt.Fprintf(n.out, "  %s\n", line)
	if n.name != "" {
		n.draw(n.doing)
	}
}

// Watch implements gameday.Narrator.
func (n *narrator) Watch(r api.Rollout) {
	line := strings.TrimPrefix(rolloutLine(r), string(r.Status)+"  ")
	if n.out.Live() {
		n.doing = line
		n.draw(line)
	} else if key := fmt.Sprint(r.Status, r.Weight); key != n.last && !r.Status.Ended() && r.Weight > 0 {
		fmt.Fprintf(n.out, "● %-9s %s\n", n.name, line)
	}
	n.last = fmt.Sprint(r.Status, r.Weight)
}

// draw shows what is under way, on a terminal, cut to its width: a line that
// wraps cannot be wiped.
func (n *narrator) draw(doing string) {
	if !n.out.Live() {
		return
	}
	line := []rune(fmt.Sprintf("%-9s %s", n.name, doing))
	if f, ok := n.out.Writer.(*os.File); ok {
		if width, _, err := terminal.GetSize(int(f.Fd())); err == nil && width > 3 && len(line) > width-3 {
			line = line[:width-3]
		}
	}
	fmt.Fprintf(n.out, "%s%s %s", wipe, n.out.Paint(term.Amber, "●"), string(line))
}
