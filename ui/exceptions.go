package ui

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// exceptionRow is an exception as a card.
type exceptionRow struct {
	assay.Exception
	StateNow   state
	LeftPart   float64 // of its time in force
	Needed     int     // approvals that it takes, at least 1
	Agreed     []assay.Approval
	Uses       int
	LastUsed   time.Time
	Counted    bool // Uses is known: it is, of those that are open
	MayApprove bool
	MayRevoke  bool
	Denies     bool   // revoking it denies the request of somebody else
	WhyNot     string // it may not be approved by who looks
}

// exceptionLists are the exceptions by what can be done about them.
type exceptionLists struct {
	Bypasses, Waiting, Active, Coming, Past []exceptionRow
	Trouble                                 *trouble
	MayAsk                                  bool
}

// exceptions shows bypasses, what waits for approval, what is in force and what is over.
func exceptions(v *view) (page, error) {
	p := page{Title: "Exceptions", Nav: "/exceptions"}
	list, err := v.s.Exceptions(v.ctx)
	d := exceptionLists{Trouble: troubleOf(err), MayAsk: v.SignedIn && v.Can(string(api.RoleDeveloper), string(api.RoleOperator))}
	report, err := v.s.ExceptionReport(v.ctx)
	if err != nil && d.Trouble == nil {
		d.Trouble = troubleOf(err)
	}
	used := map[string]api.ExceptionAge{}
	for _, a := range report.Exceptions {
		used[a.ID] = a
	}
	for _, e := range slices.Backward(list) {
		row := v.exceptionRow(e)
		if a, ok := used[e.ID]; ok {
			row.Uses, row.LastUsed, row.Counted = a.Uses, a.LastUsed, true
		}
		switch {
		case !v.Now.Before(e.NotAfter) || e.State == assay.ExceptionRevoked:
			d.Past = append(d.Past, row)
		case e.Emergency:
			d.Bypasses = append(d.Bypasses, row)
		case e.State == assay.ExceptionRequested:
			d.Waiting = append(d.Waiting, row)
		case v.Now.Before(e.NotBefore):
			d.Coming = append(d.Coming, row)
		default:
			d.Active = append(d.Active, row)
		}
	}
	slices.SortStableFunc(d.Active, func(a, b exceptionRow) int { return a.NotAfter.Compare(b.NotAfter) })
	slices.SortStableFunc(d.Coming, func(a, b exceptionRow) int { return a.NotBefore.Compare(b.NotBefore) })
	d.Past = d.Past[:min(len(d.Past), listed)]
	p.add(v, "bypasses", "", "exceptions/bypasses", d)
	p.add(v, "waiting", "", "exceptions/waiting", d)
	p.add(v, "active", "", "exceptions/active", d)
	p.add(v, "coming", "", "exceptions/coming", d)
	p.add(v, "past", "", "exceptions/past", d)
	p.add(v, "ask", "", "exceptions/ask", d)
	return p, nil
}

func (v *view) exceptionRow(e assay.Exception) exceptionRow {
	row := exceptionRow{Exception: e, StateNow: exceptionState(e, v.Now), Needed: max(e.Needs, 1), Agreed: e.Approvals}
	if len(row.Agreed) == 0 && e.Approver != "" {
		row.Agreed = []assay.Approval{{Approver: e.Approver, Time: e.Approved}}
	}
	if whole := e.NotAfter.Sub(e.NotBefore); whole > 0 {
		row.LeftPart = float64(e.NotAfter.Sub(v.Now)) / float64(whole)
	}
	own, approver := samePerson(e.Requester, v.caller.Name), v.Can(string(api.RoleApprover))
	agreed := slices.ContainsFunc(row.Agreed, func(a assay.Approval) bool { return samePerson(a.Approver, v.caller.Name) })
	row.MayApprove = v.SignedIn && approver && !own && !agreed
	row.MayRevoke = v.SignedIn && (approver || own && v.Can(string(api.RoleDeveloper), string(api.RoleOperator)))
	row.Denies = approver && !own
	switch {
	case row.MayApprove:
	case v.SignedIn && agreed:
		row.WhyNot = "You agreed. It needs " + plural(row.Needed-len(row.Agreed), "more approver", "more approvers") + "."
	case v.SignedIn:
		row.WhyNot = "It needs an approver other than " + cmp.Or(e.Requester, "who asked") + "."
	}
	return row
}

// Everything reports whether nothing narrows what e covers beside its rules.
func (e exceptionRow) Everything() bool {
	s := e.Scope
	return len(s.Subjects)+len(s.Packages)+len(s.Advisories)+len(s.Names)+len(s.Environments) == 0
}

// samePerson compares names as approvals do.
func samePerson(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}
