package ui

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// pt is a point of a chart in the units of its axes. A y that is NaN is a gap:
// nothing is known there, and nothing is drawn.
type pt struct{ x, y float64 }

// scale maps a span of numbers to a share of the picture.
type scale struct{ lo, hi float64 }

func (s scale) at(v float64) float64 {
	if !(s.hi > s.lo) {
		return 0
	}
	return (v - s.lo) / (s.hi - s.lo)
}

// plot draws one chart. Lines live in an inner picture that is stretched to the
// width of the page; texts and dots stand beside them in percent, so that they
// keep their size and shape at every width.
type plot struct {
	x, y   scale
	height int // in pixels
	lines  strings.Builder
	marks  strings.Builder
}

// unit is the inner picture's width and height.
const unit = 1000

func (p *plot) px(v float64) float64 { return unit * p.x.at(v) }

// py keeps points near the picture: what lies far outside is cut off anyway.
func (p *plot) py(v float64) float64 { return max(-unit, min(2*unit, unit-unit*p.y.at(v))) }

// path writes pts as path commands; join puts one point behind another.
func (p *plot) path(pts []pt, join func(b *strings.Builder, from, to pt)) string {
	var b strings.Builder
	open := false
	for i, q := range pts {
		if math.IsNaN(q.y) || math.IsInf(q.y, 0) {
			open = false
			continue
		}
		if open {
			join(&b, pts[i-1], q)
		} else {
			fmt.Fprintf(&b, "M%.1f %.1f", p.px(q.x), p.py(q.y))
		}
		open = true
	}
	return b.String()
}

func (p *plot) straight(b *strings.Builder, _, to pt) {
	fmt.Fprintf(b, "L%.1f %.1f", p.px(to.x), p.py(to.y))
}

func (p *plot) stepped(b *strings.Builder, _, to pt) {
	fmt.Fprintf(b, "H%.1fV%.1f", p.px(to.x), p.py(to.y))
}

// line joins points.
func (p *plot) line(class string, pts []pt) {
	fmt.Fprintf(&p.lines, `<path class="line %s" d="%s"/>`, class, p.path(pts, p.straight))
}

// step holds each value until the next point.
func (p *plot) step(class string, pts []pt) {
	fmt.Fprintf(&p.lines, `<path class="line %s" d="%s"/>`, class, p.path(pts, p.stepped))
}

// area fills between points and a base, piece by piece.
func (p *plot) area(class string, pts []pt, base float64, steps bool) {
	join := p.straight
	if steps {
		join = p.stepped
	}
	for piece := range pieces(pts) {
		first, last := piece[0], piece[len(piece)-1]
		fmt.Fprintf(&p.lines, `<path class="area %s" d="%sL%.1f %.1fL%.1f %.1fZ"/>`, class,
			p.path(piece, join), p.px(last.x), p.py(base), p.px(first.x), p.py(base))
	}
}

// band fills between two lines over the same x.
func (p *plot) band(class string, low, high []pt) {
	for piece := range pieces(high) {
		var back []pt
		for i := len(low) - 1; i >= 0; i-- {
			if low[i].x >= piece[0].x && low[i].x <= piece[len(piece)-1].x && !math.IsNaN(low[i].y) {
				back = append(back, low[i])
			}
		}
		d := p.path(piece, p.straight) + strings.Replace(p.path(back, p.straight), "M", "L", 1) + "Z"
		fmt.Fprintf(&p.lines, `<path class="area %s" d="%s"/>`, class, d)
	}
}

// pieces are the runs of points without a gap between them.
func pieces(pts []pt) func(yield func([]pt) bool) {
	return func(yield func([]pt) bool) {
		from := 0
		for i := 0; i <= len(pts); i++ {
			if i < len(pts) && !math.IsNaN(pts[i].y) {
				continue
			}
			if i > from && !yield(pts[from:i]) {
				return
			}
			from = i + 1
		}
	}
}

// hatch marks a span of x where nothing is known.
func (p *plot) hatch(from, to float64) {
	fmt.Fprintf(&p.marks, `<rect class="hatch" x="%s" y="0" width="%s" height="100%%" fill="url(#hatch)"/>`,
		share(p.x.at(from)), share(p.x.at(to)-p.x.at(from)))
}

// column is a bar that stands on the base line.
func (p *plot) column(class string, from, to, v float64) {
	top := 1 - p.y.at(v)
	fmt.Fprintf(&p.marks, `<rect class="column %s" x="%s" y="%s" width="%s" height="%s"/>`, class,
		share(p.x.at(from)), share(top), share(p.x.at(to)-p.x.at(from)), share(1-p.y.at(p.y.lo)-top))
}

// hit says the numbers of a span of x to whoever points at it.
func (p *plot) hit(from, to float64, words string) {
	fmt.Fprintf(&p.marks, `<rect class="hit" x="%s" width="%s" height="100%%"><title>%s</title></rect>`,
		share(p.x.at(from)), share(p.x.at(to)-p.x.at(from)), template.HTMLEscapeString(words))
}

// across is a line at one value of y, for thresholds and the base line.
func (p *plot) across(class string, y float64) {
	at := share(1 - p.y.at(y))
	fmt.Fprintf(&p.marks, `<line class="rule %s" x1="0" x2="100%%" y1="%s" y2="%s"/>`, class, at, at)
}

// down is a line at one value of x.
func (p *plot) down(class string, x float64) {
	at := share(p.x.at(x))
	fmt.Fprintf(&p.marks, `<line class="rule %s" x1="%s" x2="%s" y1="0" y2="100%%"/>`, class, at, at)
}

func (p *plot) dot(class string, x, y float64) {
	fmt.Fprintf(&p.marks, `<circle class="dot %s" cx="%s" cy="%s" r="4"/>`, class, share(p.x.at(x)), share(1-p.y.at(max(p.y.lo, min(p.y.hi, y)))))
}

// text writes beside a point, moved by dx and dy pixels. The anchor is start, middle or end.
func (p *plot) text(class, anchor string, x, y float64, dx, dy int, s string) {
	fmt.Fprintf(&p.marks, `<text class="%s" text-anchor="%s" x="%s" y="%s" dx="%d" dy="%d">%s</text>`,
		class, anchor, share(p.x.at(x)), share(1-p.y.at(y)), dx, dy, template.HTMLEscapeString(s))
}

// yTick labels a value on the left edge.
func (p *plot) yTick(v float64, s string) { p.text("tick", "end", p.x.lo, v, -8, 4, s) }

// xTick labels a value below the chart; labels at the ends stay inside.
func (p *plot) xTick(v float64, s string) {
	anchor := "middle"
	switch at := p.x.at(v); {
	case at < 0.02:
		anchor = "start"
	case at > 0.98:
		anchor = "end"
	}
	p.text("tick", anchor, v, p.y.lo, 0, 16, s)
}

// svg is the whole chart. The label is what somebody hears who cannot see it.
func (p *plot) svg(label string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="plot" role="img" aria-label="%s" width="100%%" height="%d">`+ // escaped, or made of numbers
		`<svg viewBox="0 0 %d %d" preserveAspectRatio="none" width="100%%" height="100%%">%s</svg>%s</svg>`,
		template.HTMLEscapeString(label), p.height, unit, unit, p.lines.String(), p.marks.String()))
}

// share writes 0 to 1 as a percentage of the picture.
func share(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	return fmt.Sprintf("%.2f%%", 100*max(-1, min(2, v)))
}

// nice rounds up to a number that is easily read and halved.
func nice(v float64) float64 {
	if !(v > 0) || math.IsInf(v, 0) {
		return 1
	}
	base := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.6, 2, 3, 4, 5, 6, 8, 10} {
		if m*base >= v*0.999999 {
			return m * base
		}
	}
	return 10 * base
}
