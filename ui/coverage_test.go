package ui

import (
	"html/template"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

func TestCommandsQuoteWhatAnAgentCalledThings(t *testing.T) {
	for in, want := range map[string]string{
		"shop-v2": "shop-v2", "registry.example/a:1@sha256:00": "registry.example/a:1@sha256:00", "": "''",
		"a b": "'a b'", "x;rm -rf ~": "'x;rm -rf ~'", "it's": `'it'\''s'`, "$(id)": "'$(id)'", "ü": "'ü'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}

func TestEveryStateButAttestedHasACommand(t *testing.T) {
	for _, s := range []string{"unregistered", "unresolved", "refused", "unattested", "unverified", "lapsed"} {
		c := api.Covered{Artifact: "sha256:00", Name: "app", State: s}
		if got := coverageFix(c, "prod"); !strings.HasPrefix(got, "assay ") || !strings.Contains(got, "--environment prod") {
			t.Errorf("%s: %q", s, got)
		}
		if coveredState(s).Tone == "ok" {
			t.Errorf("%s looks well", s)
		}
	}
	if got := coverageFix(api.Covered{State: "attested"}, "prod"); got != "" || coveredState("attested").Tone != "ok" {
		t.Errorf("attested asks for %q", got)
	}
}

func TestAFindingTellsWhatWhereAndTheFix(t *testing.T) {
	u := &ui{}
	var err error
	u.templates, err = template.New("").Funcs(u.funcs()).ParseFS(templateFiles, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	d := coverageDetail{Findings: newTable(findingRows([]api.Finding{{
		Advisory: "GO-2099-0001", Severity: assay.SeverityHigh, Summary: "text is <b>too</b> clever", Package: assay.Component{Name: "x/text", Version: "0.3.0"},
		Fixed: []string{"0.3.8"}, Name: "greet", Artifact: assay.DigestOf([32]byte{1}),
		Places: []api.Place{{Service: "greet", Environment: "prod"}, {Service: "greet", Environment: "prod"}, {Service: "batch", Environment: "staging"}},
	}}), nil)}
	var p page
	p.add(&view{ui: u, Now: time.Unix(1_700_000_000, 0)}, "findings", "", "coverage/findings", d)
	if p.err != nil {
		t.Fatal(p.err)
	}
	for _, want := range []string{"GO-2099-0001", "text is &lt;b&gt;too", "x/text 0.3.0", "fixed in 0.3.8", "batch in staging, greet in prod<", `class="chip bad"`} {
		if got := string(p.Parts[0].HTML); !strings.Contains(got, want) {
			t.Errorf("does not say %q: %s", want, got)
		}
	}
}

func TestAKeyIsBelievedForItsTimeAndBeforeItsCompromise(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	revoked := &api.KeyRevocation{CompromisedSince: at}
	for name, c := range map[string]struct {
		key  api.Key
		want string
	}{
		"no bounds":             {api.Key{}, "ok"},
		"its last instant":      {api.Key{NotBefore: at, NotAfter: at}, "ok"},
		"after its end":         {api.Key{NotAfter: at.Add(-1)}, "bad"},
		"before its beginning":  {api.Key{NotBefore: at.Add(1)}, "bad"},
		"compromised since":     {api.Key{Revoked: revoked}, "bad"},
		"compromised later":     {api.Key{Revoked: &api.KeyRevocation{CompromisedSince: at.Add(1)}}, "ok"},
		"compromised and ended": {api.Key{Revoked: revoked, NotAfter: at.Add(1)}, "bad"},
	} {
		if got := believed(c.key, at); got.Tone != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

func TestAKeyTellsItsStateInAWord(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for want, k := range map[string]api.Key{
		"signs": {Signs: true}, "overlapping": {NotAfter: now.Add(time.Hour)}, "ended": {NotAfter: now.Add(-1)},
		"not yet valid": {NotBefore: now.Add(1)}, "valid": {}, "revoked": {Signs: true, Revoked: &api.KeyRevocation{}},
	} {
		if got := keyState(k, now); got.Word != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}
