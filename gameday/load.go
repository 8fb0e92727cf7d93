package gameday

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"assay.dev/assay"
)

// LoadConfig says how much load there is to be and of which kind.
type LoadConfig struct {
	Target string  // "http://host:port" of the shop
	Rate   float64 // requests per second to aim at
	Seed   uint64  // of arrivals and of what is asked for
	// InFlight bounds the requests under way; more are not sent, and counted as
	// shed. 0 is DefaultInFlight.
	InFlight int
	// Trial is how long each rate is tried before one is chosen; 0 is DefaultTrial.
	Trial time.Duration
	// Every is the time between two reports; 0 is a second.
	Every time.Duration
	// Share is the part of the rate that is sent now, above 0 and up to 1: a night has
	// less. It is asked at each report; nil is all of it.
	Share func() float64
}

// Defaults of a LoadConfig.
const (
	DefaultInFlight = 512
	DefaultTrial    = 1500 * time.Millisecond
)

// tailBearable is the 99th percentile above which a machine does not bear a rate:
// pages take 3 to 35 ms.
const tailBearable = 150 * time.Millisecond

// A rate that was not borne twice in a row is lowered, one that was borne five
// times in a row is raised again, up to what was aimed at.
const (
	lowerAfter = 2
	raiseAfter = 5
)

// LoadReport is what happened since the report before.
type LoadReport struct {
	Found    bool    `json:"found"`    // it is of the trial whose rate is kept to from now on
	Settled  bool    `json:"settled"`  // the rate is found; before, rates are being tried
	Aim      float64 `json:"aim"`      // requests per second that were aimed at
	Rate     float64 `json:"rate"`     // that were sent
	Seconds  float64 `json:"seconds"`  // that the report covers
	Sent     uint64  `json:"sent"`     // requests
	Failed   uint64  `json:"failed"`   // of them, answered 5xx or not at all
	Shed     uint64  `json:"shed"`     // not sent, because too many were under way
	InFlight int64   `json:"inflight"` // under way now
	P50MS    float64 `json:"p50_ms"`
	P99MS    float64 `json:"p99_ms"`
}

// bearable reports whether the machine kept up.
func (r LoadReport) bearable() bool {
	return r.Shed == 0 && r.Rate >= 0.95*r.Aim && r.P99MS < float64(tailBearable.Milliseconds())
}

// Load sends requests to a shop until ctx ends: an open loop, in which requests
// arrive by chance at a steady rate (a Poisson process) whether or not earlier
// ones were answered. It first finds a rate that the machine bears, the highest of
// Rate and the shares of it in trials, and then keeps to it for as long as the
// machine does. Each report is one line of JSON on out.
func Load(ctx context.Context, c LoadConfig, out io.Writer) error {
	if !(c.Rate >= 1 && c.Rate <= 1e6) { // not a number is none
		return assay.Errorf(assay.CodeInvalid, "rate %v is not between 1 and 1000000 requests per second", c.Rate)
	}
	if c.InFlight == 0 {
		c.InFlight = DefaultInFlight
	}
	if c.Trial == 0 {
		c.Trial = DefaultTrial
	}
	if c.Every == 0 {
		c.Every = time.Second
	}
	if c.Share == nil {
		c.Share = func() float64 { return 1 }
	}
	g := newGenerator(c)
	defer g.client.CloseIdleConnections()
	enc := json.NewEncoder(out)
	p, err := g.search(ctx, enc)
	for err == nil && ctx.Err() == nil {
		part := c.Share()
		r := g.send(ctx, c.Rate*trials[p.trial]*part, c.Every)
		r.Settled = true
		if part == 1 { // a night says nothing of what the machine bears by day
			p = p.next(r.bearable())
		}
		if ctx.Err() == nil {
			err = enc.Encode(r)
		}
	}
	g.group.Wait()
	return err
}

// trials are the shares of the rate aimed at that are tried, highest first.
var trials = []float64{1, 0.75, 0.5, 0.35, 0.25}

// pace is the rate that is kept to, and how it has been borne.
type pace struct {
	trial      int // index into trials
	good, poor int // reports in a row
}

// next is the pace after a report.
func (p pace) next(borne bool) pace {
	if borne {
		p.good, p.poor = p.good+1, 0
	} else {
		p.good, p.poor = 0, p.poor+1
	}
	switch {
	case p.poor == lowerAfter && p.trial < len(trials)-1:
		return pace{trial: p.trial + 1}
	case p.good == raiseAfter && p.trial > 0:
		return pace{trial: p.trial - 1}
	}
	return p
}

// generator sends requests.
type generator struct {
	conf   LoadConfig
	client *http.Client
	draw   *rand.Rand
	group  sync.WaitGroup
	flying atomic.Int64

	mu     sync.Mutex
	failed uint64
	times  []time.Duration
}

func newGenerator(c LoadConfig) *generator {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return &generator{
		conf: c, draw: rand.New(rand.NewPCG(c.Seed, 0x10ad)),
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: c.InFlight, MaxIdleConns: c.InFlight,
			DisableCompression: true, IdleConnTimeout: time.Minute,
		}},
	}
}

// search tries rates and returns the first that the machine bears, the lowest if
// it bears none. The first trial is preceded by one that opens connections.
func (g *generator) search(ctx context.Context, enc *json.Encoder) (p pace, err error) {
	g.send(ctx, g.conf.Rate/2, g.conf.Trial/3)
	for i := range trials {
		p.trial = i
		r := g.send(ctx, g.conf.Rate*trials[i], g.conf.Trial)
		r.Found = r.bearable()
		if err := enc.Encode(r); err != nil {
			return p, err
		}
		if r.Found || ctx.Err() != nil {
			break
		}
	}
	return p, nil
}

// send sends requests at a rate for a while and reports on them.
func (g *generator) send(ctx context.Context, rate float64, d time.Duration) LoadReport {
	r := LoadReport{Aim: rate}
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	next := began
	for {
		now := time.Now()
		for !next.After(now) && next.Sub(began) < d {
			if g.flying.Load() < int64(g.conf.InFlight) {
				r.Sent++
				g.dispatch(ctx)
			} else {
				r.Shed++
			}
			next = next.Add(time.Duration(g.draw.ExpFloat64() / rate * float64(time.Second)))
		}
		if next.Sub(began) >= d {
			break
		}
		timer.Reset(time.Until(next))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return g.report(r, time.Since(began))
		}
	}
	return g.report(r, max(time.Since(began), d))
}

func (g *generator) report(r LoadReport, took time.Duration) LoadReport {
	g.mu.Lock()
	times := g.times
	r.Failed = g.failed
	g.times, g.failed = make([]time.Duration, 0, len(times)), 0
	g.mu.Unlock()
	r.Seconds, r.InFlight = took.Seconds(), g.flying.Load()
	r.Rate = float64(r.Sent) / r.Seconds
	if len(times) > 0 {
		slices.Sort(times)
		ms := func(q float64) float64 {
			return float64(times[min(len(times)-1, int(q*float64(len(times))))].Microseconds()) / 1000
		}
		r.P50MS, r.P99MS = ms(0.50), ms(0.99)
	}
	return r
}

// dispatch sends one request without waiting for its answer.
func (g *generator) dispatch(ctx context.Context) {
	method, path := g.choose()
	g.flying.Add(1)
	g.group.Go(func() {
		defer g.flying.Add(-1)
		began := time.Now()
		ok, counts := g.ask(ctx, method, path)
		took := time.Since(began)
		if !counts {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.times = append(g.times, took)
		if !ok {
			g.failed++
		}
	})
}

// choose draws what a customer does next: most look at the list, few order.
func (g *generator) choose() (method, path string) {
	u, item := g.draw.Float64(), 1+g.draw.IntN(8)
	switch {
	case u < 0.55:
		return http.MethodGet, "/items"
	case u < 0.93:
		return http.MethodGet, fmt.Sprintf("/items/%d", item)
	case u < 0.998:
		return http.MethodPost, fmt.Sprintf("/cart/%d", item)
	}
	return http.MethodPost, fmt.Sprintf("/orders/%d", item)
}

// ask makes one request. A request that ends because the load does counts for nothing.
func (g *generator) ask(ctx context.Context, method, path string) (ok, counts bool) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, g.conf.Target+path, nil)
	if err != nil {
		return false, true
	}
	res, err := g.client.Do(req)
	if err != nil {
		return false, ctx.Err() == nil
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return false, ctx.Err() == nil
	}
	return res.StatusCode < 500, true
}
