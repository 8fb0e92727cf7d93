package control

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/report"
	"assay.dev/assay/store"
)

// Compliance puts the evidence of the caller's namespace in a framework's order,
// every line with its proof. Where a sequencer runs, it waits until what is
// recorded is published.
func (s *Session) Compliance(ctx context.Context, req api.ComplianceRequest) (report.Report, error) {
	if err := s.readLedger(); err != nil {
		return report.Report{}, err
	}
	f, err := report.Lookup(req.Framework)
	if err != nil {
		return report.Report{}, err
	}
	if err := s.publishAll(ctx); err != nil {
		return report.Report{}, err
	}
	coverage, err := s.p.Coverage(ctx, s.caller.Namespace, "")
	if err != nil {
		return report.Report{}, err
	}
	head, err := s.Head(ctx)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return report.Report{}, err
	}
	return report.Build(ctx, report.Config{
		Store: s.p.cfg.Store, Outbox: s.p.cfg.Outbox, Ledger: s.p.cfg.Ledger, Head: head, System: systemNamespace,
		Namespace: s.caller.Namespace, Coverage: coverage, Lines: req.Lines,
	}, f, req.From, req.To, s.p.cfg.Now())
}

// Verification says how many checks of the namespace's recorded verdicts passed, by
// environment and period.
func (s *Session) Verification(ctx context.Context, req api.VerificationRequest) (report.Verification, error) {
	if err := s.read(); err != nil {
		return report.Verification{}, err
	}
	return report.Rates(ctx, s.p.cfg.Store, s.caller.Namespace, req, s.p.cfg.Now())
}

// Operations says what rollouts and strategies of the namespace did, and what became of it.
func (s *Session) Operations(ctx context.Context, req api.OperationsRequest) (report.Operations, error) {
	if err := s.read(); err != nil {
		return report.Operations{}, err
	}
	return report.Operate(ctx, s.p.cfg.Store, s.caller.Namespace, req, s.p.cfg.Now())
}

// publishAll waits until the newest audit fact of the caller's namespace is published.
func (s *Session) publishAll(ctx context.Context) error {
	if !s.p.cfg.Publishes {
		return nil
	}
	var newest assay.FactID
	err := s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		// Any number of facts that are in no ledger may have come since, as of rollouts.
		for q := (store.Query{Namespace: s.caller.Namespace, Newest: true, Limit: store.MaxLimit}); ; {
			rows, err := r.Facts(q)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if row.Fact.Retention == assay.RetainAudit {
					newest = row.Fact.ID
					return nil
				}
				q.After = row.Commit
			}
			if len(rows) < store.MaxLimit {
				return nil
			}
		}
	})
	if err != nil || newest == "" {
		return err
	}
	s.p.cfg.Poke()
	return s.waitPublished(ctx, newest)
}
