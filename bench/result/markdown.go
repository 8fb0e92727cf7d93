package result

import (
	"fmt"
	"math"
	"strings"
)

// Head writes the names of a Markdown table's columns.
func Head(b *strings.Builder, names ...string) {
	Line(b, names...)
	Line(b, strings.Split(strings.Repeat("--- ", len(names)-1)+"---", " ")...)
}

// Line writes one line of a Markdown table.
func Line(b *strings.Builder, fields ...string) {
	b.WriteString("| " + strings.Join(fields, " | ") + " |\n")
}

// Figure writes a number with the digits that say something, and what is not known as a dash.
func Figure(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a == 0:
		return "0"
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// Markdown is the rows as a table; of what a row's number of rounds counts is named by
// rounds, such as "runs or cells".
func Markdown(rows []Row, rounds string) string {
	var b strings.Builder
	Head(&b, "measure", "value", "unit", "target", "holds", rounds)
	for _, r := range rows {
		holds := "yes"
		switch {
		case r.Target == "none":
			holds = "–"
		case !r.Holds:
			holds = "**no**"
		}
		value := Figure(r.Ours)
		if r.Peer != nil {
			value += fmt.Sprintf(" (%s: %s)", *r.PeerName, Figure(*r.Peer))
		}
		Line(&b, r.Name, value, r.Unit, strings.NewReplacer("<=", "≤", ">=", "≥").Replace(r.Target), holds, fmt.Sprint(r.Rounds))
	}
	return b.String()
}
