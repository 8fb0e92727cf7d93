package ui

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"assay.dev/assay/anomaly"
	"assay.dev/assay/api"
	"assay.dev/assay/infer"
	"assay.dev/assay/policy"
)

// forecastDetail is what the parts of a forecast's page show.
type forecastDetail struct {
	api.Foreseen
	State       state
	Sentence    string
	Load        anomaly.Forecast
	Chart       template.HTML
	Calibration template.HTML // which tenths of the forecasts came
	Judged      *infer.Calibration
	Words       string // what the calibration says
	Coverage    []coverRow
	Events      []eventRow
	Steps       []stepRow
	Lines       []indicatorRow
}

// coverRow is how often a band held what came, against how often it should.
type coverRow struct {
	Name        string
	Want, Got   float64
	Of          string // what that was counted over
	State       state
	Low, High   float64 // between which it is right
	Measured    bool
	Description string
}

// eventRow is a planned time.
type eventRow struct {
	anomaly.Planned
	State state
}

// stepRow is one time of the forecast in numbers, for those who do not see the chart.
type stepRow struct {
	Time              time.Time
	Low, Median, High float64
}

// channelWords say in which view of a series an alarm shows.
var channelWords = map[infer.Channel]string{
	infer.ChannelValue: "the value itself", infer.ChannelFast: "the mean of the last few minutes", infer.ChannelSlow: "the mean of the last twenty minutes",
	infer.ChannelSpread: "how much it varies", infer.ChannelSeason: "unlike this hour of the day", infer.ChannelGap: "far from its usual level",
	infer.ChannelTrend: "rising or falling", infer.ChannelForecast: "not what was expected", infer.ChannelTogether: "several indicators together",
	anomaly.ChannelSilence: "data stopped coming", anomaly.ChannelMeaning: "the data mean something else", anomaly.ChannelComplete: "many series stopped reporting",
}

func channel(c infer.Channel) string {
	if words, ok := channelWords[c]; ok {
		return words
	}
	return string(c)
}

// forecastPage is the load of one objective: what it was, what is expected, and how well
// that described what came.
func forecastPage(v *view) (page, error) {
	service, objective := v.r.PathValue("name"), v.r.PathValue("objective")
	f, err := v.s.Foreseen(v.ctx, service, objective)
	if err != nil {
		return page{}, err
	}
	d := newForecastDetail(v, f)
	p := page{Title: "Forecast of " + service, Nav: "/services"}
	p.add(v, "verdict", "", "forecast/verdict", d)
	p.add(v, "load", "", "forecast/load", d)
	p.add(v, "calibration", "left", "forecast/calibration", d)
	p.add(v, "planned", "right", "forecast/planned", d)
	p.add(v, "lines", "", "forecast/lines", d)
	found, err := v.s.Anomalies(v.ctx, service, listed)
	found = slices.DeleteFunc(found, func(a api.Anomaly) bool { return a.Objective != "" && a.Objective != objective })
	p.add(v, "anomalies", "", "service/anomalies", newTable(found, err))
	return p, nil
}

func newForecastDetail(v *view, f api.Foreseen) forecastDetail {
	d := forecastDetail{Foreseen: f, Load: f.Load, Judged: f.Calibration, State: state{"unknown", "reactive"}, Sentence: sentence(f.Load.Reason), Chart: foreseenLoad(f)}
	if f.Load.Trusted {
		d.State = state{"ok", "trusted"}
	}
	for _, p := range f.Planned {
		row := eventRow{p, state{"quiet", "planned"}}
		switch {
		case v.Now.Before(p.Start):
		case v.Now.Before(p.End):
			row.State = state{"active", "now"}
		default:
			row.State = state{"quiet", "over"}
		}
		d.Events = append(d.Events, row)
	}
	for i := 0; i < len(f.Load.Steps); i += 3 { // every quarter of an hour
		if s := f.Load.Steps[i]; len(s.Deciles) == 9 {
			d.Steps = append(d.Steps, stepRow{s.Time, s.Deciles[0], s.Deciles[4], s.Deciles[8]})
		}
	}
	d.cover()
	for _, l := range f.Lines {
		row := indicatorRow{Name: l.Name, Objective: f.Name, Chart: bandChart(l, nil)}
		for _, p := range l.Points {
			if p.Alarm != "" {
				row.Alarms++
			}
		}
		d.Lines = append(d.Lines, row)
	}
	return d
}

// cover compares how often bands held with how often they should.
func (d *forecastDetail) cover() {
	l := d.Load
	still := len(l.Steps) > 0 && l.Sharpness == 0 && l.Coverage == 1
	add := func(name string, want, got, low, high float64, of string, measured, flat bool) {
		row := coverRow{Name: name, Want: want, Got: got, Low: low, High: high, Of: of, Measured: measured, State: state{"unknown", "not yet known"}}
		switch {
		case !measured:
		case flat && got > high:
			row.State = state{"ok", "it never changed"}
		case got < low:
			row.State = state{"bad", "too narrow"}
		case got > high:
			row.State = state{"warn", "too wide"}
		default:
			row.State = state{"ok", "as stated"}
		}
		d.Coverage = append(d.Coverage, row)
	}
	if c := d.Judged; c != nil {
		d.Calibration = calibrationChart(*c)
		if d.Words = calibrationWords(*c); still && c.ChiP > 0.01 {
			d.Words = "What came was what was expected: it never changed, and nothing is known of how far it may stray."
		}
		add("80 % of the load", 0.8, c.Cover80, 0.72, 0.9, plural(c.N, "slot since", "slots since"), c.N >= 30, still)
	}
	add("90 % of the load, in its past", 0.9, l.Coverage, 0.85, 0.97, "forecasts from earlier points", len(l.Steps) > 0, still)
	add("90 % of the load, since", 0.9, l.Live, 0.8, 0.99, plural(l.LiveSlots, "slot, the newest count most", "slots, the newest count most"), l.LiveSlots >= 50, still)
	for _, x := range d.Foreseen.Lines {
		add("90 % of "+x.Name+", by the minute", 0.9, x.Coverage, 0.8, 0.99, "the newest minutes", x.Covered, flat(x.Points))
	}
}

// flat reports whether bands have no width to speak of: what they are of never changed.
func flat(points []anomaly.Point) bool {
	return !slices.ContainsFunc(points, func(p anomaly.Point) bool {
		return p.Band && p.High-p.Low > 1e-6*(1+math.Abs(p.Value))
	})
}

// calibrationWords say what the tenths tell.
func calibrationWords(c infer.Calibration) string {
	low, high, ends := c.Bins[0]+c.Bins[1], c.Bins[8]+c.Bins[9], c.Bins[0]+c.Bins[9]
	switch {
	case c.ChiP > 0.01:
		return "What came fell evenly over the forecasts: they know what they do not know."
	case ends > 0.3:
		return "What came fell outside too often: the forecasts were too sure."
	case ends < 0.1:
		return "What came fell near the middle too often: the forecasts were not sure enough."
	case high > low+0.1:
		return "More came than was expected."
	case low > high+0.1:
		return "Less came than was expected."
	}
	return "What came did not fall evenly over the forecasts."
}

// calibrationChart draws how often each tenth of the forecasts came; all ten should be
// equally frequent, up to the chance that the band shows.
func calibrationChart(c infer.Calibration) template.HTML {
	chance := 2 * math.Sqrt(0.09/float64(max(c.N, 1)))
	top := 0.2
	for _, b := range c.Bins {
		top = max(top, b)
	}
	p := plot{x: scale{0, 10}, y: scale{0, min(nice(max(top, 0.1+chance)*1.05), 1)}, height: 130}
	p.across("zero", 0)
	p.band("safe", []pt{{0, max(0, 0.1-chance)}, {10, max(0, 0.1-chance)}}, []pt{{0, 0.1 + chance}, {10, 0.1 + chance}})
	for i, b := range c.Bins {
		p.column("came", float64(i)+0.1, float64(i)+0.9, b)
		p.hit(float64(i), float64(i+1), fmt.Sprintf("between the %d %% and the %d %% quantile: %s of %d slots, 10 %% expected", 10*i, 10*i+10, percent(b), c.N))
	}
	p.across("safe", 0.1)
	p.yTick(0, "0 %")
	p.yTick(0.1, "10 %")
	p.yTick(p.y.hi, percent(p.y.hi))
	for _, i := range []int{0, 5, 10} {
		p.xTick(float64(i), fmt.Sprintf("%d %%", 10*i))
	}
	return p.svg(fmt.Sprintf("How often each tenth of the forecasts came, over %d slots; 80 %% bands held %s", c.N, percent(c.Cover80)))
}

// foreseenLoad draws the load that was, in the band that was expected before it came, and
// the load to come: median, and where 8 of 10 slots should lie. Planned times are marked.
func foreseenLoad(f api.Foreseen) template.HTML {
	if len(f.Past) < 2 {
		return ""
	}
	var value, low, mid, high []pt
	top := 0.0
	last := f.Past[0].Time
	expect := func(at float64, deciles []float64) {
		if len(deciles) != 9 {
			low, mid, high = append(low, pt{at, math.NaN()}), append(mid, pt{at, math.NaN()}), append(high, pt{at, math.NaN()})
			return
		}
		low, mid, high = append(low, pt{at, deciles[0]}), append(mid, pt{at, deciles[4]}), append(high, pt{at, deciles[8]})
		top = max(top, deciles[8])
	}
	for _, s := range f.Past {
		at := seconds(s.Time)
		if s.Time.Sub(last) > 11*time.Minute {
			value = append(value, pt{at - 1, math.NaN()})
			expect(at-1, nil)
		}
		last = s.Time
		value, top = append(value, pt{at, s.Value}), max(top, s.Value)
		expect(at, s.Deciles)
	}
	p := plot{x: scale{value[0].x, seconds(last)}, height: 240}
	now := seconds(last) + 300
	for _, s := range f.Load.Steps {
		if s.Time.After(last) {
			expect(seconds(s.Time), s.Deciles)
			p.x.hi = seconds(s.Time)
		}
	}
	p.y = scale{0, nice(max(top, 1e-9) * 1.05)}
	p.planned(f.Planned)
	p.across("zero", 0)
	p.across("grid", p.y.hi/2)
	p.across("grid", p.y.hi)
	p.band("safe", low, high)
	p.line("want", mid)
	p.line("canary", value)
	if now < p.x.hi {
		p.down("weight", now)
		p.text("tick", "end", now, p.y.hi, -5, 12, "now")
	}
	p.yTick(0, "0")
	p.yTick(p.y.hi/2, num(p.y.hi/2))
	p.yTick(p.y.hi, num(p.y.hi))
	p.timeTicks()
	p.loadHits(f)
	return p.svg(fmt.Sprintf("Requests per minute of %s over the last %d slots of five minutes, and the forecast of the next %d", f.Service, len(f.Past), len(f.Load.Steps)))
}

// planned shades the planned times that lie in the picture.
func (p *plot) planned(list []anomaly.Planned) {
	for _, e := range list {
		from, to := max(seconds(e.Start), p.x.lo), min(seconds(e.End), p.x.hi)
		if from >= to {
			continue
		}
		class := "planned"
		if e.Kind == policy.CalendarMaintenance {
			class = "maintenance"
		}
		fmt.Fprintf(&p.marks, `<rect class="%s" x="%s" width="%s" height="100%%"/>`, class, share(p.x.at(from)), share(p.x.at(to)-p.x.at(from)))
		if p.x.at(from) > 0.9 {
			p.text("tick", "end", to, p.y.hi, -3, 26, e.Name)
		} else {
			p.text("tick", "start", from, p.y.hi, 5, 12, e.Name)
		}
	}
}

// loadHits tell the numbers along the load and its forecast.
func (p *plot) loadHits(f api.Foreseen) {
	stride := 1 + len(f.Past)/maxHints
	for i := 0; i < len(f.Past); i += stride {
		s := f.Past[i]
		words := fmt.Sprintf("%s: %s a minute", s.Time.UTC().Format("2 Jan 15:04"), num(s.Value))
		if len(s.Deciles) == 9 {
			words += fmt.Sprintf(", %s expected, %s to %s in 8 of 10", num(s.Deciles[4]), num(s.Deciles[0]), num(s.Deciles[8]))
		}
		p.hit(seconds(s.Time), seconds(s.Time)+300*float64(stride), words)
	}
	for _, s := range f.Load.Steps {
		if len(s.Deciles) == 9 && s.Time.After(f.Past[len(f.Past)-1].Time) {
			p.hit(seconds(s.Time), seconds(s.Time)+300, fmt.Sprintf("%s: %s expected, %s to %s in 8 of 10", s.Time.UTC().Format("15:04"), num(s.Deciles[4]), num(s.Deciles[0]), num(s.Deciles[8])))
		}
	}
}
