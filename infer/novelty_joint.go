package infer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// ChannelTogether is the channel of a Joint: no indicator need be strange by itself.
const ChannelTogether Channel = "together"

// MaxTogether is how many indicators a Joint takes.
const MaxTogether = 8

const (
	learnTogether = 0.01
	shrink        = 0.1 // of the correlations towards none, so that they can be inverted
	leastTogether = 50  // observations before a distance is measured
)

// Joint watches the forecast errors of several indicators of a service together: their
// Mahalanobis distance, judged by a Conformal. Requests that rise while errors rise
// with them are as usual; requests that fall while errors rise are not, though each
// may be within its own band.
type Joint struct {
	zone *time.Location
	rest NoveltyConfig
	odds *Conformal
	s    JointState
}

// JointState is what a Joint remembers.
type JointState struct {
	Seen    int            `json:"seen"`
	Scale   []float64      `json:"scale"` // mean absolute error of each indicator
	Cov     []float64      `json:"cov"`   // of the errors in their scales, row by row
	Resting int            `json:"resting"`
	Errors  ConformalState `json:"errors"`
}

// NewJoint starts with nothing seen of n indicators, 2 to MaxTogether.
func NewJoint(cfg ConformalConfig, n int, zone *time.Location) *Joint {
	if zone == nil {
		zone = time.UTC
	}
	n = min(max(n, 2), MaxTogether)
	j := &Joint{zone: zone, rest: DefaultNovelty(), odds: NewConformal(cfg)}
	j.s = JointState{Scale: make([]float64, n), Cov: make([]float64, n*n)}
	return j
}

// State is what it remembers, for Restore; the next Observe changes it.
func (j *Joint) State() JointState {
	s := j.s
	s.Errors = j.odds.State()
	return s
}

// Restore goes on from a state; false, and nothing changes, if it is of other
// indicators or of another configuration.
func (j *Joint) Restore(s JointState) bool {
	if len(s.Scale) != len(j.s.Scale) || len(s.Cov) != len(j.s.Cov) || s.Seen < 0 || s.Resting < 0 {
		return false
	}
	for _, v := range slices.Concat(s.Scale, s.Cov) {
		if !(math.Abs(v) <= 2*MaxObservation) {
			return false
		}
	}
	if !j.odds.Restore(s.Errors) {
		return false
	}
	s.Errors = ConformalState{}
	j.s = s
	return true
}

// Observe takes the errors of the indicators' forecasts at one time, in the order of
// their names. If one is no number, or their count is another, it is no observation.
func (j *Joint) Observe(at time.Time, names []string, errs []float64) Surprise {
	n := len(j.s.Scale)
	if len(errs) != n || len(names) != n || slices.ContainsFunc(errs, func(e float64) bool { return !(math.Abs(e) <= 2*MaxObservation) }) {
		return Surprise{P: 1}
	}
	z := make([]float64, n)
	for i, e := range errs {
		z[i] = min(max(e/(j.s.Scale[i]+tiny), -1e3), 1e3)
	}
	out := Surprise{P: 1}
	if j.s.Seen >= leastTogether {
		d := j.distance(z)
		r := j.odds.Observe(at.In(j.zone).Hour()*j.odds.cfg.Buckets/24, d)
		out.P, out.Capital = r.P, r.Capital
		if j.s.Resting > 0 {
			j.s.Resting--
		} else if r.Alarm {
			out.Alarm, out.Why = true, together(names, z, r.Capital)
			j.s.Resting = min(int(j.rest.RestShare*float64(j.s.Seen)), j.rest.RestMost)
		}
	}
	j.learn(errs, z)
	return out
}

func (j *Joint) learn(errs, z []float64) {
	n := len(z)
	rate := max(learnTogether, 1/float64(j.s.Seen+1))
	for a := range n {
		j.s.Scale[a] += rate * (math.Abs(errs[a]) - j.s.Scale[a])
		for b := range n {
			// One outlier must not become what is usual.
			j.s.Cov[a*n+b] += rate * (min(max(z[a], -5), 5)*min(max(z[b], -5), 5) - j.s.Cov[a*n+b])
		}
	}
	j.s.Seen++
}

// distance is Mahalanobis', with the covariance drawn towards that of indicators that
// have nothing to do with each other.
func (j *Joint) distance(z []float64) float64 {
	n := len(z)
	a := slices.Clone(j.s.Cov)
	for i := range n {
		for k := range n {
			if i != k {
				a[i*n+k] *= 1 - shrink
			}
		}
		a[i*n+i] += 1e-3
	}
	x, ok := solve(a, z, n)
	if !ok {
		x = z
	}
	sum := 0.0
	for i := range n {
		sum += x[i] * z[i]
	}
	return math.Sqrt(max(sum, 0))
}

// together says which indicators were furthest from what was expected.
func together(names []string, z []float64, capital float64) string {
	order := make([]int, len(z))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case math.Abs(z[a]) > math.Abs(z[b]):
			return -1
		case math.Abs(z[a]) < math.Abs(z[b]):
			return 1
		}
		return 0
	})
	var parts []string
	for _, i := range order[:min(3, len(order))] {
		parts = append(parts, fmt.Sprintf("%s %+.1f", names[i], z[i]))
	}
	return fmt.Sprintf("the indicators together are off what was expected (%s times their usual error), and so are the latest: odds of 1 to %.3g", strings.Join(parts, ", "), capital)
}
