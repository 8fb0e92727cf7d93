package inventory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/store"
)

// Source sees what runs and can be asked. An agent that reports by itself needs
// none: it pushes.
type Source interface {
	// Observe returns what runs now, as reports without namespace and actor. It may
	// be asked at any time and changes nothing. Each report is whole, or it is not
	// returned: what is missing in a complete report counts as gone.
	Observe(ctx context.Context) ([]Report, error)
}

// Sources are several sources as one. One that does not answer does not keep the others
// from being heard.
type Sources []Source

// Observe implements Source. With an error the reports are of those that answered, each
// whole by itself.
func (s Sources) Observe(ctx context.Context) (all []Report, err error) {
	for _, src := range s {
		reports, failed := src.Observe(ctx)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		all = append(all, reports...)
	}
	return all, err
}

// Follow asks a source every interval, and ends what expired, until ctx ends. A
// source that does not answer is asked again; failed is told, and may be nil.
func Follow(ctx context.Context, s store.Store, src Source, namespace, actor string, interval time.Duration, now func() time.Time, failed func(error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := observe(ctx, s, src, namespace, actor, now); err != nil && ctx.Err() == nil && failed != nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func observe(ctx context.Context, s store.Store, src Source, namespace, actor string, now func() time.Time) error {
	if err := Expire(ctx, s, namespace, actor, now()); err != nil || src == nil {
		return err
	}
	reports, failed := src.Observe(ctx)
	for _, r := range reports {
		r.Namespace, r.Actor = namespace, actor
		if _, err := Push(ctx, s, r, now()); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// Expire ends the sightings that nobody renewed in time, and the findings of what
// runs nowhere any more.
func Expire(ctx context.Context, s store.Store, namespace, actor string, now time.Time) error {
	if _, err := sweep(ctx, s, namespace, actor, DefaultTTL, now); err != nil {
		return err
	}
	return settle(ctx, s, namespace, actor, now)
}

// Documents returns the VEX documents that whoever runs the installation vouches for,
// and says which files could not be read; VEXFiles does it.
type Documents func(ctx context.Context) (docs []assay.Evidence, problems []string, err error)

// Enforcer is what Doors asks for its status.
type Enforcer interface {
	// Status says what is enforced now.
	Status(ctx context.Context) (enforce.Status, error)
}

// Doors is an enforcer as a Source: a version that it sends requests to runs.
type Doors struct {
	Enforcer    Enforcer
	Environment func(service string) string // where a service runs; "" leaves it out
	Name        string                      // of the source
}

// Observe returns the versions that requests are sent to.
func (d Doors) Observe(ctx context.Context) ([]Report, error) {
	status, err := d.Enforcer.Status(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string]*Report{}
	for _, route := range status.Routes {
		env := d.Environment(route.Service)
		if env == "" {
			continue
		}
		if by[env] == nil {
			by[env] = &Report{Source: d.Name, Environment: env, Complete: true}
		}
		for _, v := range route.Versions {
			if v.Percent > 0 && v.Digest != "" {
				by[env].Sightings = append(by[env].Sightings, Sighting{Service: route.Service, Place: route.Name, Image: v.Name, Digest: v.Digest})
			}
		}
	}
	var out []Report
	for _, env := range slices.Sorted(maps.Keys(by)) {
		out = append(out, *by[env])
	}
	return out, nil
}
