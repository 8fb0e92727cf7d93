// Package alertmanager hands alerts to whatever takes them as Prometheus Alertmanager
// does: POST /api/v2/alerts. Routing, grouping, silences and pagers are its business.
package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/loopback"
	"assay.dev/assay/notify"
)

const (
	// path is where Alertmanager takes alerts.
	path = "/api/v2/alerts"
	// timeout bounds one request with its answer.
	timeout = 10 * time.Second
	// hold is how long an alert without an end stands there unless it is told again.
	hold = 4 * notify.DefaultAgain
	// maxAnswer is how much of a refusal is read, in bytes.
	maxAnswer = 1 << 10
)

// Client implements notify.Sender.
type Client struct {
	url, token string
	http       *http.Client
	now        func() time.Time
}

// New returns a client for the server at address, http:// or https://, below which
// Alertmanager's API lies. With a token, which is sent as a bearer's, the address must
// be one of this machine or https.
func New(address, token string, now func() time.Time) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, &assay.Error{Code: assay.CodeInvalid, Field: "notify", Msg: "is not an address such as http://alertmanager:9093"}
	}
	if u.User != nil {
		return nil, &assay.Error{Code: assay.CodeInvalid, Field: "notify", Msg: "holds a password, which addresses do not keep secret", Hint: "give a bearer token in ASSAY_NOTIFY_TOKEN"}
	}
	if token != "" && u.Scheme != "https" && !loopback.Is(u.Hostname()) {
		return nil, &assay.Error{Code: assay.CodeInvalid, Field: "notify", Msg: "is plain HTTP to another machine, and would show the token to everybody on the way", Hint: "use https://, or leave the token out"}
	}
	return &Client{url: strings.TrimSuffix(u.String(), "/") + path, token: token, now: now, http: &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // no token leaves for elsewhere
	}}, nil
}

// posted is an alert as Alertmanager's API has it.
type posted struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Send implements notify.Sender.
func (c *Client) Send(ctx context.Context, alerts []notify.Alert) error {
	list := make([]posted, 0, len(alerts))
	for _, a := range alerts {
		p := posted{a.Labels, a.Annotations, a.Starts.UTC(), a.Ends.UTC()}
		if a.Ends.IsZero() {
			p.EndsAt = c.now().UTC().Add(hold)
		}
		list = append(list, p)
	}
	body, err := json.Marshal(list)
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "alerts cannot be encoded: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return assay.Errorf(assay.CodeUnavailable, "nobody takes alerts: %w", err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // for the message alone
	switch s := resp.StatusCode; {
	case s/100 == 2:
		return nil
	case s == http.StatusBadRequest || s == http.StatusRequestEntityTooLarge || s == http.StatusUnprocessableEntity:
		return assay.Errorf(assay.CodeInvalid, "%s answers %d: %q", c.url, s, said)
	default:
		return assay.Errorf(assay.CodeUnavailable, "%s answers %d: %q", c.url, s, said)
	}
}
