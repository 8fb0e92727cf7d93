package main

import (
	"math"
	"math/rand/v2"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// world is a service whose errors may come in bursts. Intensities are requests per
// second of both versions together; bursts hit one version each.
type world struct {
	name    string
	rps     float64
	rate    float64 // of errors, on the average
	phi     float64 // variance-to-mean ratio of the errors of one version
	later   float64 // phi once the rollout has begun; 0 is the same
	ratio   float64 // how many times worse the new version is
	after   time.Duration
	shared  bool // incidents of 5 minutes in every 30 that hit both versions ten times as hard
	daily   bool // traffic and error rate swing with the day
	trace   []float64
	seconds int // of one value of the trace
	arms    int // replicas that the history tells apart; 0 is the whole
	look    time.Duration
	horizon time.Duration
}

const (
	historyMinutes = 4 * 24 * 60
	worldLook      = 30 * time.Second
)

var worldStart = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// simulated is one run of a world. Time is counted from the start of the rollout.
type simulated struct {
	world
	rng   *rand.Rand
	phase float64 // of the day, or where the trace begins
}

func (w world) begin(rng *rand.Rand) *simulated {
	if w.look == 0 {
		w.look = worldLook
	}
	if w.horizon == 0 {
		w.horizon = time.Hour
	}
	if w.ratio == 0 {
		w.ratio = 1
	}
	s := &simulated{world: w, rng: rng, phase: rng.Float64()}
	if n := len(w.trace); n > 0 {
		// The history before and the horizon after lie within the trace.
		before, behind := historyMinutes*60/w.seconds, int(w.horizon.Seconds())/w.seconds
		s.phase = float64(before + rng.IntN(n-before-behind-1))
	}
	return s
}

// intensity is requests in the stretch from t on, and the rate of their errors.
func (s *simulated) intensity(t, length time.Duration) (requests uint64, rate float64) {
	mean, rate := s.rps*length.Seconds(), s.rate
	if len(s.trace) > 0 {
		mean = 0
		for left, at := length.Seconds(), t.Seconds()/float64(s.seconds)+s.phase; left > 1e-9; {
			part := min(left, (math.Floor(at)+1-at)*float64(s.seconds))
			mean += s.trace[min(max(int(at), 0), len(s.trace)-1)] * s.rps * part
			at += part/float64(s.seconds) + 1e-12
			left -= part
		}
	}
	if s.daily {
		swing := math.Sin(2 * math.Pi * (t.Hours()/24 + s.phase))
		mean *= 1 + 0.6*swing
		rate *= 1 - 0.6*swing
	}
	if s.shared && math.Mod(t.Minutes()+30*1e6+30*s.phase, 30) < 5 {
		rate *= 10
	}
	return uint64(math.Round(mean)), rate
}

// errors draws bursts of geometric size: their counts have the dispersion phi.
func (s *simulated) errors(requests uint64, rate, phi float64) (bad uint64) {
	size := (phi + 1) / 2
	for range poisson(s.rng, float64(requests)*rate/size) {
		bad++
		if size > 1 {
			bad += uint64(math.Log1p(-s.rng.Float64()) / math.Log1p(-1/size))
		}
	}
	return min(bad, requests)
}

// history is the old version's last four days, by minute.
func (s *simulated) history() [][]assay.Reading {
	out := make([][]assay.Reading, 0, historyMinutes)
	for i := -historyMinutes; i < 0; i++ {
		t := time.Duration(i) * time.Minute
		n, rate := s.intensity(t, time.Minute)
		var slot []assay.Reading
		arms := uint64(max(s.arms, 1))
		for range arms {
			slot = append(slot, errorReading("v1", t, time.Minute, s.errors(n/arms, rate, s.phi), n/arms))
		}
		out = append(out, slot)
	}
	return out
}

// readings are both versions' at a share of the traffic.
func (s *simulated) readings(t time.Duration, share float64) []assay.Reading {
	n, rate := s.intensity(t, s.look)
	phi := s.phi
	if s.later > 0 {
		phi = s.later
	}
	bad := rate
	if t >= s.after {
		bad *= s.ratio
	}
	canary := binomial(s.rng, n, share)
	return []assay.Reading{
		errorReading("v2", t, s.look, s.errors(canary, bad, phi), canary),
		errorReading("v1", t, s.look, s.errors(n-canary, rate, phi), n-canary),
	}
}

func errorReading(version string, t, length time.Duration, bad, total uint64) assay.Reading {
	end := worldStart.Add(t + length)
	return assay.Reading{Service: "shop", Indicator: "errors", Version: version, Good: total - bad, Total: total,
		Start: worldStart.Add(t), End: end, EventTime: end, Ingested: end, Completeness: 1}
}

// worldPlan is the default configuration, watching errors.
func worldPlan() decide.Plan {
	p := decide.NewPlan()
	p.Name, p.Service, p.Canary, p.Control = "detect", "shop", "v2", "v1"
	p.Indicators = []decide.Indicator{{Name: "errors", Weight: 1, Required: true}}
	return p
}

func allow(assay.Action) []assay.GuardVerdict { return nil }

// play runs the rollout at the first step to its horizon and says whether and when it
// was aborted: advances are not carried out, so that every look has the least share
// and the most time for a false abort.
func (s *simulated) play(p decide.Plan) (aborted bool, canary uint64, err error) {
	st, err := decide.Begin(p, worldStart)
	if err != nil {
		return false, 0, err
	}
	for t := time.Duration(0); t < s.horizon; t += s.look {
		readings := s.readings(t, float64(p.Steps[0])/100)
		d, next, err := decide.Next(p, st, readings, allow, worldStart.Add(t+s.look))
		if err != nil {
			return false, 0, err
		}
		if st = next; d.Action.Kind == assay.ActionAbort {
			return true, d.Tests[0].Canary.Total, nil
		}
	}
	return false, st.Watches[0].Tests[0].Treated.Exposure, nil
}

// poisson draws by counting for small means and by a rounded normal for large ones.
func poisson(rng *rand.Rand, mean float64) int {
	if mean > 500 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
	}
	n := 0
	for left := mean - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
		n++
	}
	return n
}
