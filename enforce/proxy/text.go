package proxy

import (
	"bytes"
	"fmt"
	"strconv"
)

// Names of the metrics, the same in Prometheus text and in OTLP.
const (
	metricRequests = "assay_enforce_requests_total"
	metricErrors   = "assay_enforce_errors_total"
	metricDuration = "assay_enforce_request_duration_seconds"
	metricInFlight = "assay_enforce_requests_in_flight"
	metricShare    = "assay_enforce_share_ratio"
	metricAdmitted = "assay_enforce_version_admitted"
	metricRefused  = "assay_enforce_refused_total"
	metricDropped  = "assay_enforce_export_dropped_total"

	metricPairs        = "assay_enforce_mirror_requests_total"
	metricWorse        = "assay_enforce_mirror_worse_total"
	metricPairDuration = "assay_enforce_mirror_duration_seconds"
	metricUncopied     = "assay_enforce_mirror_dropped_total"

	metricLever   = "assay_enforce_lever"
	metricHeld    = "assay_enforce_held_total"
	metricClass   = "assay_enforce_class_requests_total"
	metricTenant  = "assay_enforce_tenant_requests_total"
	metricSource  = "assay_enforce_source_requests_total"
	metricRegion  = "assay_enforce_region_requests_total"
	metricPending = "assay_enforce_route_in_flight"
)

var help = map[string]string{
	metricRequests: "Requests that a version answered, by result; canceled ones were given up by the client.",
	metricErrors:   "Requests that a version answered with 5xx, late, or not properly.",
	metricDuration: "Time from accepting a request to the head of its response.",
	metricInFlight: "Requests under way.",
	metricShare:    "Desired share of the route's traffic.",
	metricAdmitted: "1 if the version may be entered now, 0 if it is refused.",
	metricRefused:  "Requests that reached no version, by reason.",
	metricDropped:  "Batches of metrics that were given up.",

	metricPairs:        "Requests of mirrored pairs, by the version that answered and the result; each pair counts once for either version.",
	metricWorse:        "Pairs in which this version answered worse than the other: it failed, or refused what the other did not.",
	metricPairDuration: "Time to the head of the response, of the requests of mirrored pairs.",
	metricLever:        "Where a lever of the route stands, in its unit; tenants and sources that stand at rest have no series.",
	metricHeld:         "Requests that a lever held, by reason.",
	metricClass:        "Requests of a class, by result; held ones reached no version.",
	metricTenant:       "Requests of a tenant, by result; the heaviest, and those with a quota, are told apart, the others are tenant \"\".",
	metricSource:       "Requests of a source, by result; the heaviest, and those that are cut off, are told apart, the others are source \"\".",
	metricRegion:       "Requests that a region answered, by result.",
	metricPending:      "Requests of a route with levers under way.",

	metricUncopied: "Requests that were not copied for want of room, or because their body is too large.",
}

// page writes the Prometheus text format, version 0.0.4. Label values are names
// of ours or checked names, so they need no escapes.
type page struct{ bytes.Buffer }

func (p *page) family(name, kind string) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, help[name], name, kind)
}

func (p *page) sample(name, labels string, value string) {
	fmt.Fprintf(p, "%s{%s} %s\n", name, labels, value)
}

// text is the state of all counters as one page.
func (p *Proxy) text() []byte {
	all := p.read()
	var out page
	out.family(metricRequests, "counter")
	for _, c := range all {
		for r, n := range c.requests {
			out.sample(metricRequests, c.labels()+`,result="`+resultNames[r]+`"`, strconv.FormatUint(n, 10))
		}
	}
	out.family(metricErrors, "counter")
	for _, c := range all {
		out.sample(metricErrors, c.labels(), strconv.FormatUint(c.errors, 10))
	}
	out.family(metricDuration, "histogram")
	for _, c := range all {
		out.histogram(metricDuration, c)
	}
	out.family(metricInFlight, "gauge")
	for _, c := range all {
		out.sample(metricInFlight, c.labels(), strconv.FormatInt(c.inFlight, 10))
	}
	out.family(metricShare, "gauge")
	for _, c := range all {
		out.sample(metricShare, c.labels(), decimalOf(float64(c.percent)/100))
	}
	out.family(metricAdmitted, "gauge")
	for _, c := range all {
		out.sample(metricAdmitted, c.labels(), strconv.Itoa(int(bit(c.admitted))))
	}
	out.family(metricRefused, "counter")
	for _, r := range p.refusals.read() {
		out.sample(metricRefused, `result="`+r.reason+`"`, strconv.FormatUint(r.n, 10))
	}
	out.family(metricDropped, "counter")
	fmt.Fprintf(&out, "%s %d\n", metricDropped, p.export.status().Dropped)
	out.pairs(p)
	out.levers(p)
	return out.Bytes()
}

// pairs writes what mirrored requests came to.
func (p *page) pairs(of *Proxy) {
	p.family(metricUncopied, "counter")
	fmt.Fprintf(p, "%s %d\n", metricUncopied, of.copies.dropped.Load())
	all := of.readPairs()
	if len(all) == 0 {
		return
	}
	p.family(metricPairs, "counter")
	for _, c := range all {
		for r, n := range c.requests {
			if result(r) != resultCanceled {
				p.sample(metricPairs, c.labels()+`,result="`+resultNames[r]+`"`, strconv.FormatUint(n, 10))
			}
		}
	}
	p.family(metricWorse, "counter")
	for _, c := range all {
		p.sample(metricWorse, c.labels(), strconv.FormatUint(c.errors, 10))
	}
	p.family(metricPairDuration, "histogram")
	for _, c := range all {
		p.histogram(metricPairDuration, c)
	}
}

func (p *page) histogram(name string, c counts) {
	var sum uint64
	for i, n := range c.latency {
		sum += n
		le := "+Inf"
		if i < len(latencyBounds) {
			le = decimalOf(latencyBounds[i].Seconds())
		}
		p.sample(name+"_bucket", c.labels()+`,le="`+le+`"`, strconv.FormatUint(sum, 10))
	}
	p.sample(name+"_sum", c.labels(), decimalOf(c.sum.Seconds()))
	p.sample(name+"_count", c.labels(), strconv.FormatUint(sum, 10))
}

func (c counts) labels() string {
	return `service="` + c.service + `",route="` + c.route + `",version="` + c.version + `"`
}

func decimalOf(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// boundsInSeconds are latencyBounds as OTLP wants them.
func boundsInSeconds() (out []float64) {
	for _, b := range latencyBounds {
		out = append(out, b.Seconds())
	}
	return out
}
