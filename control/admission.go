package control

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/policy"
	"github.com/prometheus/client_golang/prometheus"
)

// AdmissionConfig is what doors need beside the rest of a Config. Every field may be nil.
type AdmissionConfig struct {
	Log      *slog.Logger
	Registry prometheus.Registerer
}

const (
	// admissionCache is the memory for attestations whose signatures were verified, in bytes.
	admissionCache = 64 << 20
	// trustAge is how long doors go on believing what was read of keys: a revocation
	// is in force everywhere after it.
	trustAge = time.Second
)

// admission is the plane's doors and what they ask.
type admission struct {
	door    *admit.Door
	indexes *admit.Indexes

	mu    sync.Mutex
	trust attest.TrustPolicy
	read  time.Time // when trust was read; zero before
	cache *attest.Cache
}

func (p *Plane) newAdmission() *admission {
	log := p.cfg.Admission.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &admission{cache: attest.NewCache(admissionCache)}
	a.indexes = admit.NewIndexes(p.cfg.Store, func(err error) { log.Error("the index of artifacts does not follow the store", "error", err) })
	a.door = admit.New(admit.Config{
		Store: p.cfg.Store, Blobs: p.cfg.Blobs, Now: p.cfg.Now, Log: log, Registry: p.cfg.Admission.Registry, Poke: p.cfg.Poke,
		Index: a.indexes.Of, Trust: func(ctx context.Context) (attest.TrustPolicy, error) { return a.believed(ctx, p) },
		Policy: func() (*policy.Revision, string, error) {
			pol, err := p.cfg.Policy()
			return pol.Revision, pol.URI, err
		},
	})
	return a
}

// believed is the plane's trust, read again when it is old.
func (a *admission) believed(ctx context.Context, p *Plane) (attest.TrustPolicy, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := p.cfg.Now()
	if age := now.Sub(a.read); !a.read.IsZero() && age >= 0 && age < trustAge {
		return a.trust, nil
	}
	t, err := p.Trust(ctx)
	if err != nil {
		return attest.TrustPolicy{}, err
	}
	a.trust, a.read = t.Policy, now
	a.trust.Cache = a.cache
	return a.trust, nil
}

// Door decides about images by the plane's Admission resources.
func (p *Plane) Door() *admit.Door { return p.admission.door }

// WarmAdmission reads the index of every namespace that has a door in a policy, so
// that no review waits for it: call it before the policy is in force.
func (p *Plane) WarmAdmission(ctx context.Context, rev *policy.Revision) error {
	for _, d := range rev.Admissions() {
		if _, err := p.admission.indexes.Of(ctx, d.Metadata.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// FollowIndex keeps the doors' index of artifacts fresh until ctx ends.
func (p *Plane) FollowIndex(ctx context.Context) error { return p.admission.indexes.Run(ctx) }

// CheckAdmission asks the doors of the caller's namespace whether images may run.
// What they say is recorded like the answer to a cluster, unless it is a dry run.
func (s *Session) CheckAdmission(ctx context.Context, req api.AdmissionCheck) (api.AdmissionAnswer, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return api.AdmissionAnswer{}, err
	}
	doors, err := s.doors(req)
	if err != nil {
		return api.AdmissionAnswer{}, err
	}
	review := admit.Review{DryRun: req.DryRun, Target: admit.Target{Kind: "Check", Namespace: req.Namespace, User: s.caller.Name}}
	for _, ref := range req.Images {
		review.Images = append(review.Images, admit.ParseImage(ref))
	}
	// Only a server may still hear of a digest: elsewhere nothing follows the store.
	wait := time.Duration(0)
	if s.p.cfg.Publishes {
		wait = admit.MaxWait
	}
	answer := api.AdmissionAnswer{Allowed: true, Outcome: assay.OutcomePass}
	for _, name := range doors {
		d, err := s.p.admission.door.Ask(ctx, admit.Request{Door: name, Review: review, Actor: s.caller.Name, Wait: wait})
		if err != nil {
			return api.AdmissionAnswer{}, err
		}
		answer.Allowed = answer.Allowed && d.Allowed
		answer.Outcome = worse(answer.Outcome, d.Outcome)
		answer.Decisions = append(answer.Decisions, decided(d))
	}
	// A tally is recorded every few seconds by a server; who asks here may be gone by then.
	if !s.p.cfg.Publishes && !req.DryRun {
		err = s.p.admission.door.Flush(ctx)
	}
	return answer, err
}

// doors checks a request and finds who is to answer it.
func (s *Session) doors(req api.AdmissionCheck) ([]string, error) {
	if n := len(req.Images); n == 0 {
		return nil, &assay.Error{Code: assay.CodeInvalid, Field: "images", Msg: "is empty; name at least one image"}
	} else if n > api.MaxImages {
		return nil, assay.Errorf(assay.CodeTooLarge, "the request names %d images; the limit is %d", n, api.MaxImages)
	}
	for _, t := range []struct{ field, text string }{{"environment", req.Environment}, {"namespace", req.Namespace}, {"door", req.Door}} {
		if t.text == "" {
			continue
		}
		if err := checkName(t.field, t.text); err != nil {
			return nil, err
		}
	}
	doors, err := s.p.admission.door.Names(s.caller.Namespace, req.Environment, req.Namespace)
	what := "no Admission resource"
	if err == nil && req.Door != "" {
		if err := s.declared(req.Door); err != nil {
			return nil, err
		}
		what = "no Admission resource " + req.Door
		doors = slices.DeleteFunc(doors, func(n string) bool { return n != s.caller.Namespace+"/"+req.Door })
	}
	if err == nil && len(doors) == 0 {
		e := assay.Errorf(assay.CodeNotFound, what+" guards environment %q and namespace %q: nobody would check the images", req.Environment, req.Namespace)
		e.Hint = "declare one in the policy directory; see docs/admission.md"
		return nil, e
	}
	return doors, err
}

// declared refuses a door that the policy does not declare, with those that it does.
func (s *Session) declared(door string) error {
	pol, err := s.p.cfg.Policy()
	if err != nil {
		return err
	}
	_, err = pol.Revision.Admission(s.caller.Namespace + "/" + door)
	return err
}

// worse is the worse of two outcomes.
func worse(a, b assay.Outcome) assay.Outcome {
	rank := map[assay.Outcome]int{assay.OutcomePass: 0, assay.OutcomeAbsent: 1, assay.OutcomeFail: 2}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

func decided(d admit.Decision) api.AdmissionDecision {
	out := api.AdmissionDecision{
		ID: d.ID, Door: d.Door, Environment: d.Environment, Mode: d.Mode, Policy: d.Policy, Time: d.Time,
		Outcome: d.Outcome, Allowed: d.Allowed, Skipped: d.Skipped, Images: make([]api.AdmittedImage, 0, len(d.Images)),
		Violations: d.Violations, Objections: d.Objections, Exceptions: d.Exceptions, Warnings: d.Warnings,
	}
	for _, i := range d.Images {
		out.Images = append(out.Images, api.AdmittedImage{Reference: i.Reference, Digest: i.Digest, Basis: i.Basis})
	}
	return out
}
