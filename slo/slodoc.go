package slo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay/internal/strict"
)

// MaxObjectives is how many objectives one SLO may have.
const MaxObjectives = 32

var (
	ops     = []string{"lte", "gte", "lt", "gt"}
	methods = []string{"Occurrences", "Timeslices", "RatioTimeslices"}
)

type sloDoc struct {
	head
	Spec struct {
		Description     string         `json:"description"`
		Service         string         `json:"service"`
		Indicator       *inlineSLI     `json:"indicator"`
		IndicatorRef    string         `json:"indicatorRef"`
		TimeWindow      []timeWindow   `json:"timeWindow"`
		BudgetingMethod string         `json:"budgetingMethod"`
		Objectives      []objectiveDoc `json:"objectives"`
		AlertPolicies   alertRefs      `json:"alertPolicies"`
	} `json:"spec"`

	doc     strict.Document
	path    string
	window  Window
	regions *Regions
}

type inlineSLI struct {
	Metadata metadata `json:"metadata"`
	Spec     sliSpec  `json:"spec"`
}

type timeWindow struct {
	Duration  Duration  `json:"duration"`
	IsRolling bool      `json:"isRolling"`
	Calendar  *calendar `json:"calendar"`
}

type calendar struct {
	StartTime string `json:"startTime"`
	TimeZone  string `json:"timeZone"`
}

type objectiveDoc struct {
	DisplayName     string     `json:"displayName"`
	Op              string     `json:"op"`
	Value           *float64   `json:"value"`
	Target          *Ratio     `json:"target"`
	TargetPercent   *percent   `json:"targetPercent"`
	TimeSliceTarget *Ratio     `json:"timeSliceTarget"`
	TimeSliceWindow *Duration  `json:"timeSliceWindow"`
	Indicator       *inlineSLI `json:"indicator"`
	IndicatorRef    string     `json:"indicatorRef"`
	CompositeWeight *float64   `json:"compositeWeight"`
}

// alertRefs are policies, inline or by name. Notification is not wired yet, so
// they are only looked at: a list, or nothing at all.
type alertRefs []free

func (a *alertRefs) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if json.Unmarshal(data, (*[]free)(a)) != nil {
		return errors.New("it is not a list")
	}
	return nil
}

// check validates all but references to other documents.
func (s *sloDoc) check() (notes []string, err error) {
	d := s.doc
	if err := errors.Join(s.Metadata.check(d), checkDescription(d, s.Spec.Description, "spec")); err != nil {
		return nil, err
	}
	if s.Spec.Service == "" {
		return nil, d.Errorf([]string{"spec", "service"}, "is missing")
	}
	switch {
	case s.Spec.Indicator != nil && s.Spec.IndicatorRef != "":
		return nil, d.Errorf([]string{"spec", "indicatorRef"}, "stands beside indicator; expected one of the two")
	case s.Spec.Indicator != nil:
		if err := s.Spec.Indicator.Spec.check(d, "spec", "indicator", "spec"); err != nil {
			return nil, err
		}
	}
	if s.window, notes, err = s.readWindow(); err != nil {
		return nil, err
	}
	if s.regions, err = s.Metadata.regions(d); err != nil {
		return nil, err
	}
	switch m := s.Spec.BudgetingMethod; {
	case m == "":
		s.Spec.BudgetingMethod = string(MethodOccurrences)
	case !slices.Contains(methods, m):
		return nil, d.Errorf([]string{"spec", "budgetingMethod"}, "%s", strict.OneOf(m, methods))
	case m == "RatioTimeslices":
		return nil, d.Errorf([]string{"spec", "budgetingMethod"}, "RatioTimeslices is not evaluated yet; use Occurrences or Timeslices")
	}
	if err := s.checkObjectives(); err != nil {
		return nil, err
	}
	for _, o := range s.Spec.Objectives {
		if t := o.target(); t < One/2 {
			notes = append(notes, fmt.Sprintf("a target of %s %% lets more than half of all events be bad; 99.9 %% is written target: 0.999 or targetPercent: 99.9", t.Percent()))
		}
	}
	return notes, nil
}

func (s *sloDoc) checkObjectives() error {
	d := s.doc
	if n := len(s.Spec.Objectives); n == 0 || n > MaxObjectives {
		return d.Errorf([]string{"spec", "objectives"}, "has %d entries; expected 1 to %d", n, MaxObjectives)
	}
	for i, o := range s.Spec.Objectives {
		if err := s.checkObjective(i, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *sloDoc) checkObjective(i int, o objectiveDoc) error {
	d, at := s.doc, func(more ...string) []string { return at("objectives", i, more...) }
	if o.Op != "" && !slices.Contains(ops, o.Op) {
		return d.Errorf(at("op"), "%s", strict.OneOf(o.Op, ops))
	}
	switch {
	case o.Indicator != nil || o.IndicatorRef != "" || o.CompositeWeight != nil:
		return d.Errorf(at(), "is part of a composite SLO, which is not evaluated yet; give spec.indicator once")
	case o.Value != nil:
		return d.Errorf(at("value"), "belongs to a thresholdMetric, which is not evaluated yet")
	case o.Target != nil && o.TargetPercent != nil:
		return d.Errorf(at("targetPercent"), "stands beside target; expected one of the two")
	case o.Target == nil && o.TargetPercent == nil:
		return d.Errorf(at(), "has no target; expected for example target: 0.99")
	case o.target() >= One:
		return d.Errorf(at(), "has a target of 100 %%, which leaves no budget; expected less than 1")
	}
	if s.Spec.BudgetingMethod != string(MethodTimeslices) {
		return nil
	}
	switch {
	case o.TimeSliceTarget == nil:
		return d.Errorf(at(), "has no timeSliceTarget, which Timeslices needs")
	case o.TimeSliceWindow == nil:
		return d.Errorf(at(), "has no timeSliceWindow, which Timeslices needs")
	case *o.TimeSliceTarget == 0:
		return d.Errorf(at("timeSliceTarget"), "is 0: every slice would be good")
	case o.TimeSliceWindow.civil() || o.TimeSliceWindow.Longest() > time.Hour || time.Hour%o.TimeSliceWindow.Longest() != 0:
		return d.Errorf(at("timeSliceWindow"), "%s does not divide an hour; expected for example 1m, 5m or 1h", o.TimeSliceWindow)
	}
	return nil
}

func (o objectiveDoc) target() Ratio {
	if o.TargetPercent != nil {
		return Ratio(*o.TargetPercent)
	}
	return *o.Target
}

// calendarForm is how OpenSLO writes the start of a calendar window.
const calendarForm = "2006-01-02 15:04:05"

// readWindow reads the one time window. A calendar's start is a wall-clock time
// of its zone; one that the zone skipped is the hour after.
func (s *sloDoc) readWindow() (w Window, notes []string, err error) {
	d, list := s.doc, s.Spec.TimeWindow
	if len(list) != 1 {
		return w, nil, d.Errorf([]string{"spec", "timeWindow"}, "has %d entries; expected exactly one", len(list))
	}
	in := func(more ...string) []string { return at("timeWindow", 0, more...) }
	tw := list[0]
	w = Window{Duration: tw.Duration, Rolling: tw.IsRolling}
	switch {
	case tw.Duration.N == 0:
		return w, nil, d.Errorf(in("duration"), "is missing; expected for example 28d")
	case tw.Duration.Longest() > MaxWindow:
		return w, nil, d.Errorf(in("duration"), "%s is longer than a quarter (92d), the longest window that is kept yet", tw.Duration)
	case tw.IsRolling && tw.Calendar != nil:
		return w, nil, d.Errorf(in("calendar"), "stands in a rolling window; expected isRolling: false, or no calendar")
	case !tw.IsRolling && tw.Calendar == nil:
		return w, nil, d.Errorf(in(), "is not rolling and has no calendar")
	}
	if tw.Duration.Unit == 'm' {
		notes = append(notes, fmt.Sprintf("the time window %s is minutes; months are written with a capital M", tw.Duration))
	}
	if tw.IsRolling {
		return w, notes, nil
	}
	zone, err := time.LoadLocation(tw.Calendar.TimeZone)
	if err != nil || tw.Calendar.TimeZone == "" || tw.Calendar.TimeZone == "Local" {
		return w, nil, d.Errorf(in("calendar", "timeZone"), "%q is not an IANA time zone, for example Europe/Berlin or UTC", tw.Calendar.TimeZone)
	}
	if w.Start, err = time.ParseInLocation(calendarForm, tw.Calendar.StartTime, zone); err != nil {
		return w, nil, d.Errorf(in("calendar", "startTime"), "%q is not a time; expected the form 2020-01-21 12:30:00", tw.Calendar.StartTime)
	}
	if y := w.Start.Year(); y < 1970 || y > 2200 {
		return w, nil, d.Errorf(in("calendar", "startTime"), "the year %d is not from 1970 to 2200", y)
	}
	return w, notes, nil
}

// objectives resolves the indicator and makes one Objective per entry.
func (s sloDoc) objectives(slis map[string]sliDoc) ([]Objective, error) {
	var ind Indicator
	var err error
	switch {
	case s.Spec.Indicator != nil:
		name := s.Spec.Indicator.Metadata.Name
		if name == "" {
			name = s.Metadata.Name
		}
		ind, err = s.Spec.Indicator.Spec.indicator(name, s.doc, "spec", "indicator", "spec")
	case s.Spec.IndicatorRef != "":
		sli, ok := slis[s.Spec.IndicatorRef]
		if !ok {
			return nil, s.doc.Errorf([]string{"spec", "indicatorRef"}, "%q names no SLI that is given and evaluated", s.Spec.IndicatorRef)
		}
		ind, err = sli.Spec.indicator(sli.Metadata.Name, sli.doc, "spec")
	default:
		return nil, s.doc.Errorf([]string{"spec"}, "has neither indicator nor indicatorRef")
	}
	if err != nil {
		return nil, err
	}
	var out []Objective
	for i, o := range s.Spec.Objectives {
		obj := Objective{
			SLO: s.Metadata.Name, Index: i, Name: o.DisplayName, Service: s.Spec.Service, Description: s.Spec.Description,
			Indicator: ind, Target: o.target(), Window: s.window, Method: Method(s.Spec.BudgetingMethod),
			Regions: s.regions,
		}
		if obj.Name == "" {
			obj.Name = s.Metadata.Name
		}
		if obj.Method == MethodTimeslices {
			obj.SliceTarget, obj.SliceWindow = *o.TimeSliceTarget, o.TimeSliceWindow.Longest()
		}
		out = append(out, obj)
	}
	return out, nil
}
