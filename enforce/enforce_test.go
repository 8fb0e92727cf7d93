package enforce_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/enforce"
	"pgregory.net/rapid"
)

const shopJSON = `{"routes":[{"name":"shop","service":"shop","host":"shop.test","path":"/api","sticky":{"by":"header","name":"User"},
"timeout":"2s","entry":{"resource_uri":"pkg:generic/shop","levels":["ASSAY_RELEASE"],"max_age":"720h0m0s"},
"versions":[{"name":"v1","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","backend":"http://127.0.0.1:8001","weight":100},
{"name":"v2","digest":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","backend":"http://127.0.0.1:8002","weight":0,"attestations":[{"payloadType":"x"}]}]}]}`

// way is a route whose versions v0, v1, … have these shares.
func way(t interface{ Fatal(...any) }, percents ...int) *enforce.Way {
	r := enforce.Route{Name: "shop", Service: "shop", Entry: enforce.Entry{ResourceURI: "pkg:generic/shop"}}
	for i, p := range percents {
		r.Versions = append(r.Versions, enforce.Version{Name: fmt.Sprintf("v%d", i), Digest: assay.Digest(fmt.Sprintf("sha256:%064x", i)), Backend: "http://127.0.0.1:1", Weight: p})
	}
	s, err := enforce.NewState(enforce.Config{Routes: []enforce.Route{r}})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := enforce.NewDoorman(attest.TrustPolicy{}, false).Build(s)
	if err != nil {
		t.Fatal(err)
	}
	return snap.Way("shop")
}

func TestGrowingTheCanaryMovesOnlyClientsFromBaselineToCanary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.IntRange(0, 99).Draw(t, "small")
		large := rapid.IntRange(small+1, 100).Draw(t, "large")
		before, after := way(t, 100-small, small), way(t, 100-large, large)
		for range 300 {
			k := enforce.KeyOf("shop", rapid.String().Draw(t, "client"))
			was, is := before.Choose(k).Version.Name, after.Choose(k).Version.Name
			if was != is && (was != "v0" || is != "v1") {
				t.Fatalf("a client moved from %s to %s when v1 grew from %d to %d", was, is, small, large)
			}
		}
	})
}

func TestAClientMovesOnlyFromAShrinkingOrToAGrowingVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.IntRange(1, 60).Draw(t, "a")
		b := rapid.IntRange(1, 30).Draw(t, "b")
		step := rapid.IntRange(1, a).Draw(t, "step")
		before, after := way(t, a, b, 100-a-b), way(t, a-step, b+step, 100-a-b)
		for range 200 {
			k := enforce.Key(rapid.Uint64().Draw(t, "key"))
			was, is := before.Choose(k).Version.Name, after.Choose(k).Version.Name
			if was != is && was != "v0" && is != "v1" {
				t.Fatalf("a client moved from %s to %s though v0 shrank and v1 grew", was, is)
			}
		}
	})
}

func TestObservedSharesMatchTheDesiredOnes(t *testing.T) {
	const clients = 100_000
	for _, percents := range [][]int{{90, 10}, {50, 50}, {99, 1}, {70, 20, 10}, {0, 100}, {25, 25, 25, 25}} {
		w := way(t, percents...)
		got := make([]int, len(percents))
		for i := range clients {
			target := w.Choose(enforce.KeyOf("shop", fmt.Sprintf("user-%d", i)))
			got[target.Index]++
		}
		for i, p := range percents {
			want := float64(clients*p) / 100
			// Five standard deviations: a sound hash fails this once in a million runs, and this one never changes.
			if d := math.Abs(float64(got[i]) - want); d > 5*math.Sqrt(want*(1-float64(p)/100))+0.5 {
				t.Errorf("shares %v: version %d got %d of %d, want about %.0f", percents, i, got[i], clients, want)
			}
		}
	}
}

func TestTheSameClientIsChosenAlikeEverywhere(t *testing.T) {
	// Fixed values: another build or machine that chose otherwise would tear clients from their version.
	for client, want := range map[string]enforce.Key{"": 0x4226873768fffc2c, "ann": 0xc7ddcf17db35b16a} {
		if got := enforce.KeyOf("shop", client); got != want {
			t.Errorf("KeyOf(shop, %q) = %#x, want %#x", client, uint64(got), uint64(want))
		}
	}
}

func TestShiftsConserveTraffic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "versions")
		d := enforce.Dial{Shares: []enforce.Share{{Version: "v0", Percent: 100}}}
		for i := 1; i < n; i++ {
			d.Shares = append(d.Shares, enforce.Share{Version: fmt.Sprintf("v%d", i)})
		}
		for range 20 {
			v := fmt.Sprintf("v%d", rapid.IntRange(0, n-1).Draw(t, "version"))
			from, _ := d.Percent(v)
			s := enforce.Shift{Version: v, From: from, Weight: rapid.IntRange(0, 100).Draw(t, "weight"), Generation: d.Generation + uint64(rapid.IntRange(0, 2).Draw(t, "older"))}
			next, changed, err := d.Next(s)
			if err != nil {
				if fmt.Sprint(next) != fmt.Sprint(d) {
					t.Fatalf("a refused shift changed %v to %v", d, next)
				}
				continue
			}
			sum := 0
			for _, sh := range next.Shares {
				sum += sh.Percent
				if sh.Percent < 0 {
					t.Fatalf("%+v made %v of %v", s, next, d)
				}
			}
			if got, _ := next.Percent(v); got != s.Weight || sum != 100 || changed != (from != s.Weight) {
				t.Fatalf("%+v made %v of %v (changed %v)", s, next, d, changed)
			}
			d = next
		}
	})
}

func TestAbortReturnsTrafficToWhereItCameFrom(t *testing.T) {
	d := enforce.Dial{Shares: []enforce.Share{{"v1", 0}, {"v2", 100}, {"v3", 0}}}
	for _, s := range []enforce.Shift{
		{Version: "v3", From: 0, Weight: 10, Generation: 1}, {Version: "v3", From: 10, Weight: 100, Generation: 1}, {Version: "v3", From: 100, Weight: 0, Generation: 1},
	} {
		var err error
		if d, _, err = d.Next(s); err != nil {
			t.Fatal(err)
		}
	}
	if p, _ := d.Percent("v2"); p != 100 {
		t.Errorf("after the abort the shares are %v; want all with v2, which gave them", d.Shares)
	}
}

func TestRoutesMatchByHostAndSegment(t *testing.T) {
	mk := func(name, host, path string) enforce.Route {
		return enforce.Route{Name: name, Service: name, Host: host, Path: path, Entry: enforce.Entry{ResourceURI: "u"},
			Versions: []enforce.Version{{Name: "v", Digest: assay.Digest(fmt.Sprintf("sha256:%064x", 1)), Backend: "http://h:1", Weight: 100}}}
	}
	s, err := enforce.NewState(enforce.Config{Routes: []enforce.Route{mk("any", "", ""), mk("api", "", "/api"), mk("shop", "shop.test", "/"), mk("cart", "shop.test", "/cart")}})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := enforce.NewDoorman(attest.TrustPolicy{}, false).Build(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ host, path, want string }{
		{"x.test", "/", "any"}, {"x.test", "/api", "api"}, {"x.test", "/api/1", "api"}, {"x.test", "/apix", "any"},
		{"shop.test", "/api", "shop"}, {"SHOP.test:8080", "/cart/1", "cart"}, {"shop.test.", "/carts", "shop"}, {"[::1]:80", "/", "any"},
	} {
		if w := snap.Match(c.host, c.path); w == nil || w.Route.Name != c.want {
			t.Errorf("Match(%q, %q) = %v, want route %s", c.host, c.path, w, c.want)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(shopJSON))
	f.Add([]byte(`{"routes":[],"revoked":["sha256:00"]}`))
	f.Add([]byte(`{"routes":[],"withdrawn":["e1",""]}`))
	f.Add([]byte(`{"routes":[{"timeout":"-1s"}]}`))
	if data, err := json.Marshal(levered()); err == nil {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := enforce.ParseConfig(data)
		if err != nil {
			return
		}
		s, err := enforce.NewState(c)
		if err != nil {
			t.Fatalf("a configuration that parsed makes no state: %v", err)
		}
		if _, err := enforce.NewDoorman(attest.TrustPolicy{}, true).Build(s); err != nil {
			t.Fatalf("a configuration that parsed cannot be built: %v", err)
		}
	})
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"config":` + shopJSON + `,"generation":3,"dials":{"shop":{"shares":[{"version":"v1","percent":90},{"version":"v2","percent":10}],"generation":2}}}`))
	f.Add([]byte(`{"config":{"routes":[]},"generation":0,"dials":{}}`))
	if s, err := enforce.NewState(levered()); err == nil {
		s.Panels = map[string]enforce.Panel{"shop": {Generation: 1, Stands: []enforce.Stand{{Lever: "class-admission", Scope: "batch", Value: 20}, {Lever: "region-share", Scope: "eu", Value: 10}}}}
		if data, err := json.Marshal(s); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := enforce.ParseState(data)
		if err != nil {
			return
		}
		if _, err := enforce.NewDoorman(attest.TrustPolicy{}, true).Build(s); err != nil {
			t.Fatalf("a state that parsed cannot be built: %v", err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	f.Add([]byte("30s"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d enforce.Duration
		if d.UnmarshalText(text) != nil {
			return
		}
		again, _ := d.MarshalText()
		var back enforce.Duration
		if err := back.UnmarshalText(again); err != nil || back != d {
			t.Fatalf("%q became %q and then %v, %v", text, again, back, err)
		}
	})
}

func TestAConfigurationHasManyRoutesAndNotAnyNumber(t *testing.T) {
	var c enforce.Config
	for i := range enforce.MaxRoutes {
		name := fmt.Sprintf("service-%d", i)
		r := enforce.Route{Name: name, Service: name, Host: name + ".test", Entry: enforce.Entry{ResourceURI: "pkg:generic/" + name}}
		for k := range 2 {
			r.Versions = append(r.Versions, enforce.Version{Name: fmt.Sprintf("v%d", k), Digest: assay.DigestOf([32]byte{byte(k)}), Backend: "http://127.0.0.1:1", Weight: 100 - 100*k})
		}
		c.Routes = append(c.Routes, r)
	}
	state, err := enforce.NewState(c)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(state)
	if err != nil || len(data) > enforce.MaxState/4 {
		t.Fatalf("the state of so many routes has %d bytes, %v", len(data), err)
	}
	if again, err := enforce.ParseState(data); err != nil || again.Revision() != state.Revision() {
		t.Errorf("the state is not read as it was written: %v", err)
	}
	more := c.Routes[0]
	more.Name, more.Host = "one-more", "one-more.test"
	c.Routes = append(c.Routes, more)
	if _, err := enforce.NewState(c); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("one route more is %v; want too large", err)
	}
}
