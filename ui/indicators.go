package ui

import (
	"fmt"
	"html/template"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/api"
)

// anomaliesShown is how many alarms the page of a service lists.
const anomaliesShown = 20

// indicatorRow is one indicator of a service with its picture.
type indicatorRow struct {
	Name      string
	Objective string
	Chart     template.HTML
	Alarms    int
	Link      string            // of the forecast
	Load      *anomaly.Forecast // of requests
}

// indicators puts what is measured of a service onto its page.
func (p *page) indicators(v *view, service string) {
	w, err := v.s.Indicators(v.ctx, service)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return // nobody watches: what was found before is listed all the same
	}
	p.add(v, "indicators", "", "service/indicators", newTable(indicatorRows(w), err))
}

// anomalies lists the newest alarms of a service.
func (p *page) anomalies(v *view, service string) {
	list, err := v.s.Anomalies(v.ctx, service, anomaliesShown)
	p.add(v, "anomalies", "", "service/anomalies", newTable(list, err))
}

func indicatorRows(w api.Indicators) (out []indicatorRow) {
	for _, o := range w.Objectives {
		for i, l := range o.Lines {
			row := indicatorRow{Name: l.Name, Objective: o.Name, Link: "/services/" + w.Service + "/forecasts/" + o.Objective}
			var steps []anomaly.Step
			if i == 0 { // requests come first
				row.Load, steps = new(o.Load), o.Load.Steps
			}
			for _, p := range l.Points {
				if p.Alarm != "" {
					row.Alarms++
				}
			}
			row.Chart = bandChart(l, steps)
			out = append(out, row)
		}
	}
	return out
}

// bandChart draws an indicator over the last hours in the band that it was expected
// in, with its alarms, and the forecast behind it.
func bandChart(l anomaly.Indicator, steps []anomaly.Step) template.HTML {
	if len(l.Points) < 2 {
		return ""
	}
	last := l.Points[len(l.Points)-1].Time
	p := plot{x: scale{seconds(l.Points[0].Time), seconds(last.Add(time.Minute))}, height: 150}
	var value, low, high []pt
	top, known := 0.0, false
	for _, q := range l.Points {
		at := seconds(q.Time)
		y, lo, hi := math.NaN(), math.NaN(), math.NaN()
		if q.Known {
			y, known = q.Value, true
			top = max(top, y)
		}
		if q.Band {
			lo, hi = max(q.Low, 0), q.High
			top = max(top, hi)
		}
		value, low, high = append(value, pt{at, y}), append(low, pt{at, lo}), append(high, pt{at, hi})
	}
	if !known {
		return ""
	}
	var mean, least, most []pt
	for _, s := range steps {
		if s.Time.Before(last) {
			continue
		}
		at := seconds(s.Time)
		mean, least, most = append(mean, pt{at, s.Mean}), append(least, pt{at, s.Low}), append(most, pt{at, s.High})
		top, p.x.hi = max(top, s.High), at
	}
	p.y = scale{0, nice(max(top, 1e-9) * 1.05)}
	p.across("zero", 0)
	p.band("safe", low, high)
	p.band("control", least, most)
	p.line("control", mean)
	p.line("canary", value)
	p.marksOf(l)
	p.yTick(0, inUnit(l.Name, 0))
	p.yTick(p.y.hi, inUnit(l.Name, p.y.hi))
	p.timeTicks()
	return p.svg(fmt.Sprintf("%s over the last %d minutes, with the band it was expected in", l.Name, len(l.Points)))
}

// inUnit writes a value of an indicator: shares in percent, all others as counts.
func inUnit(indicator string, v float64) string {
	if indicator == "bad share" {
		return percent(v)
	}
	return num(v)
}

// marksOf marks alarms and minutes without data, and tells the numbers.
func (p *plot) marksOf(l anomaly.Indicator) {
	stride := 1 + len(l.Points)/maxHints
	for i, q := range l.Points {
		at := seconds(q.Time)
		switch {
		case q.Alarm != "":
			p.dot("harm", at, q.Value)
			p.hit(at-60, at+60, clock(q.Time)+": "+q.Alarm)
		case !q.Known && l.Name == "requests": // a share is not measured every minute
			p.hatch(at, at+60)
		case q.Known && i%stride == 0:
			p.hit(at, at+60*float64(stride), fmt.Sprintf("%s: %s, expected %s to %s", clock(q.Time), inUnit(l.Name, q.Value), inUnit(l.Name, max(q.Low, 0)), inUnit(l.Name, q.High)))
		}
	}
}
