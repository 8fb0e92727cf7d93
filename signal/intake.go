package signal

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// Config is what an Intake is made of.
type Config struct {
	Sink Sink
	// Now is the clock that event times are held against.
	Now func() time.Time
	// Arrived is called after each batch that stored something, by the
	// goroutine that brought it: it must not block. May be nil.
	Arrived func(Arrival)
	// Watch tells which indicators a batch touches. May be nil.
	Watch *Watch
	// Registerer takes the intake's metrics. May be nil.
	Registerer prometheus.Registerer
	// Series caps the series of each sender; MaxSeriesPerSource if 0.
	Series int
	// BodyTime is how long a sender may take over one body; MaxBodyTime if 0.
	BodyTime time.Duration
}

// Arrival says that new data is there to be evaluated.
type Arrival struct {
	Namespace  string
	Source     string
	Indicators []string // ids that the batch touched, as registered in Watch; sorted
	Newest     time.Time
	Received   time.Time
}

// Intake is the one door that samples of every road come through. Safe for
// concurrent use.
type Intake struct {
	cfg     Config
	metrics *metrics
	slots   chan struct{} // one per body that is read or decoded

	mu      sync.Mutex // guards what follows
	sources map[sourceKey]*source
}

type sourceKey struct{ namespace, name string }

// NewIntake returns an intake with nothing known.
func NewIntake(cfg Config) *Intake {
	if cfg.Series == 0 {
		cfg.Series = MaxSeriesPerSource
	}
	if cfg.BodyTime == 0 {
		cfg.BodyTime = MaxBodyTime
	}
	in := &Intake{cfg: cfg, slots: make(chan struct{}, MaxInFlight), sources: map[sourceKey]*source{}}
	in.metrics = newMetrics(cfg.Registerer)
	return in
}

// Take checks the samples and stores those that pass. The slice is the
// intake's from then on. A refused sample is counted in the result and does not
// stop the others; refused carries what the road's decoder refused already. An
// error means that nothing was stored: CodeTooLarge for too many samples,
// CodeUnavailable when the same batch may be sent again later.
func (in *Intake) Take(ctx context.Context, from Origin, samples []Sample, refused Result) (Result, error) {
	now := in.cfg.Now()
	if len(samples) > MaxSamples {
		in.metrics.samples.WithLabelValues(string(from.Road), "too_many").Add(float64(len(samples)))
		return Result{}, assay.Errorf(assay.CodeTooLarge, "the batch holds %d samples; at most %d are taken at once", len(samples), MaxSamples)
	}
	res := refused
	src, err := in.source(from)
	if err != nil {
		return Result{}, err
	}
	kept := samples[:0]
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, s := range samples {
		why, detail := check(&s, builder, from.Namespace, now)
		if why != "" {
			res.Refuse(why, 1, detail)
			continue
		}
		kept = append(kept, s)
	}
	kept = src.admit(kept, now, in.cfg.Series, &res)
	stored, err := in.cfg.Sink.Append(ctx, kept, now)
	if err != nil {
		in.metrics.samples.WithLabelValues(string(from.Road), "unavailable").Add(float64(len(kept)))
		return Result{}, err
	}
	res.Accepted = stored.Accepted
	res.Duplicates += stored.Duplicates
	for why, n := range stored.Refused {
		res.Refuse(why, n, stored.First)
	}
	src.note(from, kept, &res, now)
	in.metrics.count(from.Road, res)
	if res.Accepted > res.Duplicates {
		in.arrived(from, kept, now)
	}
	return res, nil
}

// Now is the clock that event times are held against.
func (in *Intake) Now() time.Time { return in.cfg.Now() }

// arrived tells who waits for data.
func (in *Intake) arrived(from Origin, kept []Sample, now time.Time) {
	if in.cfg.Arrived == nil {
		return
	}
	a := Arrival{Namespace: from.Namespace, Source: from.Name, Received: now, Indicators: in.cfg.Watch.Touched(from.Namespace, kept)}
	for _, s := range kept {
		if t := time.UnixMilli(s.Time).UTC(); t.After(a.Newest) {
			a.Newest = t
		}
	}
	in.cfg.Arrived(a)
}

func (in *Intake) source(from Origin) (*source, error) {
	key := sourceKey{from.Namespace, from.Name}
	in.mu.Lock()
	defer in.mu.Unlock()
	if src := in.sources[key]; src != nil {
		return src, nil
	}
	if len(in.sources) >= MaxSources && !in.dropIdle() {
		return nil, assay.Errorf(assay.CodeUnavailable, "%d senders are known and none was idle for %s; no other is taken", MaxSources, seriesLife)
	}
	src := newSource()
	in.sources[key] = src
	return src, nil
}

// dropIdle forgets the senders that have been silent for seriesLife.
func (in *Intake) dropIdle() bool {
	now, dropped := in.cfg.Now(), false
	for key, src := range in.sources {
		if f := src.freshness(key); now.Sub(f.Ingested) > seriesLife {
			delete(in.sources, key)
			dropped = true
		}
	}
	return dropped
}

// Freshness lists the senders of a namespace, sorted by name; of all of them if
// the namespace is "".
func (in *Intake) Freshness(namespace string) []Freshness {
	in.mu.Lock()
	defer in.mu.Unlock()
	var out []Freshness
	for key, src := range in.sources {
		if namespace == "" || key.namespace == namespace {
			out = append(out, src.freshness(key))
		}
	}
	slices.SortFunc(out, func(a, b Freshness) int {
		if a.Namespace != b.Namespace {
			return compare(a.Namespace, b.Namespace)
		}
		return compare(a.Source, b.Source)
	})
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// check refuses a sample that nothing can be made of, and writes whose it is
// into its labels.
func check(s *Sample, b *labels.Builder, namespace string, now time.Time) (Reason, string) {
	if why, detail := CheckTime(s.Time, now); why != "" {
		return why, detail
	}
	if why, detail := checkLabels(s.Labels); why != "" {
		return why, detail
	}
	if why, detail := checkValue(s); why != "" {
		return why, detail
	}
	s.Labels = owned(b, s.Labels, namespace)
	return "", ""
}

// owned are labels with whose they are; a namespace that they brought is kept beside.
func owned(b *labels.Builder, ls labels.Labels, namespace string) labels.Labels {
	b.Reset(ls)
	if brought := ls.Get(NamespaceLabel); brought != "" {
		b.Set(exportedNamespace, brought)
	}
	b.Set(NamespaceLabel, namespace)
	return b.Labels()
}

// CheckTime refuses an event time, Unix milliseconds, that is too far from now.
// Roads whose work grows with the span of a batch's times call it first.
func CheckTime(ms int64, now time.Time) (Reason, string) {
	switch at := time.UnixMilli(ms); {
	case ms > now.Add(MaxAhead).UnixMilli():
		return RefusedFuture, fmt.Sprintf("a sample is dated %s, more than %s ahead of the clock here", at.UTC().Format(time.RFC3339), MaxAhead)
	case ms < now.Add(-MaxBehind).UnixMilli():
		return RefusedOld, fmt.Sprintf("a sample is dated %s, more than %s ago", at.UTC().Format(time.RFC3339), MaxBehind)
	}
	return "", ""
}

func checkLabels(ls labels.Labels) (Reason, string) {
	if n := ls.Len(); n >= MaxLabels {
		return RefusedLabels, fmt.Sprintf("a series has %d labels; at most %d fit beside the namespace", n, MaxLabels-1)
	}
	if !model.LegacyValidation.IsValidMetricName(ls.Get(model.MetricNameLabel)) {
		return RefusedLabels, fmt.Sprintf("%s is not a metric name of letters, digits, _ and :", clip(ls.Get(model.MetricNameLabel)))
	}
	detail, previous := "", ""
	ls.Range(func(l labels.Label) {
		switch {
		case detail != "":
		case len(l.Name) > MaxLabelName:
			detail = fmt.Sprintf("label name %s has %d bytes; at most %d are allowed", clip(l.Name), len(l.Name), MaxLabelName)
		case len(l.Value) > MaxLabelValue:
			detail = fmt.Sprintf("the value of label %s has %d bytes; at most %d are allowed", clip(l.Name), len(l.Value), MaxLabelValue)
		case !model.LegacyValidation.IsValidLabelName(l.Name):
			detail = fmt.Sprintf("%s is not a label name of letters, digits and _", clip(l.Name))
		case !model.LabelValue(l.Value).IsValid():
			detail = fmt.Sprintf("the value of label %s is not UTF-8", clip(l.Name))
		case l.Name <= previous:
			detail = fmt.Sprintf("label %s stands twice or is not in order", clip(l.Name))
		}
		previous = l.Name
	})
	if detail != "" {
		return RefusedLabels, detail
	}
	return "", ""
}

func checkValue(s *Sample) (Reason, string) {
	if s.stale() {
		return "", ""
	}
	name := s.Labels.Get(model.MetricNameLabel)
	switch {
	case s.H != nil:
		if err := s.H.Validate(); err != nil || s.H.Schema < histogram.ExponentialSchemaMin {
			return RefusedHistogram, fmt.Sprintf("histogram %s is inconsistent: %v", clip(name), err)
		}
		if math.IsNaN(s.H.Sum) {
			return RefusedNaN, fmt.Sprintf("the sum of histogram %s is not a number", clip(name))
		}
	case s.FH != nil:
		if err := s.FH.Validate(); err != nil || s.FH.Schema < histogram.ExponentialSchemaMin {
			return RefusedHistogram, fmt.Sprintf("histogram %s is inconsistent: %v", clip(name), err)
		}
		if math.IsNaN(s.FH.Sum) || math.IsNaN(s.FH.Count) {
			return RefusedNaN, fmt.Sprintf("histogram %s is not a number", clip(name))
		}
	case math.IsNaN(s.Value):
		return RefusedNaN, fmt.Sprintf("a value of %s is not a number", clip(name))
	case s.Value < 0 && s.rises():
		return RefusedNegative, fmt.Sprintf("counter %s is %v; a counter is never below zero", clip(name), s.Value)
	case math.IsInf(s.Value, 0) && s.rises():
		return RefusedNaN, fmt.Sprintf("counter %s is infinite", clip(name))
	}
	return "", ""
}

// clip keeps an answer readable when a label is long.
func clip(s string) string {
	const limit = 80
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return fmt.Sprintf("%q", s)
}
