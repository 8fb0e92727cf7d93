package control

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/exception"
	"assay.dev/assay/policy"
)

// ExceptionReport sums up the exceptions that the caller's namespace lives with, by age and owner.
func (s *Session) ExceptionReport(ctx context.Context) (api.ExceptionReport, error) {
	now := s.p.cfg.Now().UTC()
	report := api.ExceptionReport{Time: now, Owners: []api.ExceptionOwner{}, Exceptions: []api.ExceptionAge{}}
	if err := s.read(); err != nil {
		return report, err
	}
	owners := map[string]*api.ExceptionOwner{}
	for after := ""; ; {
		page, err := exception.List(ctx, s.p.cfg.Store, s.caller.Namespace, after, 0)
		if err != nil {
			return report, err
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			if r.State == assay.ExceptionRevoked || !now.Before(r.NotAfter) {
				report.Closed++
				continue
			}
			report.Exceptions = append(report.Exceptions, ageOf(r, now))
			o := owners[r.Requester]
			if o == nil {
				o = &api.ExceptionOwner{Owner: r.Requester}
				owners[r.Requester] = o
			}
			count(o, r, now)
		}
		after = page[len(page)-1].ID
	}
	for _, o := range owners {
		report.Owners = append(report.Owners, *o)
	}
	slices.SortFunc(report.Owners, func(a, b api.ExceptionOwner) int {
		return cmp.Or(cmp.Compare(b.OldestAge, a.OldestAge), cmp.Compare(a.Owner, b.Owner))
	})
	slices.SortStableFunc(report.Exceptions, func(a, b api.ExceptionAge) int { return cmp.Compare(b.Age, a.Age) })
	return report, nil
}

func ageOf(r exception.Record, now time.Time) api.ExceptionAge {
	return api.ExceptionAge{
		ID: r.ID, State: r.State, Emergency: r.Emergency, Owner: r.Requester, Rules: r.Scope.Rules, Ticket: r.Ticket,
		Age: seconds(now.Sub(r.Requested)), Left: seconds(r.NotAfter.Sub(now)), Uses: r.Uses, LastUsed: r.LastUsed,
	}
}

func count(o *api.ExceptionOwner, r exception.Record, now time.Time) {
	o.Uses += r.Uses
	o.OldestAge = max(o.OldestAge, seconds(now.Sub(r.Requested)))
	if !r.Granted() {
		o.Waiting++
		return
	}
	o.InForce++
	if r.Emergency {
		o.Emergency++
	}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// WatchExceptions records which granted exceptions end soon, and which ended, once
// for each, in every namespace of the policy. What fails in one namespace does not
// keep the others from being watched.
func (p *Plane) WatchExceptions(ctx context.Context) error {
	pol, err := p.cfg.Policy()
	if err != nil {
		return err
	}
	var errs []error
	for _, ns := range p.namespaces(pol.Revision) {
		n, err := exception.Watch(ctx, p.cfg.Store, ns, pol.Revision.ExceptionPolicy(ns).RemindBefore.Value(), p.cfg.Now())
		errs = append(errs, err)
		p.cfg.Metrics.step("expiring", n.Expiring)
		p.cfg.Metrics.step("expired", n.Expired)
		if n.Expiring+n.Expired > 0 {
			p.cfg.Poke()
		}
	}
	return errors.Join(errs...)
}

// namespaces are those whose exceptions are watched: of the policy, the default one
// and the installation's own.
func (p *Plane) namespaces(rev *policy.Revision) []string {
	list := rev.Namespaces()
	for _, ns := range []string{policy.DefaultNamespace, p.cfg.Home} {
		if ns != "" && !slices.Contains(list, ns) {
			list = append(list, ns)
		}
	}
	return list
}

// Withdrawn returns the ids of exceptions that verdicts may rest on and that were
// taken back, in any namespace, in order and each once: what enforcers must know,
// because a signed verdict cannot. That a namespace left the policy gives
// nothing back. What an earlier release revoked is known of namespaces that are watched.
func (p *Plane) Withdrawn(ctx context.Context) ([]string, error) {
	now := p.cfg.Now()
	ids, err := exception.Withdrawn(ctx, p.cfg.Store, now)
	if err != nil {
		return nil, err
	}
	pol, err := p.cfg.Policy()
	if err != nil {
		return nil, err
	}
	for _, ns := range p.namespaces(pol.Revision) {
		of, err := exception.WithdrawnIn(ctx, p.cfg.Store, ns, now)
		if err != nil {
			return nil, err
		}
		ids = append(ids, of...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
