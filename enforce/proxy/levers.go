package proxy

import (
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// leverCounts is what the levers of one route stand at and counted, ready to export.
type leverCounts struct {
	route, service string
	stands         []labelled
	held           []labelled
	classes        []labelled
	tenants        []labelled
	sources        []labelled
	regions        []labelled
	inFlight       int64
}

// labelled is a number with the values of the labels that its family has beside
// service and route.
type labelled struct {
	values []string
	value  float64
}

// leverFamilies are the families of levers with their own labels.
var leverFamilies = []struct {
	metric string
	labels []string
	of     func(leverCounts) []labelled
	gauge  bool
}{
	{metricLever, []string{"lever", "scope"}, func(c leverCounts) []labelled { return c.stands }, true},
	{metricPending, nil, func(c leverCounts) []labelled { return []labelled{{nil, float64(c.inFlight)}} }, true},
	{metricHeld, []string{"reason"}, func(c leverCounts) []labelled { return c.held }, false},
	{metricClass, []string{"class", "result"}, func(c leverCounts) []labelled { return c.classes }, false},
	{metricTenant, []string{"tenant", "result"}, func(c leverCounts) []labelled { return c.tenants }, false},
	{metricSource, []string{"source", "result"}, func(c leverCounts) []labelled { return c.sources }, false},
	{metricRegion, []string{"region", "result"}, func(c leverCounts) []labelled { return c.regions }, false},
}

// readLevers returns the counts of all routes with levers, in the order of the table.
func (p *Proxy) readLevers() (out []leverCounts) {
	t := p.table.Load()
	for _, w := range t.snap.Ways() {
		l := t.limiters[w]
		if l == nil {
			continue
		}
		c := leverCounts{route: l.route, service: l.service, inFlight: l.inFlight.Load()}
		for _, s := range w.Standing() {
			if s.Scope != "*" {
				c.stands = append(c.stands, labelled{[]string{string(s.Lever), s.Scope}, s.Value})
			}
		}
		for i := range l.limited {
			c.held = append(c.held, labelled{[]string{reasonNames[i]}, float64(l.limited[i].Load())})
		}
		for i, class := range l.valve.Levers.Classes {
			c.classes = append(c.classes, byResult(class.Name, l.classes[i].read())...)
		}
		for i, region := range l.valve.Levers.Regions {
			c.regions = append(c.regions, byResult(region.Name, l.regions[i].read())...)
		}
		if l.valve.Levers.TenantHeader != "" {
			c.tenants = byMember(l.tenants)
		}
		if l.valve.Levers.Source.By != "" {
			c.sources = byMember(l.sources)
		}
		out = append(out, c)
	}
	return out
}

func byResult(name string, results [results + 1]uint64) (out []labelled) {
	for r, n := range results {
		out = append(out, labelled{[]string{name, tallyNames[r]}, float64(n)})
	}
	return out
}

// byMember spares the results that a member never had: there may be hundreds.
func byMember(c *crowd) (out []labelled) {
	heads, others := c.read()
	for _, h := range heads {
		out = append(out, byResult(strings.ToValidUTF8(h.name, "\uFFFD"), h.results)...)
	}
	out = slices.DeleteFunc(out, func(x labelled) bool { return x.value == 0 })
	return append(out, byResult("", others)...)
}

// levers writes what levers stand at and counted.
func (p *page) levers(of *Proxy) {
	all := of.readLevers()
	for _, f := range leverFamilies {
		kind := "counter"
		if f.gauge {
			kind = "gauge"
		}
		first := true
		for _, c := range all {
			for _, x := range f.of(c) {
				if first {
					p.family(f.metric, kind)
					first = false
				}
				var labels strings.Builder
				labels.WriteString(`service="` + c.service + `",route="` + c.route + `"`)
				for i, v := range x.values {
					labels.WriteString("," + f.labels[i] + `="` + escape.Replace(v) + `"`)
				}
				p.sample(f.metric, labels.String(), strconv.FormatFloat(x.value, 'f', -1, 64))
			}
		}
	}
}

// escape is what the text format asks of label values: tenants and sources are whatever
// clients send.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// levers writes what levers stand at and counted.
func (w writer) levers(p *Proxy) {
	all := p.readLevers()
	if len(all) == 0 {
		return
	}
	for _, f := range leverFamilies {
		var m pmetric.NumberDataPointSlice
		if f.gauge {
			m = w.gauge(f.metric)
		} else {
			m = w.sum(f.metric)
		}
		for _, c := range all {
			for _, x := range f.of(c) {
				dp := m.AppendEmpty()
				dp.SetTimestamp(w.now)
				if f.gauge {
					dp.SetDoubleValue(x.value)
				} else {
					dp.SetStartTimestamp(w.start)
					dp.SetIntValue(int64(x.value))
				}
				dp.Attributes().PutStr("service", c.service)
				dp.Attributes().PutStr("route", c.route)
				for i, v := range x.values {
					dp.Attributes().PutStr(f.labels[i], v)
				}
			}
		}
	}
}
