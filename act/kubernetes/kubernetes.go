package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/internal/pause"
)

// Class implements act.Actuator.
func (c *Client) Class() act.Class { return act.Fenced }

// attempts are how often a step is tried: answers that get lost, and objects that others
// change between reading and writing.
const attempts = 8

// firstPause is waited before the first repetition of what was not answered, twice as long
// before each further one.
const firstPause = 50 * time.Millisecond

// Apply implements act.Actuator for levers other than shares.
func (c *Client) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	if err := act.CheckLever(a); err != nil {
		return act.Receipt{}, err
	}
	if len(a.Key) > MaxKey {
		return act.Receipt{}, assay.Errorf(assay.CodeInvalid, "the key has %d bytes; at most %d are kept", len(a.Key), MaxKey)
	}
	i := slices.IndexFunc(c.o.Moves, func(m Move) bool { return m.Service == a.Service && m.Lever == a.Lever && m.Scope == a.Scope })
	if i < 0 {
		return act.Receipt{}, assay.Errorf(assay.CodeNotFound, "this door does not move %s of service %q", a.Target(), a.Service)
	}
	m := c.o.Moves[i]
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	wait := firstPause
	for n := 1; ; n++ {
		r, err := c.step(ctx, m, a)
		if assay.CodeOf(err) != assay.CodeUnavailable {
			return r, err
		}
		if n < attempts && errors.Is(err, errChanged) {
			continue // what stands there now decides
		}
		if n == attempts || !pause.For(ctx, wait) {
			return act.Receipt{}, err
		}
		wait *= 2
	}
}

// step reads the object, and moves it if that is right. Where its answer gets lost, the next
// one finds the key.
func (c *Client) step(ctx context.Context, m Move, a assay.Action) (act.Receipt, error) {
	o, err := c.get(ctx, m.Kind, m.Name)
	if err != nil {
		return act.Receipt{}, err
	}
	rec, err := ParseRecord(o.Metadata.Annotations[annotation])
	if err != nil {
		return act.Receipt{}, in(m, err)
	}
	if r, last, found, err := rec.answered(m, a); found {
		if err == nil && last {
			err = c.follow(ctx, m, o) // what broke off after the object itself was moved
		}
		return r, in(m, err)
	}
	if a.Fence < rec.Fence {
		return act.Receipt{}, &assay.Error{Code: assay.CodeConflict, Msg: m.object() + " has another owner", Err: &act.Deposed{Fence: a.Fence, Owner: rec.Fence}}
	}
	now := o.stands(m.Kind)
	if now != a.Want {
		if whole, err := c.whole(ctx, m, o); err != nil {
			return act.Receipt{}, err
		} else if whole != a.Now {
			return act.Receipt{}, assay.Errorf(assay.CodeConflict, "%s stands at %v, neither at %v nor at %v", m.object(), whole, a.Now, a.Want)
		}
	}
	if err := c.allowed(ctx, m, o, a.Want); err != nil {
		return act.Receipt{}, err
	}
	d := Done{Key: a.Key, Now: a.Now, Want: a.Want, Changed: now != a.Want, Time: c.o.Now().UTC().Truncate(time.Millisecond)}
	text, err := rec.with(d, a.Fence).text()
	if err != nil {
		return act.Receipt{}, err
	}
	body, err := o.change(map[string]any{annotation: text}, m.Kind.spec(a.Want))
	if err != nil {
		return act.Receipt{}, err
	}
	after, err := c.patch(ctx, m.Kind, m.Name, body)
	if err != nil {
		return act.Receipt{}, err
	}
	if got := after.stands(m.Kind); got != a.Want { // an admission webhook may say otherwise
		return act.Receipt{}, assay.Errorf(assay.CodeDenied, "%s stands at %v after it was moved to %v: something in the cluster sets it", m.object(), got, a.Want)
	}
	return m.receipt(d), in(m, c.follow(ctx, m, after))
}

// receipt is what is answered for what was done.
func (m Move) receipt(d Done) act.Receipt {
	words := fmt.Sprintf("%s has %v replicas", m.object(), d.Want)
	switch {
	case m.Kind == Autoscaler:
		words = fmt.Sprintf("%s keeps at least %v replicas", m.object(), d.Want)
	case m.Kind.runs() && d.Want == 0:
		words = m.object() + " is suspended"
	case m.Kind.runs():
		words = m.object() + " may run"
	}
	return act.Receipt{Key: d.Key, Time: d.Time, Stands: d.Want, Changed: d.Changed, Detail: words}
}

// allowed says why an object may not stand at value.
func (c *Client) allowed(ctx context.Context, m Move, o object, value float64) error {
	switch {
	case m.Kind.runs() && value != 0 && value != 100:
		return assay.Errorf(assay.CodeDenied, "%s runs or does not: expected 0 or 100, not %v", m.object(), value)
	case m.Kind.runs():
		return nil
	case value != float64(int(value)) || int(value) < m.Least || int(value) > m.Most:
		return assay.Errorf(assay.CodeDenied, "%s may have %d to %d replicas by the file of doors, not %v", m.object(), m.Least, m.Most, value)
	case m.Kind == Autoscaler && int(value) > o.Spec.Most:
		return assay.Errorf(assay.CodeDenied, "%s has at most %d replicas by itself, not %v", m.object(), o.Spec.Most, value)
	case m.Kind == Autoscaler:
		return nil
	}
	return c.unscaled(ctx, m)
}

// unscaled refuses to move what an autoscaler of the cluster moves back.
func (c *Client) unscaled(ctx context.Context, m Move) error {
	data, err := c.ask(ctx, http.MethodGet, c.path(Autoscaler, ""), nil, "autoscalers")
	if err != nil {
		return err
	}
	var list struct {
		Items []object `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the list of autoscalers cannot be read: %w", err)
	}
	kind := map[Kind]string{Deployment: "Deployment", StatefulSet: "StatefulSet"}[m.Kind]
	for _, o := range list.Items {
		if t := o.Spec.Target; t.Kind == kind && t.Name == m.Name {
			e := assay.Errorf(assay.CodeDenied, "horizontalPodAutoscaler/%s moves %s", o.Metadata.Name, m.object())
			e.Hint = "declare horizontalPodAutoscaler: " + o.Metadata.Name + " instead: its least number of replicas is moved then"
			return e
		}
	}
	return nil
}

// Levers implements act.Levers.
func (c *Client) Levers(ctx context.Context, service string) (out []act.LeverAt, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	known := false
	for _, m := range c.o.Moves {
		if m.Service != service {
			continue
		}
		known = true
		o, err := c.get(ctx, m.Kind, m.Name)
		if err != nil {
			return nil, err
		}
		value, err := c.whole(ctx, m, o)
		if err != nil {
			return nil, err
		}
		out = append(out, act.LeverAt{Lever: m.Lever, Scope: m.Scope, Value: value})
	}
	if !known {
		return nil, assay.Errorf(assay.CodeNotFound, "this door is not for service %q", service)
	}
	return out, nil
}

// Observe implements act.Actuator: shares of versions are not this door's.
func (c *Client) Observe(ctx context.Context, service string) (act.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	out, known := act.Observation{Shares: map[string]int{}, Time: c.o.Now().UTC()}, false
	for _, m := range c.o.Moves {
		if m.Service != service {
			continue
		}
		known = true
		o, err := c.get(ctx, m.Kind, m.Name)
		if err != nil {
			return act.Observation{}, err
		}
		rec, err := ParseRecord(o.Metadata.Annotations[annotation])
		if err != nil {
			return act.Observation{}, in(m, err)
		}
		out.Generation = max(out.Generation, rec.Fence)
	}
	if !known {
		return act.Observation{}, assay.Errorf(assay.CodeNotFound, "this door is not for service %q", service)
	}
	return out, nil
}

// in names the object that an error is about.
func in(m Move, err error) error {
	if err == nil || errors.Is(err, errChanged) {
		return err
	}
	e := assay.Errorf(assay.CodeOf(err), "%s: %w", m.object(), err)
	if inner, is := errors.AsType[*assay.Error](err); is {
		e.Hint = inner.Hint
	}
	return e
}
