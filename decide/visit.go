package decide

import (
	"math"
	"slices"
	"time"

	"assay.dev/assay/infer"
)

// A user, tenant or job that stays with one version for some minutes does its work there:
// events come in bursts that are longer than a reading, and variances of single readings do
// not show them. The old version's mean over many of them does, but one such visit in a
// canary of little traffic is most of what it counts. So harm by counts and values is only
// believed if it is shown without the new version's busiest stretch too.

// visitTime is how long such a stretch is at the most. What is taken away is no more than
// burstEvents: where there is much traffic no visit is a great part of it, and harm that
// shows at once is not waited with.
const visitTime = 5 * time.Minute

// visitParts is how many parts of it are told apart.
const visitParts = 10

// Visit is the busiest stretch of the new version so far, by how many events more than the
// old version's rate it had.
type Visit struct {
	Parts []VisitPart `json:"parts,omitempty"` // the newest stretch, oldest first
	Most  float64     `json:"most,omitempty"`  // of any stretch so far, events more
}

// VisitPart is a part of a stretch.
type VisitPart struct {
	From time.Time `json:"from"`
	More float64   `json:"more"` // events more than the old version's rate; negative: less
}

// with adds what both versions counted in one interval; v is not changed.
func (v *Visit) with(canary, control infer.Count, from, to time.Time) *Visit {
	out := Visit{}
	if v != nil {
		out = *v
	}
	more := float64(canary.Events) - control.Rate()*float64(canary.Exposure)
	parts := slices.DeleteFunc(slices.Clone(out.Parts), func(p VisitPart) bool { return to.Sub(p.From) > visitTime })
	if n := len(parts); n > 0 && to.Sub(parts[n-1].From) <= visitTime/visitParts {
		parts[n-1].More += more
	} else {
		parts = append(parts, VisitPart{from.UTC(), more})
	}
	sum := 0.0
	for _, p := range slices.Backward(parts) {
		sum += p.More
		out.Most = max(out.Most, sum)
	}
	out.Parts = parts
	return &out
}

// events is how many events harm has to be shown without.
func (v *Visit) events() uint64 {
	if v == nil {
		return 0
	}
	return uint64(math.Ceil(min(v.Most, burstEvents)))
}

// visited reports whether the test counts work that a visit may have done. Of events of
// which fewer are worse no visit is harm.
func (t *test) visited(p *Plan) bool {
	i := &p.Indicators[t.indicator]
	return i.plain() && i.Kind != KindGauge && !i.reversed()
}
