package evidence

import (
	"maps"
	"slices"
	"strings"

	"assay.dev/assay"
)

// readK6 reads the summary of a k6 load test: what --summary-export writes, or
// the data that handleSummary gets, as JSON. Measures are named "metric" or
// "metric{statistic}". A threshold that was crossed is a high finding, a check
// with failures a low one: what they mean is for thresholds and policies to say.
func readK6(r *report) error {
	r.ev.Tool = assay.Tool{Name: "k6"} // the summary does not say which version
	k := &k6{rep: r, c: newCursor(r)}
	c := k.c
	seen := false
	for key := range c.document() {
		switch key {
		case "metrics":
			seen = true
			for name := range c.object() {
				k.metric(clean(name, MaxName).s)
			}
		case "root_group":
			k.group()
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case !seen:
		return missing("metrics", "an object")
	}
	return nil
}

type k6 struct {
	rep *report
	c   *cursor
}

// metric reads one metric in both shapes: values beside thresholds, and values
// in an object of their own.
func (k *k6) metric(name string) {
	c := k.c
	var kind, contains string
	values := map[string]float64{}
	for key := range c.object() {
		switch key {
		case "type":
			kind = c.name()
		case "contains":
			contains = c.name()
		case "values":
			for key := range c.object() {
				k.value(values, key)
			}
		case "thresholds":
			for key := range c.object() {
				k.threshold(name, clean(key, MaxName).s)
			}
		default:
			k.value(values, key)
		}
	}
	if c.err != nil {
		return
	}
	if kind == "" {
		kind = k6Kind(values)
	}
	for _, stat := range slices.Sorted(maps.Keys(values)) {
		m, ok := k6Measure(name, kind, contains, stat, values[stat])
		if !ok {
			continue
		}
		if err := k.rep.measure(m); err != nil {
			c.fail(assay.CodeTooLarge, c.dec.InputOffset(), asError(err).Msg)
		}
	}
}

func (k *k6) value(values map[string]float64, key string) {
	c := k.c
	if c.peek() != '0' {
		c.skip()
		return
	}
	if v, ok := c.number(); ok && len(values) < MaxList {
		values[key] = v
	}
}

// threshold reads whether a threshold was crossed. The exported summary says
// true for a crossed one, the data of handleSummary has "ok".
func (k *k6) threshold(metric, expression string) {
	c := k.c
	crossed := false
	if c.peek() == '{' {
		for key := range c.object() {
			if key == "ok" {
				crossed = !c.boolean(false)
				continue
			}
			c.skip()
		}
	} else {
		crossed = c.boolean(true)
	}
	if !crossed {
		return
	}
	c.add(assay.Finding{
		Rule: "threshold-crossed", Severity: assay.SeverityHigh,
		Message:     k.rep.text(metric+" does not hold "+expression, MaxMessage),
		Fingerprint: k.rep.prints.of("k6", metric, expression),
	})
}

// group reads the checks of a group and of the groups in it, which come as
// lists or as objects by name.
func (k *k6) group() {
	c := k.c
	for key := range c.object() {
		switch key {
		case "checks":
			k.each(k.check)
		case "groups":
			k.each(k.group)
		default:
			c.skip()
		}
	}
}

func (k *k6) each(read func()) {
	if k.c.peek() == '[' {
		for range k.c.array() {
			read()
		}
		return
	}
	for range k.c.object() {
		read()
	}
}

func (k *k6) check() {
	c := k.c
	var name, path string
	var fails int
	for key := range c.object() {
		switch key {
		case "name":
			name = c.name()
		case "path":
			path = c.name()
		case "fails":
			fails = c.whole()
		default:
			c.skip()
		}
	}
	if fails == 0 {
		return
	}
	c.add(assay.Finding{
		Rule: "check-failed", Severity: assay.SeverityLow,
		Message:     k.rep.text("check "+name+" failed "+plural(fails, "time", "times"), MaxMessage),
		Fingerprint: k.rep.prints.of("k6", "check", path, name),
	})
}

// k6Kind tells the type of a metric by its statistics, as the exported summary leaves it out.
func k6Kind(values map[string]float64) string {
	has := func(s string) bool { _, ok := values[s]; return ok }
	switch {
	case has("passes") && has("fails"):
		return "rate"
	case has("avg") || has("med"):
		return "trend"
	case has("count"):
		return "counter"
	}
	return "gauge"
}

// k6Measure names one statistic of a metric; ok is false for one that another says as well.
func k6Measure(name, kind, contains, stat string, v float64) (m assay.Measure, ok bool) {
	m = assay.Measure{Name: name + "{" + stat + "}", Unit: unitCount, Value: v, Lower: true}
	timed := contains == "time" || contains == "" && (strings.HasPrefix(name, "http_req_") || strings.HasSuffix(name, "_duration") ||
		strings.HasSuffix(name, "_connecting") || strings.HasPrefix(name, "grpc_req_"))
	switch kind {
	case "rate":
		m.Name, m.Unit, m.Lower = name, unitRatio, strings.Contains(name, "fail")
		return m, stat == "rate" || stat == "value"
	case "trend":
		if timed {
			m.Unit = "ms"
		}
		return m, stat != "count"
	case "counter":
		m.Lower = false
		if m.Name = name; stat == "rate" {
			m.Unit = "1/s"
			m.Name += "{rate}"
		} else if contains == "data" || strings.HasPrefix(name, "data_") {
			m.Unit = "By"
		}
		return m, stat == "rate" || stat == "count"
	}
	m.Name, m.Lower = name, false
	return m, stat == "value"
}

// readHyperfine reads the median time of each command, in seconds. A command
// that ended with another exit code than 0 is a high finding.
func readHyperfine(r *report) error {
	r.ev.Tool = assay.Tool{Name: "hyperfine"}
	c := newCursor(r)
	seen := false
	for key := range c.document() {
		if key != "results" {
			c.skip()
			continue
		}
		seen = true
		for range c.array() {
			readCommand(r, c)
		}
	}
	if c.err == nil && !seen {
		return missing("results", "a list")
	}
	return c.err
}

func readCommand(r *report, c *cursor) {
	var command string
	var middle, mean float64
	var timed, averaged bool
	failed, runs := 0, 0
	for key := range c.object() {
		switch key {
		case "command":
			command = c.name()
		case "median":
			middle, timed = c.number()
		case "mean":
			mean, averaged = c.number()
		case "exit_codes":
			for range c.array() {
				runs++
				if n, ok := c.number(); !ok || n != 0 { // null: ended by a signal
					failed++
				}
			}
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return
	case command == "" || !timed && !averaged:
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no command with a median or mean")
		return
	case !timed:
		middle = mean
		r.note("%s has no median; its mean was read", command)
	}
	if err := r.measure(assay.Measure{Name: command, Unit: "s", Value: middle, Lower: true}); err != nil {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), asError(err).Msg)
	}
	if failed > 0 {
		c.add(assay.Finding{
			Rule: "command-failed", Severity: assay.SeverityHigh,
			Message:     r.text(command+" failed in "+plural(failed, "run", "runs")+" of "+quantity(float64(runs)), MaxMessage),
			Fingerprint: r.prints.of("hyperfine", command),
		})
	}
}
