package webhook

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/internal/loopback"
	"assay.dev/assay/internal/pause"
)

// Limits of a receiver.
const (
	// MaxAnswer is the largest answer that is read, in bytes.
	MaxAnswer = 1 << 20
	// MaxLevers is how many levers of one service a receiver may list.
	MaxLevers = 500
	// MaxTimeout is the longest that one action may take: strategies wait no longer, and
	// ask again at their next look.
	MaxTimeout = 10 * time.Second
)

// Defaults of Options.
const (
	DefaultTimeout  = 5 * time.Second
	DefaultReadBack = 200 * time.Millisecond
	DefaultAttempts = 3
)

// Options say where the receiver is and how patient to be with it.
type Options struct {
	URL      string        // "https://platform.example/assay/levers"; http only on a loopback address, unless Insecure
	Token    func() string // bearer token, read anew for each request so that it can be rotated; nil sends none
	Roots    *x509.CertPool
	Insecure bool          // allow http to elsewhere: the token and the levers are then anybody's on the way
	Timeout  time.Duration // for one action with its repetitions and its read-back; 0 is DefaultTimeout
	ReadBack time.Duration // between two looks, and the first pause before a repetition; 0 is DefaultReadBack
	Attempts int           // of one request that cannot be answered; 0 is DefaultAttempts
	// Levers are those that the receiver may be asked about; none allows all. What is
	// not among them is not seen and not moved.
	Levers []assay.Lever
	// Services are those that the receiver may be asked about; none allows all.
	Services []string
	// Class is what the receiver promises; "" is act.Fenced. A receiver that looks at
	// no fence must not claim it.
	Class  act.Class
	Client *http.Client // nil makes one of Roots that follows no redirect
}

// Client moves levers through one receiver. It implements act.Actuator and act.Levers
// and is safe for concurrent use.
type Client struct {
	o    Options
	url  *url.URL
	http *http.Client
}

// New makes a Client. Nothing is sent yet.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "":
		return nil, assay.Errorf(assay.CodeInvalid, "the receiver's address %q is not of the form https://host/path", o.URL)
	case u.Scheme == "http" && !loopback.Is(u.Hostname()) && !o.Insecure:
		return nil, &assay.Error{Code: assay.CodeInvalid, Msg: "the receiver " + u.Host + " is asked over http, and its token would be anybody's on the way", Hint: "use https, or say insecure: true"}
	case o.Timeout < 0 || o.Timeout > MaxTimeout:
		return nil, assay.Errorf(assay.CodeInvalid, "a timeout of %s is not within %s", o.Timeout, MaxTimeout)
	case !slices.Contains([]act.Class{"", act.Fenced, act.Idempotent, act.AtMostOnce}, o.Class):
		return nil, assay.Errorf(assay.CodeInvalid, "%q is no class of a door; expected %s, %s or %s", o.Class, act.Fenced, act.Idempotent, act.AtMostOnce)
	}
	o.Timeout, o.ReadBack = cmp.Or(o.Timeout, DefaultTimeout), cmp.Or(o.ReadBack, DefaultReadBack)
	o.Attempts, o.Class = cmp.Or(o.Attempts, DefaultAttempts), cmp.Or(o.Class, act.Fenced)
	c := &Client{o: o, url: u, http: o.Client}
	if c.http == nil {
		c.http = &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a redirect could take the token elsewhere
		}
	}
	return c, nil
}

// Class implements act.Actuator.
func (c *Client) Class() act.Class { return c.o.Class }

// Apply implements act.Actuator for levers other than shares.
func (c *Client) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	if err := act.CheckLever(a); err != nil {
		return act.Receipt{}, err
	}
	if err := c.serves(a.Service); err != nil {
		return act.Receipt{}, err
	}
	if !c.moves(a.Lever) {
		return act.Receipt{}, assay.Errorf(assay.CodeNotFound, "this door does not move %s", a.Lever)
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	desired := Desired{Service: a.Service, Lever: a.Lever, Scope: a.Scope, Now: a.Now, Want: a.Want, Fence: a.Fence, Key: a.Key}
	var done Done
	if err := c.again(ctx, func() error { return c.put(ctx, desired, &done) }); err != nil {
		return act.Receipt{}, err
	}
	r := act.Receipt{Key: done.Key, Time: done.Time.UTC(), Stands: done.Value, Changed: done.Changed, Detail: done.Detail}
	if r.Detail == "" {
		r.Detail = fmt.Sprintf("the receiver has %s of %s at %v", a.Target(), a.Service, done.Value)
	}
	if done.Replayed {
		return r, nil // the world may have gone on since; the first answer stands
	}
	return r, c.await(ctx, a)
}

// await looks until the lever stands as wanted, or a newer owner has moved on. The
// receiver took the action before: whatever it answers to a look is no refusal of it.
func (c *Client) await(ctx context.Context, a assay.Action) error {
	unseen := again(assay.Errorf(assay.CodeUnavailable, "%s of service %s was not seen at %v within %s", a.Target(), a.Service, a.Want, c.o.Timeout))
	for {
		var seen Standing
		err := c.get(ctx, a.Service, &seen)
		switch {
		case err == nil && (stands(seen.Levers, a) || seen.Fence > a.Fence):
			return nil
		case err != nil && assay.CodeOf(err) != assay.CodeUnavailable:
			return again(assay.Errorf(assay.CodeUnavailable, "the receiver took the action and cannot be asked where %s of service %s stands: %v", a.Target(), a.Service, err))
		case !pause.For(ctx, c.o.ReadBack):
			return unseen
		}
	}
}

// stands reports whether the action's lever is where it should be. A scope that is not
// listed stands where all that are not do, see act.AnyScope.
func stands(list []act.LeverAt, a assay.Action) bool {
	at := func(scope string) int {
		return slices.IndexFunc(list, func(l act.LeverAt) bool { return l.Lever == a.Lever && l.Scope == scope })
	}
	i := at(a.Scope)
	if i < 0 {
		i = at(act.AnyScope)
	}
	return i >= 0 && list[i].Value == a.Want
}

// Levers implements act.Levers.
func (c *Client) Levers(ctx context.Context, service string) ([]act.LeverAt, error) {
	if err := c.serves(service); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	var seen Standing
	if err := c.again(ctx, func() error { return c.get(ctx, service, &seen) }); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(seen.Levers, func(l act.LeverAt) bool { return !c.moves(l.Lever) }), nil
}

// Observe implements act.Actuator: shares of versions are not this door's.
func (c *Client) Observe(ctx context.Context, service string) (act.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	var seen Standing
	err := c.again(ctx, func() error { return c.get(ctx, service, &seen) })
	return act.Observation{Generation: seen.Fence, Shares: map[string]int{}, Time: seen.Time.UTC()}, err
}

func (c *Client) serves(service string) error {
	if len(c.o.Services) == 0 || slices.Contains(c.o.Services, service) {
		return nil
	}
	return assay.Errorf(assay.CodeNotFound, "this door is not for service %q", service)
}

func (c *Client) moves(l assay.Lever) bool {
	return len(c.o.Levers) == 0 || slices.Contains(c.o.Levers, l)
}

// again repeats a request that says nothing about the world, a few times.
func (c *Client) again(ctx context.Context, request func() error) error {
	wait := c.o.ReadBack
	for n := 1; ; n++ {
		err := request()
		if err == nil || assay.CodeOf(err) != assay.CodeUnavailable || n >= c.o.Attempts || !pause.For(ctx, wait) {
			return err
		}
		wait *= 2
	}
}
