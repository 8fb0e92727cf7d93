package decide

import (
	"time"

	"assay.dev/assay"
)

// Answers are what people said last about actions, as far as it still counts: a yes for
// the time-out from the answer on, a no for the time-out from the question on. Silence is
// no answer of a person, whatever the default of an unanswered question is.
func (r Rails) Answers(h History, now time.Time) (out []Approval) {
	g := rails{r, h, now.UTC()}
	for i, q := range h.Approvals {
		if q.By != "" && q.Answer != "" && newest(h.Approvals[i+1:], q.Action) == nil && g.counts(q) {
			out = append(out, q)
		}
	}
	return out
}

// counts reports whether an answer still holds.
func (g rails) counts(q Approval) bool {
	switch q.Answer {
	case "yes":
		return g.now.Sub(q.Answered) <= g.ApprovalTimeout
	case "no":
		return g.now.Sub(q.Asked) <= g.ApprovalTimeout
	}
	return false
}

// newest is the last question that is about exactly the action.
func newest(list []Approval, a assay.Action) *Approval {
	for i := len(list) - 1; i >= 0; i-- {
		if q := list[i].Action; q.Kind == a.Kind && q.Target() == a.Target() && q.Want == a.Want && q.Version == a.Version && q.Weight == a.Weight {
			return &list[i]
		}
	}
	return nil
}
