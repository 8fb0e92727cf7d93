// Package proxy acts on the embedded proxy through its control API: it asks for a
// share or a lever, and reads the proxy's status until it stands so.
//
// The proxy itself holds the fence, the keys and the state on disk, so the adapter
// keeps nothing and may be lost at any moment.
package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/enforce"
	"assay.dev/assay/internal/strict"
)

// MaxAnswer is the largest answer of a control API that is read, in bytes.
const MaxAnswer = 32 << 20

// Defaults of Options.
const (
	DefaultTimeout  = 5 * time.Second
	DefaultReadBack = 20 * time.Millisecond
)

// Options say which proxy, and how patient to be with it.
type Options struct {
	URL      string        // of the control API, "http://127.0.0.1:7071"
	Token    string        // its bearer token
	Timeout  time.Duration // for a question, and for an action with its read-back; 0 is DefaultTimeout
	ReadBack time.Duration // between two looks; 0 is DefaultReadBack
	Client   *http.Client  // nil is one that follows no redirect
}

// Client speaks to the control API of one proxy. It implements act.Actuator and
// is safe for concurrent use.
type Client struct {
	base     string
	token    string
	timeout  time.Duration
	readBack time.Duration
	http     *http.Client
}

// New makes a Client. Nothing is sent yet.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, assay.Errorf(assay.CodeInvalid, "the proxy's control address %q is not of the form http://host:port", o.URL)
	}
	c := &Client{base: strings.TrimSuffix(o.URL, "/"), token: o.Token, timeout: o.Timeout, readBack: o.ReadBack, http: o.Client}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.readBack == 0 {
		c.readBack = DefaultReadBack
	}
	if c.http == nil {
		c.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return c, nil
}

// Class implements act.Actuator.
func (c *Client) Class() act.Class { return act.Fenced }

// Apply implements act.Actuator, for levers too. A service with several routes is
// refused: they could only be changed one after the other.
func (c *Client) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	if a.Lever != "" && a.Lever != assay.LeverShare {
		return c.pull(ctx, a)
	}
	if err := act.Check(a); err != nil {
		return act.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	route, err := c.route(ctx, a.Service)
	if err != nil {
		return act.Receipt{}, err
	}
	var answer enforce.Answer
	err = c.call(ctx, http.MethodPut, "/v1/routes/"+url.PathEscape(route.Name)+"/share",
		enforce.Shift{Version: a.Version, From: a.From, Weight: a.Weight, Generation: a.Fence, Key: a.Key}, &answer)
	if err != nil {
		return act.Receipt{}, err
	}
	r := act.Receipt{
		Key: answer.Receipt.Key, Time: answer.Receipt.Time, Observed: answer.Receipt.Percent, Changed: answer.Receipt.Changed,
		Detail: fmt.Sprintf("route %s gives %s %d %%, revision %s", answer.Receipt.Route, answer.Receipt.Version, answer.Receipt.Percent, answer.Receipt.Revision.Short()),
	}
	if answer.Replayed {
		return r, nil // the world may have gone on since; the first answer stands
	}
	return r, c.awaitShare(ctx, a, answer.Receipt)
}

// awaitShare looks until the share is there. Another owner or a later action may
// have moved on in between: then the receipt's revision was active all the same.
func (c *Client) awaitShare(ctx context.Context, a assay.Action, r enforce.Receipt) error {
	for {
		route, err := c.route(ctx, a.Service)
		if err != nil {
			return unread(err)
		}
		for _, v := range route.Versions {
			if v.Name == a.Version && (v.Percent == a.Weight || route.Generation > r.Generation) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			e := assay.Errorf(assay.CodeUnavailable, "version %s was not seen at %d %% of service %s within %s", a.Version, a.Weight, a.Service, c.timeout)
			e.Hint = "repeat with the same key"
			return e
		case <-time.After(c.readBack):
		}
	}
}

// unread says of an action that the proxy took that reading back failed, even if the
// route is gone by now: that is no refusal, and the action may have had its effect.
func unread(err error) error {
	e := assay.Errorf(assay.CodeUnavailable, "the proxy took the action and what came of it cannot be read: %v", err)
	e.Hint = "repeat with the same key"
	return e
}

// Observe implements act.Actuator.
func (c *Client) Observe(ctx context.Context, service string) (act.Observation, error) {
	status, err := c.StatusOf(ctx, service)
	if err != nil {
		return act.Observation{}, err
	}
	route, err := routeOf(status, service)
	if err != nil {
		return act.Observation{}, err
	}
	o := act.Observation{Generation: route.Generation, Shares: map[string]int{}, Time: status.Time}
	for _, v := range route.Versions {
		o.Shares[v.Name] = v.Percent
	}
	return o, nil
}

// Status reads what the proxy says about itself.
func (c *Client) Status(ctx context.Context) (s enforce.Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// StatusOf reads the status of one service's routes: what an action needs, however many
// routes the proxy has. A proxy that does not know the question answers with all of them.
func (c *Client) StatusOf(ctx context.Context, service string) (s enforce.Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/v1/status?service="+url.QueryEscape(service), nil, &s)
}

// Config reads the proxy's active configuration.
func (c *Client) Config(ctx context.Context) (conf enforce.Config, err error) {
	return conf, c.call(ctx, http.MethodGet, "/v1/config", nil, &conf)
}

// Replace hands the proxy another configuration; enforce.State.Replace says what
// it refuses. It may be repeated with the same key.
func (c *Client) Replace(ctx context.Context, r enforce.Replacement) (a enforce.Answer, err error) {
	return a, c.call(ctx, http.MethodPut, "/v1/config", r, &a)
}

func (c *Client) route(ctx context.Context, service string) (enforce.RouteStatus, error) {
	status, err := c.StatusOf(ctx, service)
	if err != nil {
		return enforce.RouteStatus{}, err
	}
	return routeOf(status, service)
}

// routeOf finds the one route of a service.
func routeOf(s enforce.Status, service string) (out enforce.RouteStatus, err error) {
	found := 0
	for _, r := range s.Routes {
		if r.Service == service {
			out = r
			found++
		}
	}
	switch found {
	case 1:
		return out, nil
	case 0:
		return out, assay.Errorf(assay.CodeNotFound, "the proxy has no route of service %q", service)
	}
	return out, assay.Errorf(assay.CodeConflict, "the proxy has %d routes of service %q; an action moves one", found, service)
}

// call makes one request of the control API.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return assay.Errorf(assay.CodeInvalid, "the request cannot be written: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "%w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		e := assay.Errorf(assay.CodeUnavailable, "the proxy's control API cannot be reached: %w", err)
		e.Hint = "repeat with the same key"
		return e
	}
	defer res.Body.Close()
	data, err := strict.Bounded(res.Body, MaxAnswer, "the proxy's answer")
	if err != nil {
		return errors.Join(assay.Errorf(assay.CodeUnavailable, "the proxy's answer broke off"), err)
	}
	if res.StatusCode != http.StatusOK {
		return refusal(res, data)
	}
	if err := json.Unmarshal(data, out); err != nil { // lenient: a newer proxy may say more
		return assay.Errorf(assay.CodeUnavailable, "the proxy's answer cannot be read: %w", err)
	}
	return nil
}

// refusal turns an answer that is not 200 into an error of the same code.
func refusal(res *http.Response, data []byte) error {
	var p enforce.Problem
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(data, &p) != nil || p.Code == "" {
		return assay.Errorf(assay.CodeUnavailable, "the proxy's control API answered %s", res.Status)
	}
	e := assay.Errorf(p.Code, "the proxy refuses: %s", p.Detail)
	if p.Owner > 0 {
		e.Err = &act.Deposed{Owner: p.Owner}
	}
	return e
}
