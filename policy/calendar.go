package policy

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Limits of a Calendar resource.
const (
	// MaxCalendarEvents is how many events one Calendar may have.
	MaxCalendarEvents = 1000
	// MaxCalendarServices is how many services one Calendar or event may name.
	MaxCalendarServices = 1000
	// MaxCalendarFactor is the greatest factor of an event.
	MaxCalendarFactor = 1000
)

// Calendar says what is known beforehand: by which clocks the people of services
// live, and when something out of the ordinary is planned. Anomalies in a planned time
// are recorded as suppressed, and forecasts of load count the factor in.
type Calendar struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Calendar.
	Kind string `json:"kind"`
	// Metadata names the calendar.
	Metadata Metadata `json:"metadata"`
	// Spec says what is planned.
	Spec CalendarSpec `json:"spec"`

	Place Place `json:"-"`
}

// CalendarSpec says what is planned.
type CalendarSpec struct {
	// Zone is by which clocks the services' people live, an IANA name such as Europe/Berlin; UTC if left out.
	Zone string `json:"zone,omitempty"`
	// Services it is for; left out, all services of the namespace that no other calendar names.
	Services []string `json:"services,omitempty"`
	// Events that are planned.
	Events []CalendarEvent `json:"events,omitempty"`
}

// CalendarEvent is a planned time.
type CalendarEvent struct {
	// Name is unique in the calendar: lower-case letters, digits and dashes, at most 63.
	Name string `json:"name"`
	// Kind is event (more or less load than usual) or maintenance (what is measured says nothing about the usual).
	Kind CalendarKind `json:"kind"`
	// Start of it: 2026-11-27T08:00 by the clocks of the zone, or with a zone of its own, 2026-11-27T07:00:00Z.
	Start string `json:"start"`
	// End of it, written like start; the first instant that no longer belongs to it.
	End string `json:"end"`
	// Services it is for, some of the calendar's; left out, all of them.
	Services []string `json:"services,omitempty"`
	// Factor is how many times the usual load is expected, above 0; 1 if left out. Only of an event.
	Factor float64 `json:"factor,omitempty"`
}

// CalendarKind is what is planned.
type CalendarKind string

const (
	// CalendarPlanned is an event: load is not as usual.
	CalendarPlanned CalendarKind = "event"
	// CalendarMaintenance is work on a service: nothing measured is as usual.
	CalendarMaintenance CalendarKind = "maintenance"
)

var calendarKinds = []CalendarKind{CalendarPlanned, CalendarMaintenance}

// Planned is an event of a calendar with its times resolved.
type Planned struct {
	Calendar   string
	Name       string
	Kind       CalendarKind
	Start, End time.Time // the end does not belong to it
	Factor     float64   // of the usual load
}

// Covers reports whether an instant belongs to it.
func (p Planned) Covers(at time.Time) bool { return !at.Before(p.Start) && at.Before(p.End) }

// String says what it is and until when.
func (p Planned) String() string {
	return fmt.Sprintf("%s %s of calendar %s until %s", p.Kind, p.Name, p.Calendar, p.End.UTC().Format(time.RFC3339))
}

// calendarTimes are how a time may be written; those without an offset are by the
// clocks of the calendar's zone.
var calendarTimes = []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"}

func calendarTime(s string, zone *time.Location) (time.Time, bool) {
	for _, layout := range calendarTimes {
		if at, err := time.ParseInLocation(layout, s, zone); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

func (c *Calendar) defaults() {
	if c.Metadata.Namespace == "" {
		c.Metadata.Namespace = DefaultNamespace
	}
	if c.Spec.Zone == "" {
		c.Spec.Zone = "UTC"
	}
	for i := range c.Spec.Events {
		if e := &c.Spec.Events[i]; e.Factor == 0 {
			e.Factor = 1
		}
	}
}

func (c Calendar) check(d strict.Document) error {
	if err := c.Metadata.check(d); err != nil {
		return err
	}
	zone, err := time.LoadLocation(c.Spec.Zone)
	if err != nil || c.Spec.Zone == "Local" {
		return d.Errorf([]string{"spec", "zone"}, "%q is not a zone; write a name like Europe/Berlin or UTC", c.Spec.Zone)
	}
	if err := checkServices(d, []string{"spec", "services"}, c.Spec.Services, nil); err != nil {
		return err
	}
	if n := len(c.Spec.Events); n > MaxCalendarEvents {
		return d.Errorf([]string{"spec", "events"}, "has %d entries; at most %d are accepted", n, MaxCalendarEvents)
	}
	seen := map[string]bool{}
	for i, e := range c.Spec.Events {
		at := []string{"spec", "events", strconv.Itoa(i)}
		if seen[e.Name] {
			return d.Errorf(append(at, "name"), "%q is used twice", e.Name)
		}
		seen[e.Name] = true
		if err := e.check(d, at, zone); err != nil {
			return err
		}
		if err := checkServices(d, append(at, "services"), e.Services, c.Spec.Services); err != nil {
			return err
		}
	}
	return nil
}

func (e CalendarEvent) check(d strict.Document, at []string, zone *time.Location) error {
	in := func(field string) []string { return append(slices.Clone(at), field) }
	if !nameForm.MatchString(e.Name) {
		return d.Errorf(in("name"), "%q is not 1 to 63 lower-case letters, digits and dashes", e.Name)
	}
	if err := oneOf(d, in("kind"), e.Kind, calendarKinds); err != nil {
		return err
	}
	const want = "%q is not a time; write 2026-11-27T08:00, by the clocks of the calendar's zone, or 2026-11-27T07:00:00Z"
	start, ok := calendarTime(e.Start, zone)
	if !ok {
		return d.Errorf(in("start"), want, e.Start)
	}
	end, ok := calendarTime(e.End, zone)
	if !ok {
		return d.Errorf(in("end"), want, e.End)
	}
	switch {
	case !start.Before(end):
		return d.Errorf(in("end"), "%q is not after the start", e.End)
	case !(e.Factor > 0 && e.Factor <= MaxCalendarFactor):
		return d.Errorf(in("factor"), "%v is not above 0 and at most %d", e.Factor, MaxCalendarFactor)
	case e.Kind == CalendarMaintenance && e.Factor != 1:
		return d.Errorf(in("factor"), "is of an event only; a maintenance says nothing about load")
	}
	return nil
}

// checkServices refuses a list of services that names none, one twice, or one that is
// not in of, if of is not empty.
func checkServices(d strict.Document, at, list, of []string) error {
	if len(list) > MaxCalendarServices {
		return d.Errorf(at, "has %d entries; at most %d are accepted", len(list), MaxCalendarServices)
	}
	for i, s := range list {
		place := append(slices.Clone(at), strconv.Itoa(i))
		switch {
		case s == "" || len(s) > 200:
			return d.Errorf(place, "is not the name of a service")
		case slices.Contains(list[:i], s):
			return d.Errorf(place, "%q is listed twice", s)
		case len(of) > 0 && !slices.Contains(of, s):
			return d.Errorf(place, "%q is no service of this calendar", s)
		}
	}
	return nil
}

// oneZone refuses a service that two calendars give different clocks.
func oneZone(list []Calendar) error {
	type claim struct{ namespace, service string }
	zones := map[claim]Calendar{}
	for _, c := range list {
		services := c.Spec.Services
		if len(services) == 0 {
			services = []string{""} // all that nobody names
		}
		for _, s := range services {
			first, ok := zones[claim{c.Metadata.Namespace, s}]
			if ok && first.Spec.Zone != c.Spec.Zone {
				e := assay.Errorf(assay.CodeInvalid, "Calendar %q gives %s the zone %s, and Calendar %q at %s:%d gives %s",
					c.Metadata.Name, orAll(s), c.Spec.Zone, first.Metadata.Name, first.Place.File, first.Place.Line, first.Spec.Zone)
				e.File, e.Line, e.Column, e.Field = c.Place.File, c.Place.Line, 1, "spec.zone"
				return e
			}
			zones[claim{c.Metadata.Namespace, s}] = c
		}
	}
	return nil
}

func orAll(service string) string {
	if service == "" {
		return "all services"
	}
	return strconv.Quote(service)
}

// Calendars returns all calendars, in the order of their files.
func (r *Revision) Calendars() []Calendar { return slices.Clone(r.calendars) }

// Zone is by which clocks the people of a service live: what a calendar that names it
// says, else one for all services, else UTC.
func (r *Revision) Zone(namespace, service string) *time.Location {
	name := "UTC"
	for _, c := range r.calendars {
		if c.Metadata.Namespace == namespace && slices.Contains(c.Spec.Services, service) {
			name = c.Spec.Zone
			break
		}
		if c.Metadata.Namespace == namespace && len(c.Spec.Services) == 0 {
			name = c.Spec.Zone
		}
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC // cannot be: check has loaded it
	}
	return zone
}

// Planned lists what calendars plan for a service, by its start. What a calendar for
// all services plans counts for a service that another one names, too.
func (r *Revision) Planned(namespace, service string) []Planned {
	var out []Planned
	for _, c := range r.calendars {
		if c.Metadata.Namespace != namespace || len(c.Spec.Services) > 0 && !slices.Contains(c.Spec.Services, service) {
			continue
		}
		zone, err := time.LoadLocation(c.Spec.Zone)
		if err != nil {
			continue // cannot be: check has loaded it
		}
		for _, e := range c.Spec.Events {
			if len(e.Services) > 0 && !slices.Contains(e.Services, service) {
				continue
			}
			start, _ := calendarTime(e.Start, zone) // check has read both
			end, _ := calendarTime(e.End, zone)
			out = append(out, Planned{c.Metadata.Name, e.Name, e.Kind, start, end, e.Factor})
		}
	}
	slices.SortStableFunc(out, func(a, b Planned) int { return a.Start.Compare(b.Start) })
	return out
}
