package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/enforce"
)

// Levers implements act.Levers. What the route declares is there; act.AnyScope stands
// for the tenants and sources that were not moved.
func (c *Client) Levers(ctx context.Context, service string) ([]act.LeverAt, error) {
	route, err := c.route(ctx, service)
	if err != nil {
		return nil, err
	}
	var out []act.LeverAt
	for _, l := range route.Levers {
		out = append(out, act.LeverAt{Lever: l.Lever, Scope: l.Scope, Value: l.Value})
	}
	return out, nil
}

// pull applies an action of a lever other than shares, and waits until the proxy says
// that it stands.
func (c *Client) pull(ctx context.Context, a assay.Action) (act.Receipt, error) {
	if err := act.CheckLever(a); err != nil {
		return act.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	route, err := c.route(ctx, a.Service)
	if err != nil {
		return act.Receipt{}, err
	}
	if len(route.Levers) == 0 {
		e := assay.Errorf(assay.CodeNotFound, "route %s of the proxy has no levers", route.Name)
		e.Hint = "declare them in the route's levers"
		return act.Receipt{}, e
	}
	var answer enforce.Answer
	err = c.call(ctx, http.MethodPut, "/v1/routes/"+url.PathEscape(route.Name)+"/lever",
		enforce.Pull{Lever: a.Lever, Scope: a.Scope, Now: a.Now, Want: a.Want, Generation: a.Fence, Key: a.Key}, &answer)
	if deposed, is := errors.AsType[*act.Deposed](err); is {
		deposed.Fence = a.Fence
	}
	if err != nil {
		return act.Receipt{}, err
	}
	r := answer.Receipt
	out := act.Receipt{
		Key: r.Key, Time: r.Time, Stands: r.Value, Changed: r.Changed,
		Detail: fmt.Sprintf("route %s has %s at %v, revision %s", r.Route, a.Target(), r.Value, r.Revision.Short()),
	}
	if answer.Replayed {
		return out, nil // the world may have gone on since; the first answer stands
	}
	return out, c.awaitLever(ctx, a, r)
}

// awaitLever looks until the lever stands as wanted, or a newer owner has moved on.
func (c *Client) awaitLever(ctx context.Context, a assay.Action, r enforce.Receipt) error {
	for {
		route, err := c.route(ctx, a.Service)
		if err != nil {
			return unread(err)
		}
		if route.LeverGeneration > r.Generation || stands(route.Levers, a) {
			return nil
		}
		select {
		case <-ctx.Done():
			e := assay.Errorf(assay.CodeUnavailable, "%s of service %s was not seen at %v within %s", a.Target(), a.Service, a.Want, c.timeout)
			e.Hint = "repeat with the same key"
			return e
		case <-time.After(c.readBack):
		}
	}
}

// stands reports whether the action's lever is where it should be. A tenant or source
// that is not named stands where all that are not do.
func stands(list []enforce.LeverStatus, a assay.Action) bool {
	at := func(scope string) int {
		return slices.IndexFunc(list, func(l enforce.LeverStatus) bool { return l.Lever == a.Lever && l.Scope == scope })
	}
	i := at(a.Scope)
	if i < 0 {
		i = at(enforce.AnyScope)
	}
	return i >= 0 && list[i].Value == a.Want
}
