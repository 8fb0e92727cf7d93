package gameday

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"assay.dev/assay"
	"github.com/cenkalti/backoff/v5"
)

// CallerConfig says what a caller asks for, how often, and how it tries again.
type CallerConfig struct {
	Target   string        // URL that requests are POSTed to
	Host     string        // that they name; "" is the target's
	Class    string        // in the header X-Class; "" sends none
	Rate     float64       // requests a second, arriving by chance
	Seed     uint64        // of arrivals
	Tries    uint          // attempts of one request at most
	Timeout  time.Duration // of one attempt
	Deadline time.Duration // of a request with all its attempts
	Budget   float64       // retries for each request, on average; 0 is no bound
}

// CallReport is what a caller counted since it began.
type CallReport struct {
	Requests uint64 `json:"requests"` // that came to an end
	Attempts uint64 `json:"attempts"` // of them
	Served   uint64 `json:"served"`   // requests
	Held     uint64 `json:"held"`     // attempts that a lever of the proxy held
	Spared   uint64 `json:"spared"`   // retries that the budget had none left for
}

// minus is what was counted since an earlier report.
func (r CallReport) minus(e CallReport) CallReport {
	return CallReport{r.Requests - e.Requests, r.Attempts - e.Attempts, r.Served - e.Served, r.Held - e.Held, r.Spared - e.Spared}
}

func (r CallReport) plus(o CallReport) CallReport {
	return CallReport{r.Requests + o.Requests, r.Attempts + o.Attempts, r.Served + o.Served, r.Held + o.Held, r.Spared + o.Spared}
}

// amplification is how many attempts there are to a request, 0 without one.
func (r CallReport) amplification() float64 {
	if r.Requests == 0 {
		return 0
	}
	return float64(r.Attempts) / float64(r.Requests)
}

// served is the share of requests that were answered in the end, 1 without one.
func (r CallReport) served() float64 {
	if r.Requests == 0 {
		return 1
	}
	return float64(r.Served) / float64(r.Requests)
}

// Caller sends requests until ctx ends, in the open: none waits for another. What fails is
// tried again as callers do it, by a library for that (cenkalti/backoff): with waits that
// grow and vary, no sooner than an answer's Retry-After says, and not at all when that is
// beyond the deadline. It reports four times a second, one line of JSON each.
func Caller(ctx context.Context, c CallerConfig, out io.Writer) error {
	if !(c.Rate >= 0.1 && c.Rate <= 1e5) || c.Tries < 1 || c.Timeout <= 0 || c.Deadline <= 0 || !(c.Budget >= 0) { // not a number is none
		return assay.Errorf(assay.CodeInvalid, "rate %v, tries %d, timeout %s, deadline %s, budget %v: expected a rate from 0.1 to 100000 requests per second, one try at least, and positive times", c.Rate, c.Tries, c.Timeout, c.Deadline, c.Budget)
	}
	k := &caller{conf: c, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}}
	defer k.client.CloseIdleConnections()
	k.group.Go(func() { k.arrive(ctx) })
	tick, enc := time.NewTicker(250*time.Millisecond), json.NewEncoder(out)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.group.Wait()
			return nil
		case <-tick.C:
		}
		k.mu.Lock()
		now := k.counts
		k.mu.Unlock()
		if err := enc.Encode(now); err != nil {
			return err
		}
	}
}

// caller is one that calls.
type caller struct {
	conf   CallerConfig
	client *http.Client
	group  sync.WaitGroup

	mu     sync.Mutex
	counts CallReport
	purse  float64 // retries that the budget has left
}

// arrive begins requests until ctx ends.
func (k *caller) arrive(ctx context.Context) {
	draw := rand.New(rand.NewPCG(k.conf.Seed, 0xca11))
	for next := time.Now(); pause(ctx, time.Until(next)) == nil; {
		k.group.Go(func() { k.request(ctx) })
		next = next.Add(time.Duration(draw.ExpFloat64() / k.conf.Rate * float64(time.Second)))
	}
}

// fullPurse is how many retries a budget saves up at most.
const fullPurse = 10

// request makes one request with its attempts, and counts it unless the caller ends.
func (k *caller) request(ctx context.Context) {
	k.mu.Lock()
	k.purse = min(k.purse+k.conf.Budget, fullPurse)
	k.mu.Unlock()
	var mine CallReport
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 25*time.Millisecond, k.conf.Timeout
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		if mine.Attempts > 0 && !k.afford() {
			mine.Spared++
			return struct{}{}, backoff.Permanent(errSpared)
		}
		mine.Attempts++
		held, err := k.attempt(ctx)
		if held {
			mine.Held++
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(k.conf.Tries), backoff.WithMaxElapsedTime(k.conf.Deadline))
	if ctx.Err() != nil {
		return
	}
	if mine.Requests = 1; err == nil {
		mine.Served = 1
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counts = k.counts.plus(mine)
}

// errSpared is why a request is given up that its budget has no retry for.
var errSpared = assay.Errorf(assay.CodeUnavailable, "there are no retries left")

// afford takes a retry from the budget.
func (k *caller) afford() bool {
	if k.conf.Budget == 0 {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.purse < 1 {
		return false
	}
	k.purse--
	return true
}

// attempt tries once. held is that a lever of the proxy held it.
func (k *caller) attempt(ctx context.Context) (held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.conf.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.conf.Target, nil)
	if err != nil {
		return false, backoff.Permanent(err)
	}
	if k.conf.Host != "" {
		req.Host = k.conf.Host
	}
	if k.conf.Class != "" {
		req.Header.Set("X-Class", k.conf.Class)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return false, err
	}
	held = res.Header.Get("Assay-Reason") != ""
	if res.StatusCode < http.StatusInternalServerError && res.StatusCode != http.StatusTooManyRequests {
		return held, nil
	}
	if after, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		return held, backoff.RetryAfter(after)
	}
	return held, fmt.Errorf("answered %d", res.StatusCode)
}
