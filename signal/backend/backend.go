// Package backend reads history from a running server that has the HTTP API of Prometheus.
//
// The mental model is a careful guest: it asks for one stretch of time after the other,
// waits before it asks again for what failed, and asks for less when an answer would be too
// large. Without a step it asks for the samples themselves, as they were scraped; with one
// it asks for a point at each step, which is less and no longer exact.
package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/loopback"
	"assay.dev/assay/internal/pause"
	"assay.dev/assay/signal"
	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	// MaxAnswer is the length of one answer, bytes.
	MaxAnswer = 32 << 20
	// MaxPiece and MinPiece are how long a stretch of time is asked for at once.
	MaxPiece = time.Hour
	MinPiece = time.Minute
	// stepsAtOnce is the same with a step, in steps.
	stepsAtOnce = 500
	// answerTime is how long one answer may take.
	answerTime = 2 * time.Minute
	// attempts is how often one stretch is asked for.
	attempts = 4
)

// Config is what is asked of whom.
type Config struct {
	URL        string        // of the server, for example https://prometheus.example
	Match      string        // a selector, for example {job="shop"}
	Start, End time.Time     // of the samples; End is exclusive
	Step       time.Duration // between two points; 0 for the samples as they are
	Token      string        // a bearer token; "" for none
	Transport  http.RoundTripper
	// Wait is what lies between two attempts; one second that doubles if 0.
	Wait time.Duration
}

// Backend is the samples of a server. It is a signal.History, and not safe for concurrent use.
type Backend struct {
	cfg   Config
	api   v1.API
	match string
	at    time.Time     // where the next stretch begins
	piece time.Duration // its length
	ready []signal.Sample
}

var _ signal.History = (*Backend)(nil)

// New returns the samples that cfg asks for; nothing is asked before Next. CodeInvalid for
// what cannot be asked.
func New(cfg Config) (*Backend, error) {
	u, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, assay.Errorf(assay.CodeInvalid, "backend %q is not an http or https URL", cfg.URL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, assay.Errorf(assay.CodeInvalid, "backend %q must not have a user, a query or a fragment; a token is given apart", u.Redacted())
	case cfg.Token != "" && u.Scheme == "http" && !loopback.Is(u.Hostname()):
		return nil, assay.Errorf(assay.CodeInvalid, "backend %q would receive the token unencrypted; use https", cfg.URL)
	case !cfg.Start.Before(cfg.End):
		return nil, assay.Errorf(assay.CodeInvalid, "the span %s to %s does not end after it starts", cfg.Start.UTC().Format(time.RFC3339), cfg.End.UTC().Format(time.RFC3339))
	case cfg.Step < 0 || cfg.Step%time.Second != 0 || cfg.Step > signal.Lookback:
		return nil, assay.Errorf(assay.CodeInvalid, "the step %s is not whole seconds up to %s; further apart no two points count together", cfg.Step, signal.Lookback)
	}
	match, err := selector(cfg.Match)
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Wait == 0 {
		cfg.Wait = time.Second
	}
	c, err := api.NewClient(api.Config{Address: u.String(), Client: &http.Client{
		Transport: guarded{cfg.Transport, cfg.Token}, Timeout: answerTime,
		// A redirect could carry the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}})
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "backend %q cannot be asked: %w", cfg.URL, err)
	}
	b := &Backend{cfg: cfg, api: v1.NewAPI(c), match: match, at: cfg.Start, piece: MaxPiece}
	if cfg.Step > 0 {
		b.at = cfg.Start.Add(cfg.Step - 1).Truncate(cfg.Step)
		b.piece = stepsAtOnce * cfg.Step
	}
	return b, nil
}

// selector is a selector as the server is asked for it.
func selector(text string) (string, error) {
	if len(text) > signal.MaxQuery {
		return "", assay.Errorf(assay.CodeTooLarge, "the selector has %d bytes; at most %d are allowed", len(text), signal.MaxQuery)
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return "", assay.Errorf(assay.CodeInvalid, "the selector %q is not PromQL: %w", text, err)
	}
	v, ok := expr.(*parser.VectorSelector)
	if !ok || v.OriginalOffset != 0 || v.OriginalOffsetExpr != nil || v.Timestamp != nil || v.StartOrEnd != 0 {
		e := assay.Errorf(assay.CodeInvalid, "%q is no plain selector", text)
		e.Hint = `name series as they are stored, for example http_requests_total{job="shop"}; no functions, ranges or offsets`
		return "", e
	}
	return v.String(), nil
}

// Close implements signal.History.
func (b *Backend) Close() error { return nil }

// Done is the share of the span that was asked for, 0 to 1.
func (b *Backend) Done() float64 {
	return min(max(float64(b.at.Sub(b.cfg.Start))/float64(b.cfg.End.Sub(b.cfg.Start)), 0), 1)
}

// Next implements signal.History.
func (b *Backend) Next(ctx context.Context) ([]signal.Sample, error) {
	for len(b.ready) == 0 {
		if !b.at.Before(b.cfg.End) {
			return nil, io.EOF
		}
		if err := b.fetch(ctx); err != nil {
			return nil, err
		}
	}
	n := min(len(b.ready), signal.MaxSamples/2) // a piece of all different series must fit a body
	out := b.ready[:n:n]
	b.ready = b.ready[n:]
	return out, nil
}

// fetch asks for the next stretch, for half of it if the answer would be too large, and
// again if there was none.
func (b *Backend) fetch(ctx context.Context) error {
	wait := b.cfg.Wait
	for try := 1; ; {
		end := b.at.Add(b.piece)
		if end.After(b.cfg.End) {
			end = b.cfg.End
		}
		m, err := b.ask(ctx, b.at, end)
		switch {
		case err == nil:
			b.ready, b.at = b.samples(m, b.at, end), end
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case tooMuch(err) && b.piece/2 >= max(MinPiece, b.cfg.Step):
			b.piece = max(b.piece/2, b.cfg.Step).Truncate(max(b.cfg.Step, time.Second))
			continue
		case !again(err) || try == attempts:
			e := assay.Errorf(assay.CodeUnavailable, "the backend gives no samples of %s to %s: %w", b.at.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339), err)
			e.Hint = "nothing was imported; the same import may be begun again"
			return e
		}
		if !pause.For(ctx, wait) {
			return ctx.Err()
		}
		wait, try = 2*wait, try+1
	}
}

// ask is one question. A range selects from its start on, or only after it, depending on
// the server's version: it is asked from a millisecond before on.
func (b *Backend) ask(ctx context.Context, start, end time.Time) (model.Matrix, error) {
	var v model.Value
	var err error
	if b.cfg.Step > 0 {
		v, _, err = b.api.QueryRange(ctx, b.match, v1.Range{Start: start, End: end.Add(-time.Millisecond), Step: b.cfg.Step})
	} else {
		v, _, err = b.api.Query(ctx, fmt.Sprintf("%s[%dms]", b.match, end.Sub(start).Milliseconds()), end.Add(-time.Millisecond))
	}
	if err != nil {
		return nil, err
	}
	m, ok := v.(model.Matrix)
	if !ok {
		return nil, &v1.Error{Type: v1.ErrBadResponse, Msg: "the answer is no matrix"}
	}
	return m, nil
}

// samples are those of an answer, within the stretch.
func (b *Backend) samples(m model.Matrix, start, end time.Time) (out []signal.Sample) {
	inside := func(t model.Time) bool { return int64(t) >= start.UnixMilli() && int64(t) < end.UnixMilli() }
	for _, s := range m {
		pairs := make([]string, 0, 2*len(s.Metric))
		for name, value := range s.Metric {
			pairs = append(pairs, string(name), string(value))
		}
		ls := labels.FromStrings(pairs...)
		for _, p := range s.Values {
			if inside(p.Timestamp) {
				out = append(out, signal.Sample{Labels: ls, Time: int64(p.Timestamp), Value: float64(p.Value)})
			}
		}
		for _, p := range s.Histograms { // that it was there is told; what it holds cannot be imported
			if inside(p.Timestamp) {
				out = append(out, signal.Sample{Labels: ls, Time: int64(p.Timestamp), FH: &histogram.FloatHistogram{}})
			}
		}
	}
	slices.SortStableFunc(out, func(x, y signal.Sample) int {
		return cmp.Compare(x.Labels.Get(model.MetricNameLabel), y.Labels.Get(model.MetricNameLabel))
	})
	return out
}

// errAnswer is that an answer is longer than MaxAnswer.
var errAnswer = fmt.Errorf("the answer has more than %d bytes", MaxAnswer)

// tooMuch reports whether less should be asked for.
func tooMuch(err error) bool {
	e, ok := errors.AsType[*v1.Error](err)
	return errors.Is(err, errAnswer) || ok && (e.Type == v1.ErrExec || e.Type == v1.ErrTimeout)
}

// again reports whether the same may be asked for later.
func again(err error) bool {
	e, ok := errors.AsType[*v1.Error](err)
	return !ok && !errors.Is(err, errAnswer) || ok && (e.Type == v1.ErrServer || e.Type == v1.ErrTimeout || e.Type == v1.ErrCanceled)
}

// guarded adds the token and bounds answers.
type guarded struct {
	http.RoundTripper
	token string
}

// RoundTrip implements http.RoundTripper.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+g.token)
	}
	resp, err := g.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &bounded{ReadCloser: resp.Body, left: MaxAnswer}
	}
	return resp, err
}

// bounded is a body that fails beyond a length instead of ending there.
type bounded struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errAnswer
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
