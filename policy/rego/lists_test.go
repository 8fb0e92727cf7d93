package rego

import (
	"testing"

	"assay.dev/assay"
)

const kevList = `{"vulnerabilities": [{"cveID": "CVE-2021-44228", "vulnerabilityName": "Log4Shell", "dateAdded": "2021-12-10", "knownRansomwareCampaignUse": "Known"}]}`
const epssList = "cve,epss,percentile\nCVE-2021-44228,0.94,0.99\n"

const listRules = `package release

deny contains v if {
	some f in input.evidence[_].findings
	some id in array.concat([f.rule], object.get(f, "aliases", []))
	data.kev[id].ransomware
	data.epss[id].score > 0.9
	v := {"rule": "ransomware", "msg": sprintf("%s, added %s", [data.kev[id].name, data.kev[id].added])}
}
`

func TestRulesSeeTheListsOfVulnerabilities(t *testing.T) {
	s, err := Compile(t.Context(), revision(t, map[string]string{"r.rego": listRules, "a.kev.json": kevList, "epss.csv": epssList}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Evaluate(t.Context(), input(assay.Finding{Rule: "GHSA-1", Aliases: []string{"CVE-2021-44228"}, Severity: assay.SeverityLow}), []string{"release"})
	if err != nil || len(got["release"]) != 1 || got["release"][0].Message != "Log4Shell, added 2021-12-10" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRulesThatAskAListWhichIsNotThereDoNotCompile(t *testing.T) {
	_, err := Compile(t.Context(), revision(t, map[string]string{"r.rego": listRules, "a.kev.json": kevList}))
	wantError(t, err, assay.CodeInvalid, "data.epss does not exist")
}

func TestAListDoesNotHideADataFile(t *testing.T) {
	_, err := Compile(t.Context(), revision(t, map[string]string{"r.rego": listRules, "a.kev.json": kevList, "epss.csv": epssList, "data.json": `{"kev": {}}`}))
	wantError(t, err, assay.CodeInvalid, `a data file gives "kev" a value`)
}

func TestAListThatNoRuleAsksIsNotLoaded(t *testing.T) {
	l, err := load(revision(t, map[string]string{"r.rego": "package release\n\ndeny contains \"x\" if data.kev[\"CVE-1\"]\n", "a.kev.json": kevList, "epss.csv": epssList}), false)
	if err != nil || l.data["kev"] == nil || l.data["epss"] != nil {
		t.Errorf("data %v, %v", l.data, err)
	}
}
