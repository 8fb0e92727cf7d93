package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/internal/strict"
)

// Headers of a PUT: the same as in its body, for those who look at headers alone.
const (
	headerKey   = "Idempotency-Key"
	headerFence = "Assay-Fence"
)

// Desired is the body of a PUT: where one lever of one service shall stand.
type Desired struct {
	Service string      `json:"service"`
	Lever   assay.Lever `json:"lever"`
	Scope   string      `json:"scope,omitempty"`
	Now     float64     `json:"now"`   // where it is believed to stand
	Want    float64     `json:"want"`  // in the lever's unit
	Fence   uint64      `json:"fence"` // generation of the owner, from 1
	Key     string      `json:"key"`   // the same key is done once
}

// Done is the answer to a PUT that was taken.
type Done struct {
	Key      string    `json:"key"`
	Value    float64   `json:"value"`              // where it stands, or will once it is carried out
	Changed  bool      `json:"changed"`            // false: it stood so already
	Replayed bool      `json:"replayed,omitempty"` // the key was answered before; this is that answer
	Time     time.Time `json:"time"`
	Detail   string    `json:"detail,omitempty"` // for people
}

// Standing is the answer to a GET: where the levers of a service stand.
type Standing struct {
	Levers []act.LeverAt `json:"levers"`
	Fence  uint64        `json:"fence"` // of the owner that acted last, 0 for none
	Time   time.Time     `json:"time"`
}

// Refused is the body of an answer that is not 2xx. Code is one of fence, stale, key,
// unknown, denied and invalid; anything else is read as its HTTP status says.
type Refused struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Fence  uint64 `json:"fence,omitempty"` // with code fence: the owner that acted last
}

// refusals are the codes of a receiver in the words of act.Actuator.
var refusals = map[string]assay.Code{
	"fence": assay.CodeConflict, "stale": assay.CodeConflict, "key": assay.CodeConflict,
	"unknown": assay.CodeNotFound, "denied": assay.CodeDenied, "invalid": assay.CodeInvalid,
}

// statuses are what a status means where the body does not say it.
var statuses = map[int]assay.Code{
	http.StatusBadRequest: assay.CodeInvalid, http.StatusUnprocessableEntity: assay.CodeInvalid, http.StatusNotFound: assay.CodeNotFound,
	http.StatusConflict: assay.CodeConflict, http.StatusPreconditionFailed: assay.CodeConflict,
	http.StatusForbidden: assay.CodeDenied, http.StatusUnauthorized: assay.CodeDenied,
}

// ParseStanding reads the answer to a GET. Unknown fields are allowed: a receiver may
// say more. CodeUnavailable for what is no such answer, CodeTooLarge above the limits.
func ParseStanding(data []byte) (Standing, error) {
	var s Standing
	if len(data) > MaxAnswer {
		return s, assay.Errorf(assay.CodeTooLarge, "the receiver's answer has %d bytes; the limit is %d", len(data), MaxAnswer)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return Standing{}, assay.Errorf(assay.CodeUnavailable, "the receiver's answer cannot be read: %w", err)
	}
	if n := len(s.Levers); n > MaxLevers {
		return Standing{}, assay.Errorf(assay.CodeTooLarge, "the receiver lists %d levers of one service; the limit is %d", n, MaxLevers)
	}
	for _, l := range s.Levers {
		if l.Lever == "" || l.Value < 0 || math.IsNaN(l.Value) {
			return Standing{}, assay.Errorf(assay.CodeUnavailable, "the receiver says that lever %q stands at %v", l.Lever, l.Value)
		}
	}
	return s, nil
}

// ParseDone reads the answer to a PUT, under the same rules.
func ParseDone(data []byte) (Done, error) {
	var d Done
	if len(data) > MaxAnswer {
		return d, assay.Errorf(assay.CodeTooLarge, "the receiver's answer has %d bytes; the limit is %d", len(data), MaxAnswer)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return Done{}, assay.Errorf(assay.CodeUnavailable, "the receiver's answer cannot be read: %w", err)
	}
	if d.Key == "" || d.Time.IsZero() {
		return Done{}, assay.Errorf(assay.CodeUnavailable, "the receiver's answer has no key or no time")
	}
	return d, nil
}

func (c *Client) put(ctx context.Context, d Desired, out *Done) error {
	body, err := json.Marshal(d)
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "the request cannot be written: %w", err)
	}
	data, err := c.call(ctx, http.MethodPut, c.url.String(), body, d)
	if err != nil {
		return err
	}
	if *out, err = ParseDone(data); err != nil {
		return again(err)
	}
	if out.Key != d.Key {
		return again(assay.Errorf(assay.CodeUnavailable, "the receiver answers key %q to %q", clip(out.Key), d.Key))
	}
	if !out.Replayed && out.Value != d.Want {
		return assay.Errorf(assay.CodeConflict, "the receiver put %s at %v, not at %v", d.Lever, out.Value, d.Want)
	}
	return nil
}

func (c *Client) get(ctx context.Context, service string, out *Standing) error {
	u := *c.url
	u.RawQuery = url.Values{"service": {service}}.Encode()
	data, err := c.call(ctx, http.MethodGet, u.String(), nil, Desired{Service: service})
	if err != nil {
		return err
	}
	*out, err = ParseStanding(data)
	return err
}

// call makes one request and returns the body of an answer that is 2xx.
func (c *Client) call(ctx context.Context, method, address string, body []byte, d Desired) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "%w", err)
	}
	req.Header.Set("Accept", "application/json")
	if method == http.MethodPut {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(headerKey, d.Key)
		req.Header.Set(headerFence, strconv.FormatUint(d.Fence, 10))
	}
	if c.o.Token != nil {
		if token := c.o.Token(); token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, again(assay.Errorf(assay.CodeUnavailable, "the receiver cannot be reached: %w", err))
	}
	defer res.Body.Close()
	data, err := strict.Bounded(res.Body, MaxAnswer, "the receiver's answer")
	if err != nil {
		return nil, errors.Join(assay.Errorf(assay.CodeUnavailable, "the receiver's answer broke off"), err)
	}
	if res.StatusCode/100 != 2 {
		return nil, refused(res, data, d)
	}
	return data, nil
}

// refused turns an answer that is not 2xx into an error that says what to do.
func refused(res *http.Response, data []byte, d Desired) error {
	var r Refused
	if json.Unmarshal(data, &r) != nil {
		r = Refused{}
	}
	code, known := refusals[r.Code]
	if !known {
		if code, known = statuses[res.StatusCode]; !known {
			return again(assay.Errorf(assay.CodeUnavailable, "the receiver answered %s", res.Status))
		}
		r.Detail = orElse(r.Detail, res.Status)
	}
	if r.Code == "fence" {
		return &assay.Error{
			Code: code, Msg: "the receiver refuses the fence", Hint: "another owner has taken over; stop acting on this service",
			Err: &act.Deposed{Fence: d.Fence, Owner: r.Fence},
		}
	}
	return assay.Errorf(code, "the receiver refuses: %s", clip(orElse(r.Detail, r.Code)))
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// again says of an error that nothing is known about the world.
func again(err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok && e.Code == assay.CodeUnavailable && e.Hint == "" {
		e.Hint = "repeat with the same key"
	}
	return err
}

func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
