package policy

import (
	"strings"
	"testing"

	"assay.dev/assay"
)

func scaleWith(fields string) string {
	return `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: shop-scale}
spec:
  service: shop
` + fields + `  signals:
    - {name: load, query: sum(load)}
  scale: {perReplica: 40, max: 60}
`
}

func TestALeverThatNoDoorMovesIsSaidAtLint(t *testing.T) {
	for name, c := range map[string]struct {
		fields string
		known  []string
		want   string // "" is silence
	}{
		"no door":                      {"  level: act\n", nil, "no door for replicas"},
		"a person answers in vain":     {"  level: approve\n", nil, "will only propose"},
		"it only proposes anyway":      {"  level: propose\n", nil, ""},
		"a door":                       {"  level: act\n  levers: [{lever: replicas, door: platform}]\n", nil, ""},
		"a door that is there":         {"  level: act\n  levers: [{lever: replicas, door: platform}]\n", []string{"platform"}, ""},
		"a door that is not there":     {"  level: act\n  levers: [{lever: replicas, door: platform}]\n", []string{"cloud"}, "no such door"},
		"the proxy has no replicas":    {"  level: act\n  levers: [{lever: replicas, door: proxy}]\n", nil, "the proxy has none"},
		"where it stands is not a way": {"  level: act\n  levers: [{lever: replicas, query: sum(replicas)}]\n", nil, "no door for replicas"},
	} {
		res, err := Parse("shop.yaml", []byte(scaleWith(c.fields)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found := res.Strategies[0].Lint(c.known)
		switch {
		case c.want == "" && len(found) != 0:
			t.Errorf("%s: %v; want nothing said", name, found)
		case c.want != "" && (len(found) != 1 || !strings.Contains(found[0].Error(), c.want) || !strings.HasPrefix(found[0].Error(), "shop.yaml:")):
			t.Errorf("%s: %v; want %q at its place", name, found, c.want)
		}
	}
}

func TestALeverHasOneDoorOrAQuery(t *testing.T) {
	for levers, want := range map[string]string{
		"[{lever: replicas}]":                                                "and so is door",
		"[{lever: replicas, door: platform, query: x}]":                      "stands beside door",
		"[{lever: replicas, door: Platform}]":                                "lower-case",
		"[{lever: replicas, door: platform, by: region}]":                    "belongs to query",
		"[{lever: replicas, door: one}, {lever: replicas, door: two}]":       "second one",
		"[{lever: spend, door: platform}]":                                   "which law scale moves",
		"[{lever: replicas, door: platform, url: http://elsewhere.example}]": "url",
	} {
		_, err := Parse("shop.yaml", []byte(scaleWith("  levers: "+levers+"\n")))
		if err == nil || !strings.Contains(err.Error(), want) || assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v; want %q", levers, err, want)
		}
	}
}
