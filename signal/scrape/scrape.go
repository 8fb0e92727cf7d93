// Package scrape fetches metrics from targets that expose them as Prometheus or
// OpenMetrics text.
//
// The mental model is one loop per target: at each interval fetch a page within
// a time-out and a size, take it apart whole or not at all, hand its samples to
// the intake. Series that were on the last page and are not on this one, and
// all of them when a fetch fails, are ended with a stale marker. The target's
// health is a series too: up, 1 or 0.
package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/signal"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
)

const (
	// MaxPage is one page, bytes, after decompression.
	MaxPage = 8 << 20
	// MaxPageSamples is how many samples one page may hold.
	MaxPageSamples = 20_000
)

// Target is one page to fetch. Job and Instance become labels.
type Target struct {
	Namespace string
	Job       string
	Instance  string
	URL       string
	Interval  time.Duration // between the starts of fetches; 15 s if 0
	Timeout   time.Duration // of one fetch; 10 s, at most the interval, if 0
}

// Scraper fetches one target. Run owns it.
type Scraper struct {
	target Target
	intake *signal.Intake
	client *http.Client
	now    func() time.Time
	last   map[uint64]labels.Labels // series of the last good page
}

// New returns a scraper for the target. The client should not follow redirects
// to places the operator did not name.
func New(target Target, intake *signal.Intake, client *http.Client, now func() time.Time) *Scraper {
	if target.Interval <= 0 {
		target.Interval = 15 * time.Second
	}
	if target.Timeout <= 0 {
		target.Timeout = 10 * time.Second
	}
	target.Timeout = min(target.Timeout, target.Interval)
	return &Scraper{target: target, intake: intake, client: client, now: now, last: map[uint64]labels.Labels{}}
}

// Run fetches until the context ends. A failed fetch is recorded, in the
// series up and in the intake's metrics, and is no reason to stop.
func (s *Scraper) Run(ctx context.Context) {
	tick := time.NewTicker(s.target.Interval)
	defer tick.Stop()
	for {
		_ = s.Once(ctx) // counted where it failed
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Once fetches the page and hands it over. The error says why nothing came of it.
func (s *Scraper) Once(ctx context.Context) error {
	at := s.now()
	from := signal.Origin{Namespace: s.target.Namespace, Name: s.target.Job + "/" + s.target.Instance, Road: signal.RoadScrape}
	page, contentType, err := s.fetch(ctx)
	var samples []signal.Sample
	if err == nil {
		samples, err = Parse(page, contentType, at)
	}
	up := 1.0
	if err != nil {
		up, samples = 0, nil
	}
	samples = s.finish(samples, up, at)
	res, takeErr := s.intake.Take(ctx, from, samples, signal.Result{})
	_, outcome := signal.Status(errors.Join(err, takeErr))
	if err == nil && takeErr == nil {
		if outcome = "ok"; res.RefusedTotal() > 0 {
			outcome = "partial"
		}
	}
	s.intake.Request(signal.RoadScrape, outcome, len(page))
	return errors.Join(err, takeErr)
}

// finish adds the target's labels, ends the series that are gone, and says
// whether the target is up.
func (s *Scraper) finish(samples []signal.Sample, up float64, at time.Time) []signal.Sample {
	b, ms := labels.NewBuilder(labels.EmptyLabels()), at.UnixMilli()
	now := make(map[uint64]labels.Labels, len(samples))
	for i := range samples {
		samples[i].Labels = s.label(b, samples[i].Labels)
		now[samples[i].Labels.Hash()] = samples[i].Labels
	}
	for hash, ls := range s.last {
		if _, still := now[hash]; !still {
			samples = append(samples, signal.Sample{Labels: ls, Time: ms, Value: math.Float64frombits(value.StaleNaN)})
		}
	}
	s.last = now
	return append(samples, signal.Sample{Labels: s.label(b, labels.FromStrings(model.MetricNameLabel, "up")), Time: ms, Value: up})
}

// label sets job and instance; what the page says of them is kept as exported.
func (s *Scraper) label(b *labels.Builder, ls labels.Labels) labels.Labels {
	b.Reset(ls)
	for _, l := range [][2]string{{model.JobLabel, s.target.Job}, {model.InstanceLabel, s.target.Instance}} {
		if brought := ls.Get(l[0]); brought != "" {
			b.Set(model.ExportedLabelPrefix+l[0], brought)
		}
		b.Set(l[0], l[1])
	}
	return b.Labels()
}

func (s *Scraper) fetch(ctx context.Context) (page []byte, contentType string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.target.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.target.URL, nil)
	if err != nil {
		return nil, "", assay.Errorf(assay.CodeInvalid, "target %q: %w", s.target.URL, err)
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
	resp, err := s.client.Do(req) // it asks for gzip and undoes it; the limit is on what comes out
	if err != nil {
		return nil, "", assay.Errorf(assay.CodeUnavailable, "the target cannot be fetched: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // lets the connection be used again
		return nil, "", assay.Errorf(assay.CodeUnavailable, "target %s answers %s", s.target.URL, resp.Status)
	}
	page, err = strict.Bounded(resp.Body, MaxPage, fmt.Sprintf("the page of %s", s.target.URL))
	return page, resp.Header.Get("Content-Type"), err
}

// Parse takes a page of Prometheus text or OpenMetrics apart, whole or not at
// all. Samples without a time of their own are dated at. CodeInvalid, or
// CodeTooLarge above MaxPage or MaxPageSamples.
func Parse(page []byte, contentType string, at time.Time) ([]signal.Sample, error) {
	if len(page) > MaxPage {
		return nil, assay.Errorf(assay.CodeTooLarge, "the page has %d bytes; at most %d are taken", len(page), MaxPage)
	}
	// Unknown content types are read as the plain format, as Prometheus can be told to.
	p, err := textparse.New(page, contentType, labels.NewSymbolTable(), textparse.ParserOptions{FallbackContentType: "text/plain", OpenMetricsSkipSTSeries: true})
	if p == nil {
		return nil, assay.Errorf(assay.CodeInvalid, "the page is no metrics text: %w", err)
	}
	var samples []signal.Sample
	kind := model.MetricTypeUnknown
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "the page is broken: %w", err)
		}
		switch entry {
		case textparse.EntryType:
			_, kind = p.Type()
			continue
		case textparse.EntrySeries:
		case textparse.EntryHistogram:
			return nil, assay.Errorf(assay.CodeInvalid, "the page holds native histograms, which are taken by OTLP or remote write")
		default:
			continue
		}
		if len(samples) == MaxPageSamples {
			return nil, assay.Errorf(assay.CodeTooLarge, "the page holds more than %d samples", MaxPageSamples)
		}
		_, ts, v := p.Series()
		s := signal.Sample{Time: at.UnixMilli(), Value: v, Counter: kind == model.MetricTypeCounter}
		p.Labels(&s.Labels)
		s.Start = p.StartTimestamp() // reads ahead: after it, nothing of this sample may be asked
		if ts != nil {
			s.Time = *ts
		}
		if s.Start < 0 || s.Start >= s.Time {
			s.Start = 0
		}
		samples = append(samples, s)
	}
}
