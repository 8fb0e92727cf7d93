package inventory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/inventory"
	"assay.dev/assay/store/mem"
)

func (w *world) list(f inventory.Filter) string {
	w.t.Helper()
	list, err := inventory.List(w.t.Context(), w.store, ns, f, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, v := range list {
		what := v.Image
		if v.Digest != "" {
			what = v.Digest.Short()
		}
		lines = append(lines, fmt.Sprintf("%s/%s %s x%d", v.Environment, v.Service, what, v.Instances))
	}
	return strings.Join(lines, "\n")
}

func TestAReportIsKeptAndOnlyChangesAreFacts(t *testing.T) {
	w := newWorld(t)
	shop := inventory.Sighting{Service: "shop", Image: "registry.example/shop:1@" + string(digest("shop")), Instances: 3}
	tag := inventory.Sighting{Service: "mail", Image: "registry.example/mail:latest"}
	if got := w.push(false, "prod", shop, tag); got != (inventory.Pushed{Appeared: 2}) {
		t.Errorf("first report: %+v", got)
	}
	w.now = w.now.Add(time.Minute)
	shop.Instances = 5
	for range 3 {
		if got := w.push(false, "prod", shop, tag); got != (inventory.Pushed{Refreshed: 2}) {
			t.Errorf("repeated report: %+v", got)
		}
	}
	want := "prod/mail registry.example/mail:latest x1\nprod/shop " + digest("shop").Short() + " x5"
	if got := w.list(inventory.Filter{}); got != want {
		t.Errorf("list:\n%s\nwant\n%s", got, want)
	}
	facts := w.facts(assay.FactInventoryObserved)
	if len(facts) != 2 || facts[0].Service != "shop" || facts[0].Subject != digest("shop") || facts[0].Environment != "prod" || facts[0].Retention != assay.RetainAudit {
		t.Errorf("facts: %+v", facts)
	}
}

func TestACompleteReportEndsWhatItDoesNotName(t *testing.T) {
	w := newWorld(t)
	w.push(false, "prod", runs("a", "a"), runs("b", "b"))
	other := inventory.Sighting{Service: "c", Environment: "staging", Digest: digest("c")}
	w.push(false, "", other)
	if _, err := inventory.Push(t.Context(), w.store, inventory.Report{Namespace: ns, Source: "cluster-2", Actor: "x", Sightings: []inventory.Sighting{runs("d", "d")}}, w.now); err != nil {
		t.Fatal(err)
	}
	if got := w.push(true, "prod", runs("a", "a")); got != (inventory.Pushed{Refreshed: 1, Gone: 1}) {
		t.Errorf("%+v", got)
	}
	want := fmt.Sprintf("prod/a %s x1\nprod/d %s x1\nstaging/c %s x1", digest("a").Short(), digest("d").Short(), digest("c").Short())
	if got := w.list(inventory.Filter{}); got != want {
		t.Errorf("list:\n%s\nwant\n%s", got, want)
	}
	facts := w.facts(assay.FactInventoryObserved)
	last := facts[len(facts)-1]
	var p inventory.ObservedPayload
	if err := json.Unmarshal(last.Payload, &p); err != nil || p.Change != inventory.Gone || p.Reason == "" || len(last.Causes) != 1 || last.Service != "b" {
		t.Errorf("last fact %+v %+v, %v", last, p, err)
	}
	if got := w.push(true, "prod"); got.Gone != 1 {
		t.Errorf("an empty complete report: %+v", got)
	}
}

func TestWhatNobodySeesAnyMoreExpires(t *testing.T) {
	w := newWorld(t)
	w.push(false, "", runs("a", "a"))
	w.now = w.now.Add(inventory.DefaultTTL)
	if w.list(inventory.Filter{}) == "" {
		t.Error("expired too early")
	}
	w.now = w.now.Add(time.Second)
	if got := w.list(inventory.Filter{}); got != "" {
		t.Errorf("still listed: %s", got)
	}
	for range 2 {
		if err := inventory.Expire(t.Context(), w.store, ns, "assay", w.now); err != nil {
			t.Error(err)
		}
	}
	if n := len(w.facts(assay.FactInventoryObserved)); n != 2 {
		t.Errorf("%d facts; expected that it appeared and that it is gone", n)
	}
}

func TestALateReportDoesNotTurnBackTheClock(t *testing.T) {
	w := newWorld(t)
	w.push(false, "", runs("a", "a"))
	old := runs("a", "a")
	old.Seen, old.Instances = w.now.Add(-time.Minute), 9
	if got := w.push(false, "", old); got != (inventory.Pushed{Outdated: 1}) {
		t.Errorf("%+v", got)
	}
	if got := w.list(inventory.Filter{Digest: digest("a")}); !strings.HasSuffix(got, " x1") {
		t.Errorf("list: %s", got)
	}
}

func TestAReportWithAMistakeIsRefusedAsAWhole(t *testing.T) {
	w := newWorld(t)
	good := runs("a", "a")
	for name, c := range map[string]struct {
		change func(*inventory.Sighting)
		field  string
	}{
		"no service":          {func(s *inventory.Sighting) { s.Service = "" }, "sightings[1].service"},
		"no environment":      {func(s *inventory.Sighting) { s.Environment = "" }, "sightings[1].environment"},
		"nothing runs":        {func(s *inventory.Sighting) { s.Digest = "" }, "sightings[1].digest"},
		"no digest":           {func(s *inventory.Sighting) { s.Digest = "sha256:12" }, "sightings[1].digest"},
		"pinned to md5":       {func(s *inventory.Sighting) { s.Digest, s.Image = "", "a@md5:00" }, "sightings[1].image"},
		"from the future":     {func(s *inventory.Sighting) { s.Seen = w.now.Add(time.Hour) }, "sightings[1].seen"},
		"from the past":       {func(s *inventory.Sighting) { s.Seen = time.Unix(-1e9, 0) }, "sightings[1].seen"},
		"negative":            {func(s *inventory.Sighting) { s.Instances = -1 }, "sightings[1].instances"},
		"control characters":  {func(s *inventory.Sighting) { s.Service = "a\x1b[31m" }, "sightings[1].service"},
		"too long":            {func(s *inventory.Sighting) { s.Place = strings.Repeat("x", inventory.MaxName+1) }, "sightings[1].place"},
		"another environment": {func(s *inventory.Sighting) { s.Environment = "staging" }, "sightings[1].environment"},
	} {
		bad := good
		c.change(&bad)
		r := inventory.Report{Namespace: ns, Source: "agent", Actor: "a", Sightings: []inventory.Sighting{good, bad}}
		if name == "another environment" {
			r.Complete, r.Environment = true, "prod"
		}
		_, err := inventory.Push(t.Context(), w.store, r, w.now)
		e, ok := errors.AsType[*assay.Error](err)
		if !ok || e.Code != assay.CodeInvalid || e.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := make([]inventory.Sighting, inventory.MaxSightings+1)
	if _, err := inventory.Push(t.Context(), w.store, inventory.Report{Namespace: ns, Source: "a", Sightings: many}, w.now); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too many sightings: %v", err)
	}
	if w.list(inventory.Filter{}) != "" {
		t.Error("a part of a refused report was kept")
	}
}

func TestNamesWithSeparatorsDoNotCollide(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("ä/", 66)
	w.push(false, "",
		inventory.Sighting{Service: "b", Environment: "a/x", Image: "i"}, inventory.Sighting{Service: "x/b", Environment: "a", Image: "i"},
		inventory.Sighting{Service: long, Place: long, Environment: long, Image: long}, inventory.Sighting{Service: long, Place: long, Environment: "x", Image: long},
		inventory.Sighting{Service: long, Place: long, Environment: long, Digest: digest("x")})
	if n := strings.Count(w.list(inventory.Filter{}), "\n") + 1; n != 5 {
		t.Errorf("%d sightings are kept of 5", n)
	}
	if got := w.list(inventory.Filter{Digest: digest("x")}); !strings.Contains(got, digest("x").Short()) {
		t.Errorf("a sighting with long names is not found by its digest: %q", got)
	}
}

// door is an enforcer that answers what it is told to.
type door struct {
	mu     sync.Mutex
	status enforce.Status
	err    error
}

func (d *door) Status(context.Context) (enforce.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.Routes = []enforce.RouteStatus{{Name: s.Routes[0].Name, Service: s.Routes[0].Service, Versions: slices.Clone(s.Routes[0].Versions)}}
	return s, d.err
}

func (d *door) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func TestWhatAnEnforcerSendsRequestsToRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(mem.Config{})
		d := &door{status: enforce.Status{Routes: []enforce.RouteStatus{{Name: "web", Service: "shop", Versions: []enforce.VersionStatus{
			{Name: "v1", Digest: digest("v1"), Percent: 90}, {Name: "v2", Digest: digest("v2"), Percent: 10}, {Name: "v3", Digest: digest("v3")},
		}}}}}
		ctx, cancel := context.WithCancel(t.Context())
		failed := 0
		done := make(chan error)
		go func() {
			done <- inventory.Follow(ctx, s, inventory.Doors{Enforcer: d, Environment: func(string) string { return "prod" }, Name: "proxy"}, ns, "assay", time.Minute, time.Now, func(error) { failed++ })
		}()
		check := func(want int) {
			t.Helper()
			synctest.Wait()
			list, err := inventory.List(ctx, s, ns, inventory.Filter{Environment: "prod"}, time.Now())
			if err != nil || len(list) != want {
				t.Errorf("%d versions run, %v; want %d", len(list), err, want)
			}
		}
		check(2)
		d.set(func() { d.status.Routes[0].Versions[0].Percent = 0 })
		<-time.After(time.Minute)
		check(1)
		// An enforcer that does not answer says nothing: what is known holds until it expires.
		d.set(func() { d.err = errors.New("gone") })
		<-time.After(30 * time.Minute)
		check(1)
		<-time.After(time.Hour)
		check(0)
		cancel()
		if err := <-done; err != nil || failed == 0 {
			t.Errorf("%v after %d failures", err, failed)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
