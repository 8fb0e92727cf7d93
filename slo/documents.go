package slo

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"assay.dev/assay/internal/strict"
)

// The documents as OpenSLO writes them. They end in check, which turns them
// into the package's own values.

type head struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
}

type metadata struct {
	Name        string            `json:"name"`
	DisplayName string            `json:"displayName"`
	Labels      map[string]words  `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// words is one string or a list of them.
type words []string

func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = words{one}
		return nil
	}
	if json.Unmarshal(data, (*[]string)(w)) != nil {
		return errors.New("it is neither a word nor a list of words")
	}
	return nil
}

// free is a value whose shape is its tool's business.
type free json.RawMessage

func (f *free) UnmarshalJSON(data []byte) error {
	*f = bytes.Clone(data)
	return nil
}

type serviceDoc struct {
	head
	Spec struct {
		Description string `json:"description"`
	} `json:"spec"`
}

type dataSourceDoc struct {
	head
	Spec struct {
		Description       string `json:"description"`
		Type              string `json:"type"`
		ConnectionDetails free   `json:"connectionDetails"`
	} `json:"spec"`
}

type targetDoc struct {
	head
	Spec struct {
		Description string `json:"description"`
		Target      string `json:"target"`
	} `json:"spec"`
}

type sliDoc struct {
	head
	Spec sliSpec `json:"spec"`

	doc  strict.Document
	path string
}

type sliSpec struct {
	Description     string           `json:"description"`
	ThresholdMetric *thresholdMetric `json:"thresholdMetric"`
	RatioMetric     *ratioMetric     `json:"ratioMetric"`
}

type thresholdMetric struct {
	MetricSource metricSource `json:"metricSource"`
}

type ratioMetric struct {
	Counter bool    `json:"counter"`
	Good    *metric `json:"good"`
	Bad     *metric `json:"bad"`
	Total   *metric `json:"total"`
	RawType string  `json:"rawType"`
	Raw     *metric `json:"raw"`
}

type metric struct {
	MetricSource metricSource `json:"metricSource"`
}

type metricSource struct {
	Ref  string `json:"metricSourceRef"`
	Type string `json:"type"`
	Spec free   `json:"spec"`
}

// check refuses what is wrong and what is not evaluated yet.
func (s sliSpec) check(d strict.Document, at ...string) error {
	in := func(more ...string) []string { return append(append([]string(nil), at...), more...) }
	if err := checkDescription(d, s.Description, at...); err != nil {
		return err
	}
	switch {
	case s.ThresholdMetric != nil && s.RatioMetric != nil:
		return d.Errorf(in("thresholdMetric"), "stands beside ratioMetric; expected one of the two")
	case s.ThresholdMetric != nil:
		e := d.Errorf(in("thresholdMetric"), "is not evaluated yet; only ratioMetric is")
		e.Hint = "count good and total events, for example histogram buckets below the threshold"
		return e
	case s.RatioMetric == nil:
		return d.Errorf(at, "has no ratioMetric")
	}
	m, ratio := s.RatioMetric, func(more ...string) []string { return in(append([]string{"ratioMetric"}, more...)...) }
	switch {
	case m.Raw != nil || m.RawType != "":
		field := "raw"
		if m.Raw == nil {
			field = "rawType"
		}
		e := d.Errorf(ratio(field), "is not evaluated yet: a ratio that is computed elsewhere has no counts to keep a budget with")
		e.Hint = "give good and total"
		return e
	case m.Good != nil && m.Bad != nil:
		return d.Errorf(ratio("bad"), "stands beside good; expected one of the two")
	case m.Good == nil && m.Bad == nil:
		return d.Errorf(ratio(), "has neither good nor bad")
	case m.Total == nil:
		return d.Errorf(ratio("total"), "is missing")
	}
	var part, whole Query
	for _, x := range []struct {
		name string
		of   *metric
		into *Query
	}{{"good", m.Good, &part}, {"bad", m.Bad, &part}, {"total", m.Total, &whole}} {
		if x.of == nil {
			continue
		}
		var err error
		if *x.into, err = x.of.query(d, ratio(x.name, "metricSource")); err != nil {
			return err
		}
	}
	if (part.Fallback == "") == (whole.Fallback == "") {
		return nil
	}
	lacks := "total"
	if whole.Fallback != "" && m.Good != nil {
		lacks = "good"
	} else if whole.Fallback != "" {
		lacks = "bad"
	}
	return d.Errorf(ratio(lacks, "metricSource", "spec", "fallback"), "is missing: a second source counts all of the indicator, or nothing of it")
}

// query reads a metric source. What is in spec belongs to the source; Prometheus
// wants a query and may have a fallback, and any source may have a query.
func (m metric) query(d strict.Document, at []string) (Query, error) {
	src := m.MetricSource
	q := Query{Type: src.Type, Source: src.Ref}
	in := func(more string) []string { return append(append([]string(nil), at...), more) }
	if src.Type == "" && src.Ref == "" {
		return q, d.Errorf(at, "has neither type nor metricSourceRef")
	}
	var spec map[string]json.RawMessage
	if len(src.Spec) == 0 || json.Unmarshal(src.Spec, &spec) != nil || spec == nil {
		return q, d.Errorf(in("spec"), "is not an object; expected what the source needs, for example query")
	}
	raw, has := spec["query"]
	if has && json.Unmarshal(raw, &q.Text) != nil {
		return q, d.Errorf(append(in("spec"), "query"), "is not a string")
	}
	if q.Text == "" && src.Type == "Prometheus" {
		return q, d.Errorf(append(in("spec"), "query"), "is missing; expected PromQL")
	}
	if q.Text == "" {
		q.Text = string(src.Spec) // the source's own words
	}
	raw, has = spec["fallback"]
	switch {
	case !has || src.Type != "" && !strings.EqualFold(src.Type, "Prometheus"): // what it means there is the source's business
	case json.Unmarshal(raw, &q.Fallback) != nil || strings.TrimSpace(q.Fallback) == "":
		return q, d.Errorf(append(in("spec"), "fallback"), "is not PromQL: it is read while query tells nothing")
	case strings.TrimSpace(q.Fallback) == strings.TrimSpace(q.Text):
		return q, d.Errorf(append(in("spec"), "fallback"), "is the query itself: it would be missing with it; name series of another sender, or leave it out")
	}
	return q, nil
}

func (s sliSpec) indicator(name string, d strict.Document, at ...string) (Indicator, error) {
	ind := Indicator{Name: name, Counter: s.RatioMetric.Counter}
	in := func(field string) []string {
		return append(append([]string(nil), at...), "ratioMetric", field, "metricSource")
	}
	for field, one := range map[string]*metric{"good": s.RatioMetric.Good, "bad": s.RatioMetric.Bad, "total": s.RatioMetric.Total} {
		if one == nil {
			continue
		}
		q, err := one.query(d, in(field))
		if err != nil {
			return ind, err
		}
		switch field {
		case "good":
			ind.Good = &q
		case "bad":
			ind.Bad = &q
		case "total":
			ind.Total = q
		}
	}
	return ind, nil
}

// at makes a path into a list.
func at(field string, i int, more ...string) []string {
	return append([]string{"spec", field, strconv.Itoa(i)}, more...)
}
