package ui

import (
	"encoding/json"
	"html/template"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
)

func TestAFrozenLeverStandsOnItsPageWithWhatAPersonCanDo(t *testing.T) {
	u := &ui{}
	var err error
	if u.templates, err = template.New("").Funcs(u.funcs()).ParseFS(templateFiles, "templates/*.html"); err != nil {
		t.Fatal(err)
	}
	s := api.StrategyStatus{
		Name: "shop-scale", Service: "shop", Law: "scale", Effective: "act", Decision: &assay.Decision{Words: "hold"},
		Frozen: []api.StrategyFreeze{{Target: "cost-class/gold", Turns: 2, Words: "it changed its direction 2 times in 30m: nothing is given back until 12:30:00 UTC"}},
	}
	d := strategyDetail{strategyRow: newStrategyRow(s), Decision: s.Decision, MayAct: true}
	var p page
	v := &view{ui: u, Now: time.Unix(1_700_000_000, 0), SignedIn: true}
	p.add(v, "verdict", "", "strategy/verdict", d)
	p.add(v, "act", "", "strategy/act", d)
	p.add(v, "list", "", "strategies/list", newTable(strategyRows([]api.StrategyStatus{s}), nil))
	if p.err != nil {
		t.Fatal(p.err)
	}
	for i, want := range [][]string{
		{"<b>cost-class of gold</b> swings: it changed its direction 2 times", "acting</span>", "frozen</span>"},
		{`name="target" value="cost-class/gold"`, `value="thaw"`, "assay strategy thaw shop-scale --target cost-class/gold --reason", "Lift the freeze of cost-class of gold"},
		{"acting</span>", "frozen</span>"},
	} {
		for _, w := range want {
			if got := string(p.Parts[i].HTML); !strings.Contains(got, w) {
				t.Errorf("does not say %q: %s", w, got)
			}
		}
	}
}

func TestAFreezeAndItsEndAreAmongWhatHappened(t *testing.T) {
	fact := func(kind string, payload any) assay.Fact {
		data, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		return assay.Fact{ID: "f", Kind: kind, Version: 1, Payload: data, Actor: "grace"}
	}
	frozen := fact(assay.FactMitigationFrozen, mitigate.FrozenPayload{Strategy: "shop-scale", Target: "replicas", Freeze: mitigate.Freeze{Turns: 3, All: true}})
	told := fact(assay.FactMitigationTold, mitigate.ToldPayload{Strategy: "shop-scale", Told: mitigate.ToldThaw, Target: "replicas", Reason: "it is over"})
	for _, c := range []struct {
		f     assay.Fact
		state state
		words string
	}{
		{frozen, state{"warn", "frozen"}, "replicas swings: it changed its direction 3 times in 30m: nothing moves it until 00:00:00 UTC"},
		{told, state{"active", "told: thaw"}, "replicas may move again “it is over”"},
	} {
		if d, of := mitigationDeed(c.f); of != "shop-scale" || d.State != c.state || !strings.Contains(d.Words, c.words) {
			t.Errorf("%s: %+v of %s", c.f.Kind, d, of)
		}
	}
}
