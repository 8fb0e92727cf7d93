package enforce_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/enforce"
)

// levered is a route with every kind of lever.
func levered() enforce.Config {
	r := enforce.Route{
		Name: "shop", Service: "shop", Entry: enforce.Entry{ResourceURI: "pkg:generic/shop", Mode: assay.ModeDryRun},
		Levers: &enforce.Levers{
			Limits:      []assay.Lever{assay.LeverRateLimit, assay.LeverConcurrency},
			ClassHeader: "X-Class", TenantHeader: "X-Tenant", Source: enforce.Sticky{By: enforce.ByClient},
			Classes: []enforce.Class{{Name: "checkout", Critical: true, Paths: []string{"/pay"}}, {Name: "browse", Paths: []string{"/", "/pay/help"}}, {Name: "batch"}},
			Regions: []enforce.Region{{Name: "eu", Share: 50}, {Name: "us", Share: 30}, {Name: "ap", Share: 20}},
		},
	}
	v := enforce.Version{Name: "v1", Digest: assay.Digest(fmt.Sprintf("sha256:%064x", 1)), Weight: 100}
	for i, region := range r.Levers.Regions {
		v.Places = append(v.Places, enforce.Place{Region: region.Name, Backend: fmt.Sprintf("http://127.0.0.1:%d", i+1)})
	}
	r.Versions = []enforce.Version{v}
	return enforce.Config{Routes: []enforce.Route{r}}
}

func state(t *testing.T, c enforce.Config) enforce.State {
	t.Helper()
	s, err := enforce.NewState(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var pullTime = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// pulled moves a lever from where it stands and demands that it works.
func pulled(t *testing.T, s enforce.State, lever assay.Lever, scope string, want float64) enforce.State {
	t.Helper()
	now, known := s.Panels["shop"].Value(s.Config.Routes[0].Levers, lever, scope)
	if !known {
		t.Fatalf("there is no lever %s of %q", lever, scope)
	}
	next, r, _, err := s.Pull(enforce.Pull{Route: "shop", Lever: lever, Scope: scope, Now: now, Want: want, Generation: 1, Key: fmt.Sprint(lever, scope, want, len(s.Receipts))}, pullTime)
	if err != nil {
		t.Fatalf("%s of %q from %v to %v: %v", lever, scope, now, want, err)
	}
	if got, _ := next.Panels["shop"].Value(next.Config.Routes[0].Levers, lever, scope); got != want || r.Value != want {
		t.Fatalf("%s of %q stands at %v (receipt %v), want %v", lever, scope, got, r.Value, want)
	}
	return next
}

func TestALeverStandsWhereItWasPulledAndIsForgottenAtItsRest(t *testing.T) {
	s := state(t, levered())
	rest := s.Revision()
	for _, x := range []struct {
		lever      assay.Lever
		scope      string
		away, rest float64
	}{
		{assay.LeverRateLimit, "", 100, 0}, {assay.LeverConcurrency, "", 10, 0}, {assay.LeverClass, "batch", 12.5, 100},
		{assay.LeverQuota, "acme", 5, 0}, {assay.LeverQuarantine, "10.0.0.0/8", 1, 0}, {assay.LeverQuarantine, "tenant:acme", 1, 0}, {assay.LeverRegion, "eu", 25, 50},
	} {
		away := pulled(t, s, x.lever, x.scope, x.away)
		if away.Revision() == rest || len(away.Panels["shop"].Stands) != 1 {
			t.Errorf("%s: revision %s, stands %+v", x.lever, away.Revision(), away.Panels["shop"].Stands)
		}
		if back := pulled(t, away, x.lever, x.scope, x.rest); back.Revision() != rest || len(back.Panels["shop"].Stands) != 0 {
			t.Errorf("%s back at rest: revision changed %t, stands %+v", x.lever, back.Revision() != rest, back.Panels["shop"].Stands)
		}
	}
}

func TestPullsThatMayNotBeChangeNothing(t *testing.T) {
	s := pulled(t, state(t, levered()), assay.LeverConcurrency, "", 50)
	for name, c := range map[string]struct {
		pull enforce.Pull
		code assay.Code
		says string
	}{
		"a critical class":       {enforce.Pull{Lever: assay.LeverClass, Scope: "checkout", Now: 100, Want: 50}, assay.CodeDenied, "never dropped"},
		"a region's probe":       {enforce.Pull{Lever: assay.LeverRegion, Scope: "eu", Now: 50, Want: 4}, assay.CodeDenied, "keeps 5 percent"},
		"half a quarantine":      {enforce.Pull{Lever: assay.LeverQuarantine, Scope: "10.0.0.9", Want: 0.5}, assay.CodeInvalid, "cut off (1)"},
		"more than all":          {enforce.Pull{Lever: assay.LeverClass, Scope: "batch", Now: 100, Want: 101}, assay.CodeInvalid, "0 to 100"},
		"below nothing":          {enforce.Pull{Lever: assay.LeverRateLimit, Want: -1}, assay.CodeInvalid, "no value"},
		"no class":               {enforce.Pull{Lever: assay.LeverClass, Scope: "other", Now: 100}, assay.CodeNotFound, "no lever"},
		"a lever of elsewhere":   {enforce.Pull{Lever: assay.LeverReplicas, Want: 3}, assay.CodeNotFound, "declare it"},
		"all tenants":            {enforce.Pull{Lever: assay.LeverQuota, Scope: "*", Want: 3}, assay.CodeNotFound, "no lever"},
		"an address two ways":    {enforce.Pull{Lever: assay.LeverQuarantine, Scope: "10.1.2.3/8", Want: 1}, assay.CodeNotFound, "no lever"},
		"a belief that is wrong": {enforce.Pull{Lever: assay.LeverConcurrency, Now: 60, Want: 70}, assay.CodeConflict, "stands at 50"},
		"no owner":               {enforce.Pull{Lever: assay.LeverConcurrency, Now: 50, Want: 70}, assay.CodeInvalid, "generation"},
	} {
		x := c.pull
		x.Route, x.Key = "shop", name
		if name != "no owner" {
			x.Generation = 1
		}
		next, _, _, err := s.Pull(x, pullTime)
		if assay.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) || next.Revision() != s.Revision() {
			t.Errorf("%s: %v (%s); want %s that says %q", name, err, assay.CodeOf(err), c.code, c.says)
		}
	}
}

func TestAnOlderOwnerOfLeversIsRefusedAndNamesTheNewer(t *testing.T) {
	s := state(t, levered())
	s, _, _, err := s.Pull(enforce.Pull{Route: "shop", Lever: assay.LeverConcurrency, Want: 5, Generation: 7, Key: "a"}, pullTime)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = s.Pull(enforce.Pull{Route: "shop", Lever: assay.LeverRateLimit, Want: 5, Generation: 6, Key: "b"}, pullTime)
	if older, is := errors.AsType[*enforce.OlderError](err); !is || older.Generation != 6 || older.Owner != 7 || assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("an older owner gets %v", err)
	}
	// Shares have an owner of their own.
	if s.Dials["shop"].Generation != 0 {
		t.Errorf("who owns the levers owns the shares too: %+v", s.Dials["shop"])
	}
}

func TestRegionsShareWhatOneDoesNotGet(t *testing.T) {
	share := func(s enforce.State, region string) float64 {
		v, _ := s.Panels["shop"].Value(s.Config.Routes[0].Levers, assay.LeverRegion, region)
		return v
	}
	s := pulled(t, state(t, levered()), assay.LeverRegion, "eu", 10)
	if us, ap := share(s, "us"), share(s, "ap"); us != 54 || ap != 36 {
		t.Errorf("with eu at 10, us has %v and ap %v; want 54 and 36", us, ap)
	}
	s = pulled(t, s, assay.LeverRegion, "us", 30) // its rest, while eu is away from its own
	if ap := share(s, "ap"); ap != 60 {
		t.Errorf("ap has %v; want what is left, 60", ap)
	}
	if _, _, _, err := s.Pull(enforce.Pull{Route: "shop", Lever: assay.LeverRegion, Scope: "ap", Now: 60, Want: 20, Generation: 1, Key: "all"}, pullTime); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("the last region gives its share to nobody: %v", err)
	}
	s = pulled(t, s, assay.LeverRegion, "eu", 50)
	if n := len(s.Panels["shop"].Stands); n != 0 || share(s, "ap") != 20 {
		t.Errorf("all are at rest: %d stand elsewhere, ap has %v", n, share(s, "ap"))
	}
}

func TestARegionIsEmptiedOnlyWhereThatIsDeclared(t *testing.T) {
	c := levered()
	c.Routes[0].Levers.Drain = true
	s := pulled(t, state(t, c), assay.LeverRegion, "eu", 0)
	for region, want := range map[string]float64{"eu": 0, "us": 60, "ap": 40} {
		if got, _ := s.Panels["shop"].Value(s.Config.Routes[0].Levers, assay.LeverRegion, region); got != want {
			t.Errorf("with eu empty %s has %v, want %v", region, got, want)
		}
	}
	for drain, want := range map[bool]float64{true: 4, false: 0} { // less than the probe, and nothing where that is not declared
		c.Routes[0].Levers.Drain = drain
		if _, _, _, err := state(t, c).Pull(enforce.Pull{Route: "shop", Lever: assay.LeverRegion, Scope: "eu", Now: 50, Want: want, Generation: 1, Key: "k"}, pullTime); assay.CodeOf(err) != assay.CodeDenied {
			t.Errorf("drain %v: eu gets %v: %v", drain, want, err)
		}
	}
}

func TestLeversOutliveAStateAndAConfigurationThatStillHasThem(t *testing.T) {
	s := pulled(t, state(t, levered()), assay.LeverClass, "batch", 20)
	s = pulled(t, s, assay.LeverClass, "browse", 60)
	s = pulled(t, s, assay.LeverRegion, "us", 10)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := enforce.ParseState(data)
	if err != nil || again.Revision() != s.Revision() {
		t.Fatalf("read again: %v, the same: %t", err, again.Revision() == s.Revision())
	}
	c := levered()
	c.Routes[0].Levers.Classes = c.Routes[0].Levers.Classes[:2] // no batch any more
	s, _, _, err = s.Replace(enforce.Replacement{Generation: 1, Key: "new", Config: c}, pullTime)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Panels["shop"].Stands; len(got) != 2 || got[0].Scope != "browse" || got[1].Scope != "us" {
		t.Errorf("of the levers that were moved, %+v are left; want browse and us", got)
	}
	c.Routes[0].Levers = nil
	c.Routes[0].Versions[0].Places, c.Routes[0].Versions[0].Backend = nil, "http://127.0.0.1:1"
	if s, _, _, err = s.Replace(enforce.Replacement{Generation: 1, Key: "none", Config: c}, pullTime); err != nil || len(s.Panels["shop"].Stands) != 0 {
		t.Errorf("a route without levers keeps %+v, %v", s.Panels["shop"], err)
	}
}

func TestALeverThatIsNotDeclaredDoesNotFitAState(t *testing.T) {
	s := pulled(t, state(t, levered()), assay.LeverClass, "batch", 20)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"another class": {`"scope":"batch"`, `"scope":"other"`}, "another route": {`"panels":{"shop"`, `"panels":{"shap"`},
	} {
		if _, err := enforce.ParseState([]byte(strings.Replace(string(data), change[0], change[1], 1))); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v; want invalid", what, err)
		}
	}
}

func TestARequestHasTheClassOfItsHeaderThenOfItsLongestPath(t *testing.T) {
	l := levered().Routes[0].Levers
	for _, c := range []struct {
		header, path string
		want         int
	}{
		{"", "/pay", 0}, {"", "/pay/now", 0}, {"", "/pay/help/me", 1}, {"", "/payment", 1}, {"", "/", 1},
		{"batch", "/pay", 2}, {"unknown", "/pay", 0},
	} {
		claimed := func(string) string { return c.header }
		if got := l.Classify(claimed, c.path); got != c.want {
			t.Errorf("header %q, path %s: class %d, want %d", c.header, c.path, got, c.want)
		}
	}
}

func TestLeversThatMakeNoSenseAreRefusedAtTheirPlace(t *testing.T) {
	for want, change := range map[string]func(*enforce.Route){
		"levers.limits[0]":           func(r *enforce.Route) { r.Levers.Limits[0] = assay.LeverReplicas },
		"levers.class_header":        func(r *enforce.Route) { r.Levers.ClassHeader = "a b" },
		"levers.source.by":           func(r *enforce.Route) { r.Levers.Source.By = enforce.ByRequest },
		"levers.claims":              func(r *enforce.Route) { r.Levers.Claims = "nobody" },
		"levers.classes[2].paths":    func(r *enforce.Route) { r.Levers.ClassHeader = "" },
		"levers.classes[1].name":     func(r *enforce.Route) { r.Levers.Classes[1].Name = "checkout" },
		"levers.classes[1].paths[0]": func(r *enforce.Route) { r.Levers.Classes[1].Paths[0] = "/pay" },
		"levers.regions have":        func(r *enforce.Route) { r.Levers.Regions[0].Share = 60 },
		"levers.probe":               func(r *enforce.Route) { r.Levers.Probe = 101 },
		"versions[0].places are":     func(r *enforce.Route) { r.Versions[0].Places = r.Versions[0].Places[:2] },
		"versions[0].places[1]":      func(r *enforce.Route) { r.Versions[0].Places[1].Region = "moon" },
		"versions[0].backend stands": func(r *enforce.Route) { r.Versions[0].Backend = "http://127.0.0.1:1" },
	} {
		c := levered()
		change(&c.Routes[0])
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want it at %q", err, want)
		}
	}
}

func TestAClassThatIsLetInInPartServesClientsWhole(t *testing.T) {
	s := pulled(t, state(t, levered()), assay.LeverClass, "batch", 30)
	snap, err := enforce.NewDoorman(attest.TrustPolicy{}, true).Build(s)
	if err != nil {
		t.Fatal(err)
	}
	v, in := snap.Way("shop").Valve, 0
	const clients = 10_000
	for i := range clients {
		k := enforce.KeyOf("shop", fmt.Sprint("client-", i))
		first := v.Admits(2, k)
		if again := v.Admits(2, k); again != first {
			t.Fatal("the same client is let in once and not the next time")
		}
		if first {
			in++
		}
		if !v.Admits(0, k) || !v.Admits(-1, k) {
			t.Fatal("another class is held too")
		}
	}
	if in < 2850 || in > 3150 { // 30 % of 10,000, three standard deviations are 137
		t.Errorf("%d of %d clients are let in at 30 %%", in, clients)
	}
}
