package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
)

// auditOptions say what a full audit of an installation looks at.
func (a *app) auditOptions(ctx context.Context, in *installation, fsck bool) (ledger.AuditOptions, error) {
	payloads, err := artifact.OpenPayloads(ctx, in.store, in.blobs)
	return ledger.AuditOptions{Fsck: fsck, Quorum: a.cfg.get("witnesses") != "", Now: a.now, Payloads: payloads}, err
}

// audits are the periodic audits of a server, and what its retention removes.
type audits struct {
	every  time.Duration
	days   int
	failed prometheus.Gauge
	last   prometheus.Gauge
	took   prometheus.Gauge
	gone   prometheus.Counter
}

// newAudits reads the settings and makes the metrics.
func (a *app) newAudits(reg prometheus.Registerer) (*audits, error) {
	every, err := time.ParseDuration(a.cfg.get("audit-every"))
	if err != nil || every != 0 && every < time.Second {
		return nil, usageError{fmt.Errorf("audit-every %q is not 0 or a duration of at least 1s, for example 6h", a.cfg.get("audit-every"))}
	}
	days, err := strconv.Atoi(a.cfg.get("evidence-days"))
	if err != nil || days < 0 {
		return nil, usageError{fmt.Errorf("evidence-days %q is not a whole number of days", a.cfg.get("evidence-days"))}
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	s := &audits{
		every: every, days: days,
		failed: gauge("assay_ledger_audit_failed_state", "1 if the last audit found that store and ledger disagree."),
		last:   gauge("assay_ledger_audit_timestamp_seconds", "When the last audit ended."),
		took:   gauge("assay_ledger_audit_seconds", "How long the last audit took."),
		gone:   prometheus.NewCounter(prometheus.CounterOpts{Name: "assay_payloads_expired_total", Help: "Payloads removed under their retention."}),
	}
	reg.MustRegister(s.gone)
	return s, nil
}

// expireEvery is how often a server removes what expired; more often if it audits more often.
const expireEvery = 6 * time.Hour

// runAudits audits and expires until ctx ends; the first time one interval after the start.
func (a *app) runAudits(in *installation, s *audits) func(context.Context) error {
	return func(ctx context.Context) error {
		s.run(ctx, func() {
			if err := a.expireOnce(ctx, in, s); err != nil && ctx.Err() == nil {
				a.log.Error("expired payloads could not be removed", "error", err)
			}
		}, func() {
			if err := a.auditOnce(ctx, in, s); err != nil && ctx.Err() == nil {
				a.log.Error("the ledger could not be audited", "error", err)
			}
		})
		return nil
	}
}

// run calls expire and audit, each in its time and never both at once: an audit would
// take what goes meanwhile for lost. Evidence expires also where nothing is audited.
func (s *audits) run(ctx context.Context, expire, audit func()) {
	var audits <-chan time.Time // never, without an interval
	between := expireEvery
	if s.every != 0 {
		between = min(between, s.every)
		tick := time.NewTicker(s.every)
		defer tick.Stop()
		audits = tick.C
	}
	expires := time.NewTicker(between)
	defer expires.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-expires.C:
			expire()
		case <-audits:
			audit()
		}
	}
}

func (a *app) expireOnce(ctx context.Context, in *installation, s *audits) error {
	if s.days == 0 {
		return nil
	}
	n, err := in.plane.ExpireEvidence(ctx, in.blobs, s.days)
	s.gone.Add(float64(n))
	if n > 0 {
		a.log.Info("payloads expired", "class", artifact.ClassEvidence, "payloads", n)
	}
	return err
}

// auditOnce audits beside the running sequencer and keeps what it found as a fact.
func (a *app) auditOnce(ctx context.Context, in *installation, s *audits) error {
	start := a.now()
	o, err := a.auditOptions(ctx, in, false)
	if err != nil {
		return err
	}
	o.Quorum = false // /metrics and ledger head show it; witnesses may be away
	r, err := in.ledger.Audit(ctx, o)
	if err != nil {
		return err
	}
	s.took.Set(a.now().Sub(start).Seconds())
	s.last.Set(float64(a.now().Unix()))
	s.failed.Set(0)
	if !r.OK {
		s.failed.Set(1)
		a.log.Error("AUDIT FAILED: store and ledger disagree", "problems", len(r.Problems)+r.Omitted, "first", r.Problems[0])
	}
	in.audited.Store(&r)
	// At most MaxProblems sentences of bounded length: it always encodes.
	payload, _ := json.Marshal(r)
	return in.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Append(assay.Fact{
			Kind: assay.FactLedgerAudited, Version: 1, Namespace: systemNamespace, Actor: "ledger.audit",
			Retention: assay.RetainOperational, Payload: payload,
		})
		return err
	})
}

// lagging says, in a line for who asks whether we are ready, that publishing is behind
// or that an audit failed. Neither keeps facts from being recorded.
func (in *installation) lagging(ctx context.Context) string {
	var text string
	if r := in.audited.Load(); r != nil && !r.OK {
		text = fmt.Sprintf("ledger audit failed: %s\n", plural(len(r.Problems)+r.Omitted, "problem"))
	}
	if in.seq == nil {
		return text
	}
	if since, waits := in.seq.Lag(); waits {
		text += fmt.Sprintf("ledger published=lagging for %s\n", since.Round(time.Second))
	}
	return text
}

// payloadShown is what became of one payload of a proven fact.
type payloadShown struct {
	Digest  assay.Digest        `json:"digest"`
	State   ledger.PayloadState `json:"state"`
	Expired time.Time           `json:"expired,omitzero"` // when it was removed under its retention
}

// payloadsOf says what became of the payloads that a proven fact names.
func (a *app) payloadsOf(ctx context.Context, f assay.Fact) ([]payloadShown, error) {
	in, err := a.open(ctx, false, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer in.close()
	p, err := artifact.OpenPayloads(ctx, in.store, in.blobs)
	if err != nil {
		return nil, err
	}
	list := []payloadShown{}
	for _, d := range p.Named(f) {
		v := payloadShown{Digest: d}
		if v.State, err = p.State(ctx, d); err != nil {
			return nil, err
		}
		if v.State == ledger.PayloadExpired {
			v.Expired, _ = p.Expired(d)
		}
		list = append(list, v)
	}
	return list, nil
}

// there reports whether a payload is kept, or was removed on record.
func (p payloadShown) there() bool {
	return p.State == ledger.PayloadKept || p.State == ledger.PayloadExpired
}

func (a *app) printPayloads(list []payloadShown) {
	for _, p := range list {
		switch {
		case p.State == ledger.PayloadExpired:
			fmt.Fprintf(a.out, "%s payload %s expired on %s, inclusion proven\n", a.out.Paint(term.Green, "✓"), p.Digest, p.Expired.Format(time.DateOnly))
		case p.there():
			fmt.Fprintf(a.out, "%s payload %s %s\n", a.out.Paint(term.Green, "✓"), p.Digest, p.State)
		default:
			fmt.Fprintf(a.out, "%s payload %s %s\n", a.out.Paint(term.Vermilion, "✗"), p.Digest, p.State)
		}
	}
}
