package anomaly

import (
	"slices"
	"time"

	"assay.dev/assay"
)

// Indicators is a service as it is watched.
type Indicators struct {
	Service string    `json:"service"`
	Zone    string    `json:"zone"`
	Until   time.Time `json:"until"`             // the minutes before are judged
	Trouble string    `json:"trouble,omitempty"` // why nothing is judged, "" if it is
	// Together is how many groups of indicators are watched together; each has at most
	// infer.MaxTogether of them, and what spans two groups is not seen.
	Together   int         `json:"together"`
	Objectives []Objective `json:"objectives"`
}

// Objective is an objective as it is watched.
type Objective struct {
	Objective string      `json:"objective"` // "slo/index"
	Name      string      `json:"name"`
	Minutes   int         `json:"minutes"` // with data, so far
	Lines     []Indicator `json:"indicators"`
	Load      Forecast    `json:"load"`
}

// Indicator is one line of an objective.
type Indicator struct {
	Name      string  `json:"name"`
	Points    []Point `json:"points"`      // the newest, oldest first
	Coverage  float64 `json:"coverage_90"` // moving share of observations that their band held
	Covered   bool    `json:"covered"`     // enough bands to say so
	Certainty string  `json:"certainty"`
	Basis     string  `json:"basis"`
}

// Service returns a service as it is watched; CodeNotFound if it is not.
func (w *Watcher) Service(name string) (Indicators, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.services, func(s *service) bool { return s.name == name })
	if i < 0 {
		e := assay.Errorf(assay.CodeNotFound, "service %q is not watched", name)
		e.Hint = "the objectives of the policy directory say which services are"
		return Indicators{}, e
	}
	s := w.services[i]
	out := Indicators{Service: s.name, Zone: s.zone.String(), Until: time.Unix(s.next*60, 0).UTC(), Together: len(s.joints), Objectives: []Objective{}}
	if s.failed != nil {
		out.Trouble = s.failed.Error()
	}
	for _, u := range s.subjects {
		o := Objective{Objective: u.id, Name: u.objective.Name, Minutes: u.s.Known, Load: u.load.made}
		o.Load.Live, o.Load.LiveSlots = u.load.s.Live, u.load.s.Held
		o.Load.Steps = slices.Clone(o.Load.Steps)
		if o.Load.Reason == "" {
			o.Load.Reason = "reactive: nothing has been forecast yet"
		}
		for _, l := range []*line{u.requests, u.share} {
			share, known, _ := l.expect.Coverage()
			certainty, basis := l.expect.Certainty()
			o.Lines = append(o.Lines, Indicator{Name: l.name, Points: slices.Clone(l.recent), Coverage: share, Covered: known, Certainty: string(certainty), Basis: basis})
		}
		out.Objectives = append(out.Objectives, o)
	}
	return out, nil
}
