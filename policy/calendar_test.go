package policy

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the test does not depend on the machine's zones

	"assay.dev/assay"
)

const wholeCalendar = `apiVersion: assay.dev/v1alpha1
kind: Calendar
metadata: {name: shop}
spec:
  zone: Europe/Berlin
  services: [checkout, search]
  events:
    - {name: black-friday, kind: event, start: 2026-11-27T00:00, end: 2026-11-28T00:00, services: [checkout], factor: 3}
    - {name: database, kind: maintenance, start: 2026-10-25T01:00, end: "2026-10-25T03:30:00Z"}
`

func TestACalendarTellsZonesAndPlannedTimesByTheClocksOfItsPeople(t *testing.T) {
	everybody := "---\napiVersion: assay.dev/v1alpha1\nkind: Calendar\nmetadata: {name: all}\nspec:\n  zone: America/New_York\n  events: [{name: network, kind: maintenance, start: 2026-12-01, end: 2026-12-02}]\n"
	r, err := NewRevision([]File{{Path: "c.yaml", Content: []byte(wholeCalendar + everybody)}})
	if err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]string{"checkout": "Europe/Berlin", "search": "Europe/Berlin", "mail": "America/New_York"} {
		if got := r.Zone("default", service).String(); got != want {
			t.Errorf("%s lives by %s, want %s", service, got, want)
		}
	}
	if got := r.Zone("another", "checkout"); got != time.UTC {
		t.Errorf("another namespace lives by %s", got)
	}
	got := r.Planned("default", "checkout")
	if len(got) != 3 || got[0].Name != "database" || got[1].Name != "black-friday" || got[1].Factor != 3 || got[2].Factor != 1 {
		t.Fatalf("planned for checkout: %+v", got)
	}
	// One o'clock in Berlin is 23:00 the day before in UTC, before the clocks go back.
	if want := time.Date(2026, 10, 24, 23, 0, 0, 0, time.UTC); !got[0].Start.Equal(want) {
		t.Errorf("the maintenance starts at %s, want %s", got[0].Start.UTC(), want)
	}
	if !got[0].Covers(got[0].Start) || got[0].Covers(got[0].End) {
		t.Error("a planned time has its start and not its end")
	}
	if names := r.Planned("default", "search"); len(names) != 2 || names[0].Name != "database" {
		t.Errorf("planned for search: %+v", names)
	}
	if len(r.Calendars()) != 2 {
		t.Errorf("%d calendars", len(r.Calendars()))
	}
}

func TestAMistakeInACalendarIsRefusedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, old, new, says string }{
		{"zone", "Europe/Berlin", "Europe/Berlim", "is not a zone"},
		{"kind", "kind: event", "kind: party", "party"},
		{"start", "start: 2026-11-27T00:00", "start: tomorrow", "is not a time"},
		{"end before start", "end: 2026-11-28T00:00", "end: 2026-11-26T00:00", "is not after the start"},
		{"factor", "factor: 3", "factor: -1", "is not above 0"},
		{"factor of a maintenance", "kind: maintenance,", "kind: maintenance, factor: 2,", "of an event only"},
		{"a service of nobody", "services: [checkout], factor", "services: [mail], factor", "no service of this calendar"},
		{"an unknown field", "factor: 3", "facter: 3", "facter"},
		{"a name twice", "name: database", "name: black-friday", "used twice"},
		{"two zones for one service", "", "---\napiVersion: assay.dev/v1alpha1\nkind: Calendar\nmetadata: {name: other}\nspec: {services: [search]}\n", "gives \"search\" the zone"},
	} {
		text := wholeCalendar + c.new
		if c.old != "" {
			text = strings.Replace(wholeCalendar, c.old, c.new, 1)
		}
		_, err := NewRevision([]File{{Path: "c.yaml", Content: []byte(text)}})
		if assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "c.yaml:") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
