package mitigate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// bucket of the store: records, by the strategy's name.
const bucket = "strategy"

// maxApprovals is how many questions and answers a record keeps.
const maxApprovals = 50

// DecidedPayload is the payload of a mitigation.decided fact, version 1.
type DecidedPayload struct {
	Strategy string         `json:"strategy"`
	Revision assay.Digest   `json:"revision"` // of the policy it is from
	Record   assay.Digest   `json:"record"`   // blob with what was weighed, decide.Mitigation.Encode
	Law      assay.Digest   `json:"law"`      // blob with all inputs of the law, Record.Encode
	Decision assay.Decision `json:"decision"`
}

// ActedPayload is the payload of a mitigation.acted fact, version 1.
type ActedPayload struct {
	Strategy string       `json:"strategy"`
	Action   assay.Action `json:"action"`
	Receipt  act.Receipt  `json:"receipt"`
}

// RefusedPayload is the payload of a mitigation.refused fact, version 1: the world did
// not take an action, or it had grown old.
type RefusedPayload struct {
	Strategy string       `json:"strategy"`
	Action   assay.Action `json:"action"`
	Code     assay.Code   `json:"code"`
	Detail   string       `json:"detail"`
}

// What people tell a strategy.
const (
	ToldYes    = "approve"
	ToldNo     = "refuse"
	ToldPause  = "pause"
	ToldResume = "resume"
	ToldAllow  = "allow" // more spend until the day ends
	ToldClear  = "clear" // a source is harmless
	ToldThaw   = "thaw"  // a lever that swung may move again
)

// ToldPayload is the payload of a mitigation.told fact, version 1: what a person said.
type ToldPayload struct {
	Strategy string        `json:"strategy"`
	Told     string        `json:"told"`
	Action   *assay.Action `json:"action,omitempty"` // that was approved or refused
	Amount   float64       `json:"amount,omitempty"` // that was allowed
	Source   string        `json:"source,omitempty"` // that was called harmless
	Target   string        `json:"target,omitempty"` // whose freeze was lifted
	Until    time.Time     `json:"until,omitzero"`   // for how long both hold
	Reason   string        `json:"reason"`
}

// record is everything that is kept of a strategy.
type record struct {
	Namespace string               `json:"namespace"`
	Name      string               `json:"name"`
	Law       string               `json:"law"`
	Strategy  Strategy             `json:"strategy"` // as it was looked at last
	Revision  assay.Digest         `json:"revision"`
	State     State                `json:"state"`
	Decision  *assay.Decision      `json:"decision,omitempty"` // the newest
	Lowered   string               `json:"lowered,omitempty"`
	Effective policy.Level         `json:"effective,omitempty"`
	Known     time.Time            `json:"known,omitzero"`  // since when its inputs have been known without a break
	Doors     []api.StrategyDoor   `json:"doors,omitempty"` // as they answered last
	Forecast  *Forecast            `json:"forecast,omitempty"`
	Learned   decide.Learned       `json:"learned"`
	Approvals []decide.Approval    `json:"approvals,omitempty"`
	Allowed   []allowance          `json:"allowed,omitempty"`  // of spend, and of sources that were called harmless
	Refusals  []decide.Refusal     `json:"refusals,omitempty"` // by the world, one of a target
	Paused    string               `json:"paused,omitempty"`
	Pending   *pending             `json:"pending,omitempty"`
	Budget    budgetSeen           `json:"budget,omitzero"`
	Judging   []judging            `json:"judging,omitempty"` // oldest first
	Outcome   *assay.ActionOutcome `json:"outcome,omitempty"` // of the newest action that was judged
	Foretold  []foretold           `json:"foretold,omitempty"`
	Results   []decide.Result      `json:"results,omitempty"` // of judged actions, oldest first
	Actions   int                  `json:"actions"`           // keys given out
	Fact      assay.FactID         `json:"fact,omitempty"`
	Signature string               `json:"signature,omitempty"`
	Recorded  time.Time            `json:"recorded,omitzero"`
	Traced    time.Time            `json:"traced,omitzero"` // when the trail got its newest point

	version int64      // of the store's value
	among   []Strategy // that are declared now
	cared   cared
	point   *api.StrategyPoint // that the trail gets with the next put
}

// refusedBy counts a refusal of the world.
func (r *record) refusedBy(target, why string, now time.Time) {
	n := decide.Refusal{Time: now, Target: target, Count: 1, Reason: why}
	r.Refusals = slices.DeleteFunc(slices.Clone(r.Refusals), func(x decide.Refusal) bool {
		if x.Target == target {
			n.Count = x.Count + 1
		}
		return x.Target == target || now.Sub(x.Time) > toggleWindow
	})
	r.Refusals = append(r.Refusals, n)
}

// allowance is spend that a person allowed beyond the cap, or a source that they called
// harmless, for a while.
type allowance struct {
	Amount float64   `json:"amount,omitempty"`
	Source string    `json:"source,omitempty"`
	Until  time.Time `json:"until"`
}

// pending is an action that was decided and whose receipt is not recorded.
type pending struct {
	Action  assay.Action `json:"action"` // with key and fence
	Cause   assay.FactID `json:"cause"`
	Decided time.Time    `json:"decided"`
	Words   string       `json:"words"`
	Guess   *guess       `json:"guess,omitempty"` // of what it does
	Promise *promise     `json:"promise,omitempty"`
}

func (r *record) extra(now time.Time) (sum float64) {
	for _, a := range r.Allowed {
		if now.Before(a.Until) {
			sum += a.Amount
		}
	}
	return sum
}

func (r *record) cleared(now time.Time) (out []string) {
	for _, a := range r.Allowed {
		if a.Source != "" && now.Before(a.Until) {
			out = append(out, a.Source)
		}
	}
	return out
}

// fold takes over what a decision came to.
func (r *record) fold(d Record, in Inputs) {
	dec := d.Decision()
	r.State, r.Decision = d.After, &dec
	r.trace(in, d.Now)
	known := !slices.ContainsFunc(dec.Signals, func(s assay.Signal) bool { return !s.Known })
	switch {
	case !known:
		r.Known = time.Time{}
	case r.Known.IsZero():
		r.Known = d.Now
	}
	r.Effective, r.Lowered = r.Strategy.Spec.Level, ""
	if l, why := decide.EffectiveLevel(d.Strategy.Rails().Level, in.History.Prerequisites); l != d.Strategy.Rails().Level {
		r.Effective, r.Lowered = policy.LevelApprove, why
	}
	timeout := r.Strategy.Spec.ApprovalTimeout.Value()
	r.Approvals = slices.DeleteFunc(r.Approvals, func(a decide.Approval) bool {
		age := d.Now.Sub(a.Asked)
		return age > 3*timeout || a.Answer == "" && age > 2*timeout // no silence counts for longer
	})
	if dec.Action.Kind != assay.ActionAsk || dec.Proposed == nil || r.Strategy.Spec.Level == policy.LevelPropose {
		return
	}
	q := *dec.Proposed
	holds := d.Strategy.Rails().Answers(decide.History{Approvals: r.Approvals}, d.Now)
	waits := func(a decide.Approval) bool { return a.Answer == "" && reaches(q, a.Action) }
	again := func(a decide.Approval) bool { return reaches(q, a.Action) && a.Action.Want == q.Want }
	if slices.ContainsFunc(r.Approvals, waits) || slices.ContainsFunc(holds, again) {
		return
	}
	r.Approvals = append(r.Approvals, decide.Approval{Action: q, Asked: d.Now})
	r.Approvals = r.Approvals[max(0, len(r.Approvals)-maxApprovals):]
}

// reaches reports whether an action goes as far the same way as what a person was asked
// about, or further: then an answer to that is one to a part of it.
func reaches(a, asked assay.Action) bool {
	return a.Kind == asked.Kind && a.Target() == asked.Target() && a.Version == asked.Version &&
		cmp.Compare(a.Want, a.Now) == cmp.Compare(asked.Want, a.Now) && math.Abs(a.Want-a.Now) >= math.Abs(asked.Want-a.Now)
}

// questionID names a question, so that an answer meets the one that was read.
func questionID(q decide.Approval) string {
	a := q.Action
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%v\n%d", a.Kind, a.Target(), a.Version, a.Want, q.Asked.UnixNano()))
	return hex.EncodeToString(sum[:6])
}

// question is the newest one that has no answer.
func (r *record) question() *decide.Approval {
	for i := len(r.Approvals) - 1; i >= 0; i-- {
		if r.Approvals[i].Answer == "" {
			return &r.Approvals[i]
		}
	}
	return nil
}

// moves are what other strategies see of this one.
func (r *record) moves() (out []decide.Move) {
	for _, target := range slices.Sorted(maps.Keys(r.State.Dampers)) {
		moves := r.State.Dampers[target].Moves
		for i, m := range moves {
			out = append(out, decide.Move{
				Time: m.Time, Strategy: r.Name, Rank: r.Strategy.Rank(), Kind: m.Kind, Service: r.Strategy.Spec.Service, Target: target,
				From: m.From, To: m.To, Stands: i == len(moves)-1 && m.Kind != assay.ActionRestore,
			})
		}
	}
	return out
}

// shown is what people see.
func (r *record) shown() api.StrategyStatus {
	s := r.Strategy
	out := api.StrategyStatus{
		Name: r.Name, Service: s.Spec.Service, Law: r.Law, Level: string(s.Spec.Level), Effective: string(r.Effective), Lowered: r.Lowered,
		Precedence: s.Spec.Precedence, Rules: s.Spec.Deterministic, Revision: string(r.Revision), Paused: r.Paused, Decision: r.Decision, Fact: r.Fact, Bands: []api.StrategyBand{},
	}
	out.Outcome, out.Doors, out.MostToggles = r.Outcome, r.Doors, s.Rails().Toggles
	out.Helped, out.Attempts = r.Learned.Success(s.Spec.Service)
	if r.Decision != nil {
		out.Decided = r.Decision.Time
	}
	for _, target := range slices.Sorted(maps.Keys(r.State.Bands)) {
		b := r.State.Bands[target]
		out.Bands = append(out.Bands, api.StrategyBand{Target: target, Now: b.Now, Want: b.Want, Low: b.Low, High: b.High, Held: b.Held, Toggles: b.Turns})
	}
	if f := r.Forecast; f != nil {
		out.Model = &api.StrategyModel{At: f.At, Skill: f.Skill, Cover: f.Cover, Trusted: f.Trusted, Why: f.Why, Upper: f.Upper, Mean: f.Mean, Step: f.Step.Seconds()}
	}
	out.Frozen = r.freezes()
	if q := r.question(); q != nil {
		out.Question, out.QuestionID, out.Asked = &q.Action, questionID(*q), q.Asked
	}
	if r.Pending != nil {
		out.Pending = &r.Pending.Action
	}
	return out
}

func (r *record) key() store.Key {
	return store.Key{Namespace: r.Namespace, Bucket: bucket, Name: r.Name}
}

func (r *record) put(tx store.Tx) error {
	data, err := json.Marshal(r)
	if err != nil {
		return assay.Errorf(assay.CodeInternal, "strategy %s cannot be stored: %w", r.Name, err)
	}
	if r.version, err = tx.Put(r.key(), data, r.version); err != nil {
		return err
	}
	if err := r.cared.put(tx); err != nil {
		return err
	}
	return r.extend(tx)
}

func parse(v store.Value) (record, error) {
	var r record
	if err := strict.JSON(v.Data, &r); err != nil {
		return r, assay.Errorf(assay.CodeInternal, "stored strategy %q: %w", v.Key.Name, err)
	}
	r.version = v.Version
	return r, nil
}

// load reads what is kept of a strategy; nothing yet is an empty record.
func load(ctx context.Context, s store.Store, namespace, name string) (r record, err error) {
	err = s.View(ctx, func(tx store.Reader) error {
		r, err = read(tx, namespace, name)
		return err
	})
	return r, err
}

func read(tx store.Reader, namespace, name string) (record, error) {
	r := record{Namespace: namespace, Name: name}
	v, err := tx.Get(r.key())
	if assay.CodeOf(err) == assay.CodeNotFound {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	return parse(v)
}

func list(ctx context.Context, s store.Store, namespace string) (out []record, err error) {
	err = s.View(ctx, func(tx store.Reader) error {
		for after := ""; ; {
			page, err := tx.List(store.Key{Namespace: namespace, Bucket: bucket}, after, store.MaxLimit)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, v := range page {
				after = v.Key.Name
				r, err := parse(v)
				if err != nil {
					return err
				}
				out = append(out, r)
			}
		}
	})
	return out, err
}

// Get returns one strategy as it stands and stood; CodeNotFound if it was never looked at.
func Get(ctx context.Context, s store.Store, namespace, name string) (out api.StrategyStatus, err error) {
	err = s.View(ctx, func(tx store.Reader) error {
		r, err := read(tx, namespace, name)
		if err == nil && r.version == 0 {
			err = &assay.Error{Code: assay.CodeNotFound, Msg: fmt.Sprintf("strategy %q has not decided anything yet", name), Hint: "strategies are run by a control plane: assay serve"}
		}
		if err != nil {
			return err
		}
		trail, err := r.trail(tx)
		out = r.whole(trail)
		return err
	})
	return out, err
}

// List returns the strategies of a namespace as they stand, by name.
func List(ctx context.Context, s store.Store, namespace string) ([]api.StrategyStatus, error) {
	records, err := list(ctx, s, namespace)
	out := []api.StrategyStatus{}
	for _, r := range records {
		out = append(out, r.shown())
	}
	return out, err
}
