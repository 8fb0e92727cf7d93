package gate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// normal brings inputs into the one order and form that verdicts are made of:
// times in UTC, evidence sorted and without repetition, exceptions by id.
func normal(in Inputs) Inputs {
	in.Now = in.Now.UTC()
	in.Evidence, in.Baseline = distinct(in.Evidence), distinct(in.Baseline)
	in.History = slices.Clone(in.History)
	slices.SortFunc(in.History, func(a, b evidence.History) int { return cmp.Compare(a.Test, b.Test) })
	in.Refused = slices.Clone(in.Refused)
	slices.SortFunc(in.Refused, func(a, b assay.Refusal) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Location.File, b.Location.File), cmp.Compare(a.Digest, b.Digest),
			a.Location.Line-b.Location.Line, a.Location.Column-b.Location.Column, cmp.Compare(a.Reason, b.Reason))
	})
	in.Refused = slices.Compact(in.Refused)
	exceptions := make([]assay.Exception, len(in.Exceptions))
	for i, e := range in.Exceptions {
		exceptions[i] = utc(e)
	}
	slices.SortFunc(exceptions, func(a, b assay.Exception) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Digest(), b.Digest()))
	})
	in.Exceptions = exceptions
	return in
}

// distinct sorts evidence and drops reports presented twice, so that nothing is
// counted twice. Of two claims about the same bytes the weaker one is kept:
// recorded before live, then the earlier collection.
func distinct(list []assay.Evidence) []assay.Evidence {
	out := slices.Clone(list)
	for i := range out {
		out[i].Produced, out[i].Collected = out[i].Produced.UTC(), out[i].Collected.UTC()
	}
	slices.SortFunc(out, func(a, b assay.Evidence) int {
		if c := cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Digest, b.Digest), -cmp.Compare(a.Origin, b.Origin),
			a.Collected.Compare(b.Collected), cmp.Compare(a.Source, b.Source)); c != 0 {
			return c
		}
		return bytes.Compare(text(a), text(b))
	})
	return slices.CompactFunc(out, func(a, b assay.Evidence) bool {
		return a.Kind == b.Kind && a.Digest == b.Digest && a.Digest != ""
	})
}

// text breaks ties that nothing else does.
func text(e assay.Evidence) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		return nil // only for years beyond 9999
	}
	return data
}

func utc(e assay.Exception) assay.Exception {
	e.Requested, e.Approved, e.Revoked = e.Requested.UTC(), e.Approved.UTC(), e.Revoked.UTC()
	e.NotBefore, e.NotAfter = e.NotBefore.UTC(), e.NotAfter.UTC()
	e.Approvals = slices.Clone(e.Approvals)
	for i := range e.Approvals {
		e.Approvals[i].Time = e.Approvals[i].Time.UTC()
	}
	return e
}

// ordered sorts violations and drops repetitions; it never returns nil.
func ordered(list []assay.Violation) []assay.Violation {
	out := append([]assay.Violation{}, list...)
	slices.SortFunc(out, compare)
	return slices.CompactFunc(out, func(a, b assay.Violation) bool { return compare(a, b) == 0 })
}

func compare(a, b assay.Violation) int {
	if c := cmp.Or(
		cmp.Compare(a.Rule, b.Rule), b.Severity.Rank()-a.Severity.Rank(), cmp.Compare(a.Severity, b.Severity),
		cmp.Compare(a.Package.Name, b.Package.Name), cmp.Compare(a.Package.Version, b.Package.Version), cmp.Compare(a.Package.PURL, b.Package.PURL),
		cmp.Compare(a.Location.File, b.Location.File), a.Location.Line-b.Location.Line, a.Location.Column-b.Location.Column,
	); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.Fingerprint, b.Fingerprint), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Remedy, b.Remedy),
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Mode, b.Mode), cmp.Compare(a.Exception, b.Exception),
		slices.Compare(a.Package.Licenses, b.Package.Licenses),
	)
}
