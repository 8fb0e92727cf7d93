package anomaly

import (
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
)

// Names of indicators.
const (
	indicatorRequests  = "requests"
	indicatorBad       = "bad share"
	indicatorTelemetry = "telemetry"
	indicatorTogether  = "together"
)

const (
	// shareFrom is how many events a share is taken of: minutes with fewer are added up.
	shareFrom = 20
	// steadyFrom is how many minutes with data make their absence news.
	steadyFrom = 60
	// silentFor is how many minutes without data, or with other data than before, it
	// takes, at least.
	silentFor = 5
	// halfOf is the share of series that must report.
	halfOf = 0.5
)

// measure is what one minute of an objective was.
type measure struct {
	known      bool
	total, bad float64
	complete   float64
	versions   bool  // some series name their version
	err        error // why it cannot be counted
}

// merge adds up the versions of a service: they share its promise.
func merge(readings []assay.Reading, err error) measure {
	m := measure{err: err, complete: 1}
	for _, r := range readings {
		m.known = true
		m.total += float64(r.Total)
		m.bad += float64(r.Bad())
		m.complete = min(m.complete, r.Completeness)
		m.versions = m.versions || r.Version != signal.UnknownVersion
	}
	return m
}

// subject is one objective that is watched.
type subject struct {
	id        string
	objective slo.Objective
	indicator signal.Indicator
	requests  *line
	share     *line
	load      *load
	s         subjectState
}

// subjectState is what is kept of a subject, beside its lines and its load.
type subjectState struct {
	Events    float64 `json:"events"` // of the minutes that are being added up
	Bad       float64 `json:"bad"`
	Known     int     `json:"known"`    // minutes with data so far
	Silent    int     `json:"silent"`   // minutes without, now
	Longest   int     `json:"longest"`  // that it was silent before
	Versions  int     `json:"versions"` // minutes in which series named their versions
	Nameless  int     `json:"nameless"` // minutes, now, in which none did
	Thin      int     `json:"thin"`     // minutes, now, in which many series were missing
	Unread    int     `json:"unread"`   // minutes, now, that could not be counted
	Announced bool    `json:"announced"`
	Level     float64 `json:"level"`  // usual events of a minute
	Factor    float64 `json:"factor"` // of another unit that what comes now seems to be counted in, 0 if it does not
	Scaled    int     `json:"scaled"` // minutes, now, in which it does
}

// kept is a subject's page of the notebook.
type kept struct {
	Fingerprint string       `json:"fingerprint"` // of what it counts
	Zone        string       `json:"zone"`
	Requests    lineState    `json:"requests"`
	Share       lineState    `json:"share"`
	Load        loadState    `json:"load"`
	Subject     subjectState `json:"subject"`
}

func newSubject(o slo.Objective, zone *time.Location) (*subject, error) {
	spec := signal.Spec{Service: o.Service, Name: o.SLO, Total: o.Indicator.Total.Text}
	if o.Indicator.Good != nil {
		spec.Good = o.Indicator.Good.Text
	}
	if o.Indicator.Bad != nil {
		spec.Bad = o.Indicator.Bad.Text
	}
	ind, err := signal.Compile(spec)
	if err != nil {
		return nil, err
	}
	return &subject{
		id: fmt.Sprintf("%s/%d", o.SLO, o.Index), objective: o, indicator: ind,
		requests: newLine(indicatorRequests, zone), share: newLine(indicatorBad, zone), load: newLoad(zone),
	}, nil
}

func (u *subject) kept() kept {
	return kept{Requests: u.requests.state(), Share: u.share.state(), Load: u.load.s, Subject: u.s}
}

// restore takes a page; what does not fit is learnt anew.
func (u *subject) restore(k kept) bool {
	if len(k.Load.Slots) > slotsKept || !u.requests.restore(k.Requests) || !u.share.restore(k.Share) {
		return false
	}
	u.load.s, u.s = k.Load, k.Subject
	return true
}

// observe takes a minute. errs are the errors of its indicators' forecasts, for the
// detector of all together; slots reports that a slot of the load ended.
func (u *subject) observe(at time.Time, m measure, aside bool) (found []Found, errs [2]float64, slotEnded bool) {
	requests, share := math.NaN(), math.NaN()
	if m.known {
		requests = m.total
		u.s.Events += m.total
		u.s.Bad += m.bad
		if u.s.Events >= shareFrom {
			share = u.s.Bad / u.s.Events
			u.s.Events, u.s.Bad = 0, 0
		}
	}
	add := func(f *Found) {
		if f != nil {
			f.Objective = u.id
			found = append(found, *f)
		}
	}
	var f *Found
	f, errs[0] = u.requests.observe(at, requests, aside)
	add(f)
	f, errs[1] = u.share.observe(at, share, aside)
	add(f)
	add(u.telemetry(at, m))
	if aside {
		requests = math.NaN() // what is measured then says nothing about the usual load
	}
	return found, errs, u.load.add(at, requests)
}

// telemetry watches the measuring itself. One alarm, until it is as before.
func (u *subject) telemetry(at time.Time, m measure) *Found {
	s := &u.s
	count := func(n *int, bad bool) {
		if *n++; !bad {
			*n = 0
		}
	}
	silent := s.Silent
	count(&s.Silent, !m.known && m.err == nil && s.Known > 0) // before the first data nobody is silent
	if m.known {
		s.Longest = max(s.Longest, silent)
		s.Known++
	}
	if m.versions {
		s.Versions++
	}
	count(&s.Unread, m.err != nil)
	count(&s.Nameless, m.known && !m.versions && s.Versions >= steadyFrom)
	count(&s.Thin, m.known && m.complete < halfOf)
	if m.known {
		u.scale(m.total)
	}
	channel, words, score := u.trouble(m)
	if channel == "" {
		if m.known {
			s.Announced = false
		}
		return nil
	}
	if s.Announced {
		return nil
	}
	s.Announced = true
	return &Found{
		Indicator: indicatorTelemetry, Channel: channel, Words: words, Time: at, Score: score,
		Certainty: string(assay.Calibrated), Basis: "a rule: five minutes in a row, and longer than ever before",
	}
}

// trouble says what is wrong with the measuring, "" if nothing is. Only what was
// steady before can be missed.
func (u *subject) trouble(m measure) (infer.Channel, string, float64) {
	s := u.s
	switch {
	case s.Known < steadyFrom:
	case s.Silent >= max(silentFor, s.Longest+1):
		return ChannelSilence, fmt.Sprintf("telemetry: no data for %d minutes; the longest gap in %d minutes before was %d", s.Silent, s.Known, s.Longest), float64(s.Silent)
	case s.Unread >= silentFor:
		return ChannelMeaning, "telemetry: what comes can no longer be counted: " + m.err.Error(), float64(s.Unread)
	case s.Nameless >= silentFor:
		return ChannelMeaning, fmt.Sprintf("telemetry: no series names its version any more, for %d minutes; %d minutes had it", s.Nameless, s.Versions), float64(s.Nameless)
	case s.Scaled >= silentFor:
		return ChannelMeaning, fmt.Sprintf("telemetry: events come at %.4g times the rate that they did, for %d minutes, as if they were counted in another unit", s.Factor, s.Scaled), s.Factor
	case s.Thin >= silentFor:
		return ChannelComplete, fmt.Sprintf("telemetry: only %.0f %% of the series report, for %d minutes", 100*m.complete, s.Thin), float64(s.Thin)
	}
	return "", "", 0
}

// service is a service with its objectives, which are read minute by minute together.
type service struct {
	name     string
	zone     *time.Location
	subjects []*subject
	joints   []*infer.Joint // of groups of its indicators, in their order: infer watches MaxTogether at once
	names    []string       // of its indicators
	learnt   int64          // see serviceState
	next     int64          // the minute to read next, since 1970; 0 before the first
	saved    int64          // the minute that was next when it was last kept
	fresh    bool           // the notebook was not looked at yet
	failed   error          // of the newest read
	pending  []Found        // that are not written yet; only Step uses them
}

// serviceState is a service's page of the notebook.
type serviceState struct {
	Next   int64              `json:"next"`
	Learnt int64              `json:"learnt,omitempty"` // the minutes before were learnt from, and their alarms are nobody's news
	Joints []infer.JointState `json:"joints,omitempty"`
}

func newService(name string, zone *time.Location, subjects []*subject) *service {
	s := &service{name: name, zone: zone, subjects: subjects, fresh: true}
	for _, u := range subjects {
		s.names = append(s.names, indicatorRequests+" of "+u.id, indicatorBad+" of "+u.id)
	}
	for group := range slices.Chunk(s.names, infer.MaxTogether) {
		s.joints = append(s.joints, infer.NewJoint(infer.DefaultConformal(), len(group), zone))
	}
	return s
}

// observe takes a minute of all its objectives and reports which loads ended a slot.
func (s *service) observe(at time.Time, list []measure, aside bool) (found []Found, due []*subject) {
	var errs []float64
	for i, u := range s.subjects {
		f, e, ended := u.observe(at, list[i], aside)
		found = append(found, f...)
		errs = append(errs, e[:]...)
		if ended {
			due = append(due, u)
		}
	}
	alone := len(found) > 0
	for i, joint := range s.joints {
		if aside {
			break
		}
		from, to := i*infer.MaxTogether, min((i+1)*infer.MaxTogether, len(errs))
		if j := joint.Observe(at, s.names[from:to], errs[from:to]); j.Alarm && !alone {
			found = append(found, Found{
				Indicator: indicatorTogether, Channel: infer.ChannelTogether, Words: j.Why, Time: at, Score: j.Capital,
				Certainty: string(assay.Calibrated), Basis: "ranks of distances whose scales and correlations are learnt",
			})
		}
	}
	for i := range found {
		found[i].Service = s.name
	}
	return found, due
}

// near reports whether a service is all but up to date.
func (s *service) near(now time.Time) bool {
	return s.next > 0 && now.Unix()/60-s.next <= nearMinutes
}

// inTurn are the services in the order of a step: first those that are up to date, so
// that what happens now never waits for what was, then the others, each first in its turn.
func inTurn(list []*service, turn int, now time.Time) (out []*service) {
	var behind []*service
	for _, s := range list {
		if s.near(now) {
			out = append(out, s)
		} else {
			behind = append(behind, s)
		}
	}
	if n := len(behind); n > 0 {
		behind = slices.Concat(behind[turn%n:], behind[:turn%n])
	}
	return append(out, behind...)
}
