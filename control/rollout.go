package control

import (
	"context"
	"encoding/json"
	"io"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/policy"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// Enforcer is the door whose traffic is shown.
type Enforcer interface {
	// Status says what is enforced now.
	Status(ctx context.Context) (enforce.Status, error)
}

// StartRollout gives a new version traffic, step by step.
func (s *Session) StartRollout(ctx context.Context, req api.RolloutRequest) (api.Rollout, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return api.Rollout{}, err
	}
	if req.Backend != "" && !s.caller.Has(api.RoleOperator) {
		// A backend says what production traffic reaches under a digest that is only a claim.
		return api.Rollout{}, &assay.Error{Code: assay.CodeDenied, Field: "backend", Msg: "is the platform's to say: it needs the role operator",
			Hint: "let the platform tell the enforcer, and leave the backend out"}
	}
	if err := s.rolls(); err != nil {
		return api.Rollout{}, err
	}
	if _, err := assay.ParseDigest(string(req.Digest)); err != nil {
		return api.Rollout{}, fieldError("digest", err)
	}
	if err := checkName("canary", req.Canary); err != nil {
		return api.Rollout{}, err
	}
	for _, t := range []struct{ field, text string }{{"rollout", req.Rollout}, {"backend", req.Backend}} {
		if err := checkText(t.field, t.text); t.text != "" && err != nil {
			return api.Rollout{}, err
		}
	}
	pol, err := s.p.cfg.Policy()
	if err != nil {
		return api.Rollout{}, err
	}
	res, err := choose("Rollout", "--rollout", s.caller.Namespace, req.Rollout, pol.Revision.Rollouts(), func(r policy.Rollout) policy.Metadata { return r.Metadata })
	if err != nil {
		return api.Rollout{}, err
	}
	p, err := proposal(res)
	if err != nil {
		return api.Rollout{}, err
	}
	if res.Spec.Objective != "" {
		p.Plan.Budget = s.allowed(ctx, res.Spec.Objective)
		if p.Plan.Budget == 0 && p.Plan.HarmBudget > 0 {
			return api.Rollout{}, &assay.Error{Code: assay.CodeConflict, Msg: "the error budget of " + res.Spec.Objective + " is not known now, and the rollout may spend a share of it",
				Hint: "see why with: assay slo status, or leave harmBudget out"}
		}
	}
	if res.Spec.Risk != nil {
		if err := s.weighRisk(ctx, res, req, &p); err != nil {
			return api.Rollout{}, err
		}
	}
	p.Namespace, p.Actor = s.caller.Namespace, s.caller.Name
	p.Canary, p.Digest, p.Backend = req.Canary, req.Digest, req.Backend
	if p.Mirror != nil {
		p.Mirror.Version = req.Canary
	}
	if p.Match != nil {
		p.Match.Version = req.Canary
	}
	return s.p.cfg.Rollouts.Propose(ctx, p)
}

// allowed is what an objective's budget allows to go wrong; 0 if nobody knows.
func (s *Session) allowed(ctx context.Context, objective string) float64 {
	o, err := s.Objective(ctx, objective)
	if err != nil || !o.Known {
		return 0
	}
	return float64(o.Allowed)
}

// proposal is what a Rollout resource declares.
func proposal(res policy.Rollout) (rollout.Proposal, error) {
	plan, err := res.Plan()
	if err != nil {
		return rollout.Proposal{}, err
	}
	s := res.Spec
	p := rollout.Proposal{
		Name: res.Metadata.Name, Plan: plan, Baseline: s.Baseline.Value(), Indicators: sources(plan, s.Strata, s.Replicas, s.Indicators),
		Strategy: api.Strategy(s.Strategy), Watch: s.Watch.Duration.Value(), OnHarm: api.OnHarm(s.Watch.OnHarm),
	}
	p.UntilLoad, p.Longest = s.Watch.WaitsFor()
	if b := s.Rollback; b != nil {
		p.BackSteps = b.Steps
	}
	if m := s.Match; m != nil {
		p.Match = &enforce.Match{Header: m.Header, Cookie: m.Cookie, Value: m.Value}
	}
	if m := s.Mirror; m != nil {
		p.Mirror = &enforce.Mirror{Percent: m.Percent, Methods: m.Methods}
		mirrorPlan(&p, res)
	}
	return p, nil
}

// mirrorPlan tests pairs of answers while requests are copied, and what is declared
// once the new version has traffic.
func mirrorPlan(p *rollout.Proposal, res policy.Rollout) {
	pairs := res.MirrorIndicators()
	p.After, p.Sources = p.Plan.Indicators, p.Indicators
	p.Plan.Indicators, p.Indicators = policy.TestsOf(pairs), sources(p.Plan, "", "", pairs)
	for i, ind := range p.Indicators {
		for _, s := range p.Sources {
			if "mirror-"+s.Spec.Name == ind.Spec.Name { // pairs have no past: the same bounds as what is declared
				past := s.Spec
				past.Name = ind.Spec.Name
				p.Indicators[i].Baseline = &past
			}
		}
	}
}

// sources are where the counts of declared indicators come from.
func sources(plan decide.Plan, strata, replicas string, list []policy.RolloutIndicator) (out []rollout.Indicator) {
	for _, ind := range list {
		classes, strata, replicas := "", strata, replicas
		if !ind.ByReplica() {
			replicas = ""
		}
		if ind.WholeTraffic() {
			strata = ""
		}
		if ind.Classes != nil {
			classes = ind.Classes.Label
		}
		read := func(s policy.RolloutSource) signal.Spec {
			return signal.Spec{
				Service: plan.Service, Environment: plan.Environment, Name: ind.Name,
				Good: s.Good, Bad: s.Bad, Total: s.Total, Buckets: s.Buckets, Threshold: ind.Threshold,
				Count: s.Count, Sum: s.Sum, Gauge: s.Gauge, Min: ind.Min, Max: ind.Max,
				StratumLabel: strata, ClassLabel: classes, ReplicaLabel: replicas,
			}
		}
		one := rollout.Indicator{Spec: read(ind.Source()), Quantiles: ind.Quantiles, Limit: ind.Limit}
		if ind.Fallback != nil {
			one.Fallback = new(read(*ind.Fallback))
		}
		out = append(out, one)
	}
	return out
}

// rolls refuses on a plane that carries no rollouts out.
func (s *Session) rolls() error {
	if s.p.cfg.Rollouts != nil {
		return nil
	}
	return &assay.Error{
		Code: assay.CodeConflict, Msg: "nothing here carries rollouts out",
		Hint: "start a control plane with an enforcer, assay serve --proxy URL, and name it with --server",
	}
}

// Rollouts lists up to limit rollouts, newest first, without their paths.
func (s *Session) Rollouts(ctx context.Context, limit int) ([]api.Rollout, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	return rollout.List(ctx, s.p.cfg.Store, s.caller.Namespace, limit)
}

// Rollout returns one rollout with the path of its evidence.
func (s *Session) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	if err := s.read(); err != nil {
		return api.Rollout{}, err
	}
	return rollout.Get(ctx, s.p.cfg.Store, s.caller.Namespace, id)
}

// PromoteRollout gives the new version all the traffic, whatever the evidence says.
func (s *Session) PromoteRollout(ctx context.Context, id string, cmd api.RolloutCommand) (api.Rollout, error) {
	return s.command(ctx, id, api.CommandPromote, cmd)
}

// AbortRollout takes all the traffic from the new version.
func (s *Session) AbortRollout(ctx context.Context, id string, cmd api.RolloutCommand) (api.Rollout, error) {
	return s.command(ctx, id, api.CommandAbort, cmd)
}

// ApproveRollout says the yes that a rollout waits for before its first request.
func (s *Session) ApproveRollout(ctx context.Context, id string, cmd api.RolloutCommand) (api.Rollout, error) {
	if err := s.require(api.RoleApprover); err != nil {
		return api.Rollout{}, err
	}
	if err := s.rolls(); err != nil {
		return api.Rollout{}, err
	}
	if err := checkText("reason", cmd.Reason); err != nil {
		return api.Rollout{}, err
	}
	return s.p.cfg.Rollouts.Approve(ctx, s.caller.Namespace, id, s.caller.Name, cmd.Reason)
}

// RollbackRollout goes back from the version that has all the traffic of a service to one
// that had it before, once its rollout has ended.
func (s *Session) RollbackRollout(ctx context.Context, req api.RollbackRequest) (api.Rollout, error) {
	if err := s.require(api.RoleOperator, api.RoleApprover); err != nil {
		return api.Rollout{}, err
	}
	if err := s.rolls(); err != nil {
		return api.Rollout{}, err
	}
	for _, t := range []struct{ field, text string }{{"of", req.Of}, {"reason", req.Reason}} {
		if err := checkText(t.field, t.text); err != nil {
			return api.Rollout{}, err
		}
	}
	if req.To != "" {
		if err := checkName("to", req.To); err != nil {
			return api.Rollout{}, err
		}
	}
	return s.p.cfg.Rollouts.Rollback(ctx, rollout.Return{Namespace: s.caller.Namespace, Actor: s.caller.Name, Of: req.Of, To: req.To, Reason: req.Reason})
}

func (s *Session) command(ctx context.Context, id, command string, cmd api.RolloutCommand) (api.Rollout, error) {
	if err := s.require(api.RoleOperator, api.RoleApprover); err != nil {
		return api.Rollout{}, err
	}
	if err := s.rolls(); err != nil {
		return api.Rollout{}, err
	}
	if err := checkText("reason", cmd.Reason); err != nil {
		return api.Rollout{}, err
	}
	return s.p.cfg.Rollouts.Command(ctx, s.caller.Namespace, id, s.caller.Name, command, cmd.Reason)
}

// Traffic says what the enforcer does now with the services that the rollouts of
// the caller's namespace are about.
func (s *Session) Traffic(ctx context.Context) (api.Traffic, error) {
	if err := s.read(); err != nil {
		return api.Traffic{}, err
	}
	if s.p.cfg.Enforcer == nil {
		return api.Traffic{Error: "no enforcer is configured; see: assay serve --help"}, nil
	}
	status, err := s.p.cfg.Enforcer.Status(ctx)
	if err != nil {
		return api.Traffic{Error: err.Error()}, nil
	}
	pol, err := s.p.cfg.Policy()
	if err != nil {
		return api.Traffic{}, err
	}
	mine := map[string]bool{}
	for _, r := range pol.Revision.Rollouts() {
		if r.Metadata.Namespace == s.caller.Namespace {
			mine[r.Spec.Service] = true
		}
	}
	routes := map[string]bool{}
	status.Routes = slices.DeleteFunc(slices.Clone(status.Routes), func(r enforce.RouteStatus) bool {
		routes[r.Name] = mine[r.Service]
		return !mine[r.Service]
	})
	status.Refused = slices.DeleteFunc(slices.Clone(status.Refused), func(r enforce.RefusalSeen) bool { return !routes[r.Route] })
	return api.Traffic{Status: status}, nil
}

// Decisions lists the newest recorded decisions, of one rollout if it is named.
func (s *Session) Decisions(ctx context.Context, id string, limit int) ([]api.Decision, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	out := []api.Decision{}
	q := store.Query{Namespace: s.caller.Namespace, Kinds: []string{assay.FactRolloutDecided, assay.FactMitigationDecided}, Newest: true, Limit: limit}
	if id != "" {
		rec, err := rollout.Get(ctx, s.p.cfg.Store, s.caller.Namespace, id)
		if err != nil {
			return nil, err
		}
		q.Cause = rec.StartedFact // every decision names it
	}
	err := s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		rows, err := r.Facts(q)
		if err != nil {
			return err
		}
		for _, row := range rows {
			d, err := decision(r, row.Fact)
			if err != nil {
				return err
			}
			out = append(out, d)
		}
		return nil
	})
	return out, err
}

// Decision returns one recorded decision.
func (s *Session) Decision(ctx context.Context, id assay.FactID) (d api.Decision, err error) {
	if err := s.read(); err != nil {
		return d, err
	}
	err = s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		row, err := r.Fact(s.caller.Namespace, id)
		if err != nil {
			return err
		}
		if row.Fact.Kind != assay.FactRolloutDecided && row.Fact.Kind != assay.FactMitigationDecided {
			return assay.Errorf(assay.CodeNotFound, "fact %s is %s and no decision", id, row.Fact.Kind)
		}
		d, err = decision(r, row.Fact)
		return err
	})
	return d, hinted(err, listDecisions)
}

// decision reads a fact and what became of it.
func decision(r store.Reader, f assay.Fact) (api.Decision, error) {
	var p struct {
		rollout.DecidedPayload
		Strategy string `json:"strategy"` // of a mitigation
	}
	if err := json.Unmarshal(f.Payload, &p); err != nil {
		return api.Decision{}, err
	}
	d := api.Decision{ID: f.ID, Rollout: p.Rollout, Strategy: p.Strategy, Recorded: f.Recorded, Record: p.Record, Decision: p.Decision}
	rows, err := r.Facts(store.Query{Namespace: f.Namespace, Kinds: []string{assay.FactRolloutActed, assay.FactMitigationActed}, Cause: f.ID, Limit: 1})
	if err != nil || len(rows) == 0 {
		return d, err
	}
	var acted rollout.ActedPayload
	if err := json.Unmarshal(rows[0].Fact.Payload, &acted); err != nil {
		return d, err
	}
	d.Action = &api.Acted{
		Fact: rows[0].Fact.ID, Action: acted.Action, Time: acted.Receipt.Time, Observed: acted.Receipt.Observed, Stands: acted.Receipt.Stands, Detail: acted.Receipt.Detail,
	}
	return d, nil
}

// DecisionRecord returns the canonical inputs and outputs of a recorded decision,
// from which decide.Replay makes it again.
func (s *Session) DecisionRecord(ctx context.Context, id assay.FactID) ([]byte, error) {
	d, err := s.Decision(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := s.p.cfg.Blobs.Open(ctx, d.Record)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, decide.MaxRecordBytes+1)) // reading to the end verifies the digest
}

// Fact returns one fact of the caller's namespace.
func (s *Session) Fact(ctx context.Context, id assay.FactID) (f assay.Fact, err error) {
	if err := s.read(); err != nil {
		return f, err
	}
	err = s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		row, err := r.Fact(s.caller.Namespace, id)
		f = row.Fact
		return err
	})
	return f, err
}

// Effects lists facts that name a fact as their cause, oldest first.
func (s *Session) Effects(ctx context.Context, id assay.FactID, limit int) ([]assay.Fact, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	out := []assay.Fact{}
	err := s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: s.caller.Namespace, Cause: id, Limit: limit})
		for _, row := range rows {
			out = append(out, row.Fact)
		}
		return err
	})
	return out, err
}
