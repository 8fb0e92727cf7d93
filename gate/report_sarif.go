package gate

import (
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"assay.dev/assay"
)

// sarifSchema is the schema of SARIF 2.1.0 that tools know.
const sarifSchema = "https://json.schemastore.org/sarif-2.1.0.json"

// The parts of SARIF 2.1.0 that a report has.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Automation  sarifAutomation   `json:"automationDetails"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		Properties  sarifRunWords     `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		URI   string      `json:"informationUri"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID            string      `json:"id"`
		Short         sarifText   `json:"shortDescription"`
		Help          sarifText   `json:"help"`
		Configuration sarifConfig `json:"defaultConfiguration"`
	}
	sarifConfig struct {
		Level string `json:"level"`
	}
	sarifAutomation struct {
		ID string `json:"id"`
	}
	sarifInvocation struct {
		Successful bool   `json:"executionSuccessful"`
		End        string `json:"endTimeUtc"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Properties   sarifWords         `json:"properties"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifWords struct {
		Severity  assay.Severity `json:"severity"`
		Mode      assay.Mode     `json:"mode"`
		Remedy    string         `json:"remedy,omitempty"`
		Exception string         `json:"exceptionCommand,omitempty"`
	}
	sarifRunWords struct {
		Gate    string            `json:"gate"`
		Mode    assay.Mode        `json:"mode"`
		Outcome assay.Outcome     `json:"outcome"`
		Subject assay.Subject     `json:"subject"`
		Policy  assay.PolicyRef   `json:"policy"`
		Ledger  *assay.LedgerHead `json:"ledger,omitempty"`
	}
)

// SARIF writes everything that the verdict objects to as SARIF 2.1.0. What an
// exception excuses is there with an accepted suppression; what has no place in a
// file is shown at the report that it is from.
func SARIF(w io.Writer, v assay.Verdict) error {
	kind := kindOf(v)
	run := sarifRun{
		Tool:        sarifTool{Driver: sarifDriver{Name: "assay", URI: "https://assay.dev", Rules: []sarifRule{}}},
		Automation:  sarifAutomation{ID: "assay/" + v.Gate + "/" + v.Environment},
		Invocations: []sarifInvocation{{Successful: true, End: v.Time.UTC().Format("2006-01-02T15:04:05Z")}},
		Results:     []sarifResult{},
		Properties:  sarifRunWords{Gate: v.Gate, Mode: v.Mode, Outcome: v.Outcome, Subject: v.Subject, Policy: v.Policy, Ledger: v.Ledger},
	}
	rules := map[string]int{}
	for _, e := range entries(v) {
		level := sarifLevel(e, v)
		i, known := rules[e.rule]
		if !known {
			i = len(rules)
			rules[e.rule] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
				ID: e.rule, Short: sarifText{Text: "gate " + clean(v.Gate) + ": " + clean(e.rule)},
				Help: sarifText{Text: sarifHelp(e)}, Configuration: sarifConfig{level},
			})
		}
		r := sarifResult{
			RuleID: e.rule, RuleIndex: i, Level: level, Message: sarifText{Text: strings.Join(e.explain(v), "\n")},
			Locations:    []sarifLocation{sarifPlace(e, e.file(v, kind(e)))},
			Fingerprints: map[string]string{"assay/v1": e.id(v)},
			Properties:   sarifWords{Severity: e.severity, Mode: e.mode, Remedy: clean(e.remedy), Exception: e.command},
		}
		if e.status == excused {
			r.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: justification(v, e.exception)}}
		}
		run.Results = append(run.Results, r)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

func sarifLevel(e entry, v assay.Verdict) string {
	switch {
	case e.stops(v):
		return "error"
	case e.status == advice:
		return "note"
	}
	return "warning"
}

func sarifHelp(e entry) string {
	help := "fix: " + clean(e.remedy)
	if e.remedy == "" {
		help = "The rule says why; its policy says what it wants."
	}
	if e.command != "" {
		help += "\nor ask for an exception: " + e.command
	}
	return help
}

func sarifPlace(e entry, at assay.Location) sarifLocation {
	l := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{URI: (&url.URL{Path: filepath.ToSlash(clean(at.File))}).EscapedPath()}}}
	if at.Line > 0 {
		l.Physical.Region = &sarifRegion{StartLine: at.Line, StartColumn: at.Column}
	}
	if name := e.pack.PURL; name != "" || e.pack.Name != "" {
		if name == "" {
			name = strings.TrimSuffix(e.pack.Name+"@"+e.pack.Version, "@")
		}
		l.Logical = []sarifLogical{{Name: clean(name), Kind: "package"}}
	}
	return l
}

// justification says who let something pass.
func justification(v assay.Verdict, id string) string {
	for _, x := range v.Exceptions {
		if x.ID == id {
			return "exception " + clean(x.ID) + ", " + givenBy(x) + ", until " + x.ValidUntil.UTC().Format("2006-01-02 15:04 MST")
		}
	}
	return "exception " + clean(id)
}

// givenBy says who asked for an exception and who gave it.
func givenBy(x assay.ExceptionUse) string {
	switch {
	case x.Emergency:
		return "an emergency bypass by " + clean(x.Requester) + " that nobody approved"
	case len(x.Approvers) > 1:
		return "asked for by " + clean(x.Requester) + ", approved by " + clean(strings.Join(x.Approvers, " and "))
	}
	return "asked for by " + clean(x.Requester) + ", approved by " + clean(x.Approver)
}

// RestsOn says of an exception that a signed verdict rests on who asked for it and gave it,
// what it excused there, and whether it has ended since: an enforcer lets nothing in any
// more then. Whether it was revoked is not in the signature.
func RestsOn(x assay.ExceptionUse, now time.Time) string {
	end := "which ended at "
	if now.Before(x.ValidUntil) {
		end = "valid, unless revoked, until "
	}
	return "exception " + clean(x.ID) + ", " + givenBy(x) + ", " + end + x.ValidUntil.UTC().Format(time.RFC3339) + ": " + clean(strings.Join(x.Rules, ", "))
}
