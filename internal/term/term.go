// Package term writes for people on a terminal and plainly when piped: styles,
// tables and progress lines that finish with a result.
package term

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
	"golang.org/x/term"
)

// Writer is an output that knows whether a person is looking at it.
type Writer struct {
	io.Writer
	r    *lipgloss.Renderer
	live bool // a terminal: colour, and lines that are replaced
	said int  // columns that COLUMNS says, 0 for none
}

// New wraps w. Colour is used only if w is a terminal and neither NO_COLOR nor
// TERM=dumb is set in env.
func New(w io.Writer, env func(string) string) *Writer {
	t := &Writer{Writer: w, r: lipgloss.NewRenderer(w)}
	if n, err := strconv.Atoi(env("COLUMNS")); err == nil && n > 0 {
		t.said = n
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.live = env("NO_COLOR") == "" && env("TERM") != "dumb"
	}
	if !t.live {
		t.r.SetColorProfile(termenv.Ascii)
	}
	return t
}

// Live reports whether lines may be replaced and coloured.
func (t *Writer) Live() bool { return t.live }

// Width is how many columns the terminal has; where there is none what COLUMNS says, else 0.
func (t *Writer) Width() int {
	f, ok := t.Writer.(*os.File)
	if !ok {
		return t.said
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns == 0 {
		return t.said
	}
	return columns
}

// Clip cuts a line, which may be painted, to so many columns: a line that is replaced
// must not wrap. No columns cut nothing. Paint takes none, and a wide letter two.
func Clip(line string, columns int) string {
	if columns <= 0 || lipgloss.Width(line) <= columns {
		return line
	}
	cut := 0
	for i := range line {
		if lipgloss.Width(line[:i]) >= columns {
			break
		}
		cut = i
	}
	return line[:cut] + "…" + ends(line[:cut])
}

// ends is what ends the paint of a line that was cut.
func ends(cut string) string {
	if strings.Contains(cut, "\x1b[") {
		return "\x1b[0m"
	}
	return ""
}

// Renderer returns the style renderer for this output.
func (t *Writer) Renderer() *lipgloss.Renderer { return t.r }

// Colours of state: Okabe–Ito, readable for colour-blind people and always beside a word or sign.
const (
	Green     = lipgloss.Color("#009E73")
	Amber     = lipgloss.Color("#E69F00")
	Vermilion = lipgloss.Color("#D55E00")
	Blue      = lipgloss.Color("#0072B2")
	Purple    = lipgloss.Color("#CC79A7")
	Grey      = lipgloss.Color("8")
)

// Paint colours s.
func (t *Writer) Paint(c lipgloss.Color, s string) string {
	if !t.live {
		return s
	}
	return t.r.NewStyle().Foreground(c).Render(s)
}

// Bold makes s stand out.
func (t *Writer) Bold(s string) string {
	if !t.live {
		return s
	}
	return t.r.NewStyle().Bold(true).Render(s)
}

// Step starts a line of progress and returns the function that finishes it.
// When piped only the finished line is written.
func (t *Writer) Step(name, doing string) (done func(ok bool, result string)) {
	if t.live {
		fmt.Fprintf(t, "%s %-9s %s", t.Paint(Blue, "●"), name, doing)
	}
	return func(ok bool, result string) {
		sign := t.Paint(Green, "✓")
		if !ok {
			sign = t.Paint(Vermilion, "✗")
		}
		if t.live {
			fmt.Fprint(t, "\r\x1b[2K")
		}
		fmt.Fprintf(t, "%s %-9s %s\n", sign, name, result)
	}
}

// lineColumns is how wide a paragraph is where there is no terminal, and at most.
const lineColumns = 80

// Paragraph writes words behind a label, on as many lines as they need, below each other. A
// word that is longer than a line stands alone, and whole: somebody may want to copy it.
func (t *Writer) Paragraph(label, words string) {
	columns := lineColumns
	if w := t.Width(); w > 0 {
		columns = min(columns, w)
	}
	line, indent := label, strings.Repeat(" ", lipgloss.Width(label))
	empty := true
	for word := range strings.FieldsSeq(words) {
		switch {
		case empty:
			line += word
		case lipgloss.Width(line)+1+lipgloss.Width(word) > columns:
			fmt.Fprintln(t, line)
			line = indent + word
		default:
			line += " " + word
		}
		empty = false
	}
	fmt.Fprintln(t, strings.TrimRight(line, " "))
}

// Table writes rows under a header in aligned columns, two spaces apart.
func (t *Writer) Table(header []string, rows [][]string) {
	width := make([]int, len(header))
	for i, h := range header {
		width[i] = lipgloss.Width(h)
	}
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], lipgloss.Width(c))
		}
	}
	line := func(cells []string, style func(string) string) {
		var b strings.Builder
		for i, c := range cells {
			b.WriteString(style(c))
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-lipgloss.Width(c)+2))
			}
		}
		fmt.Fprintln(t, strings.TrimRight(b.String(), " "))
	}
	line(header, func(s string) string { return t.Paint(Grey, s) })
	for _, row := range rows {
		line(row, func(s string) string { return s })
	}
}
