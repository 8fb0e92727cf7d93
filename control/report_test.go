package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/report"
	"assay.dev/assay/store"
)

// reported is an installation with one attested artifact that runs beside an
// unknown one, and the report about it.
func reported(t *testing.T, framework string) (*controltest.Installation, report.Report) {
	t.Helper()
	in := controltest.New(t)
	s := in.Plane.As(control.Caller{Name: "ci", Namespace: "default", Roles: api.Roles})
	req := api.CheckRequest{Gate: "ship", Subject: assay.Subject{Name: "app", Digest: controltest.DigestOf("app")}}
	for source, text := range map[string]string{"tests.json": controltest.Tests, "scan.json": controltest.Clean} {
		d, err := s.PutEvidence(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Reports = append(req.Reports, api.Report{Digest: d, Source: source})
	}
	if a, err := s.Attest(t.Context(), req); err != nil || a.Verdict.Outcome != assay.OutcomePass {
		t.Fatalf("%+v, %v", a.Verdict, err)
	}
	_, err := s.Report(t.Context(), api.InventoryReport{Environment: "prod", Sightings: []api.Sighting{
		{Service: "shop", Digest: controltest.DigestOf("app")}, {Service: "odd", Digest: controltest.DigestOf("odd")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Compliance(t.Context(), api.ComplianceRequest{Framework: framework, From: in.Now().Add(-24 * time.Hour), To: in.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return in, r
}

func answer(t *testing.T, r report.Report, id string) report.Answer {
	t.Helper()
	for _, a := range r.Controls {
		if a.ID == id {
			return a
		}
	}
	t.Fatalf("the report has no control %s", id)
	return report.Answer{}
}

func TestAComplianceReportProvesEveryLineAndShowsItsGaps(t *testing.T) {
	in, r := reported(t, "soc2")
	for id, want := range map[string]report.State{
		"CC8.1/tests-changes": report.Evidenced, "CC8.1/tracks-changes": report.Evidenced, "CC8.1/configures-software": report.Gap,
		"CC8.1/approves-changes": report.Gap, "CC8.1/baseline": report.NotCovered, "CC8.1/emergency-changes": report.Evidenced,
	} {
		if a := answer(t, r, id); a.State != want || a.Reason == "" {
			t.Errorf("%s is %s: %s; want %s", id, a.State, a.Reason, want)
		}
	}
	if len(r.Coverage) != 1 || r.Coverage[0].Attested != 1 || r.Coverage[0].Running != 2 || len(r.Coverage[0].Missing) != 1 || !strings.Contains(r.Coverage[0].Missing[0], "odd") {
		t.Errorf("coverage %+v", r.Coverage)
	}
	checked, err := report.Verify(r, in.VKey)
	if err != nil || checked.Lines < 4 || checked.Unproved != 0 {
		t.Errorf("%+v, %v", checked, err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := report.ParseReport(data)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := report.Verify(again, in.VKey); err != nil || c != checked {
		t.Errorf("read back: %+v, %v", c, err)
	}
}

func TestALineThatSaysSomethingElseThanTheLedgerIsFound(t *testing.T) {
	in, r := reported(t, "soc2")
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	other := controltest.New(t)
	if _, err := report.Verify(r, other.VKey); assay.CodeOf(err) != assay.CodeUnverified {
		t.Errorf("another ledger's key: %v", err)
	}
	for name, change := range map[string]func(*report.Line){
		"summary":     func(l *report.Line) { l.Summary = "all is well" },
		"actor":       func(l *report.Line) { l.Actor = "somebody" },
		"kind":        func(l *report.Line) { l.Kind = assay.FactExceptionApproved },
		"fact":        func(l *report.Line) { l.Fact = "0197f2c1-0000-7000-8000-000000000000" },
		"namespace":   func(l *report.Line) { l.Namespace = "other" },
		"proof":       func(l *report.Line) { l.Proof = json.RawMessage(`{}`) },
		"no proof":    func(l *report.Line) { l.Proof = nil },
		"time":        func(l *report.Line) { l.Time = l.Time.Add(time.Second) },
		"environment": func(l *report.Line) { l.Environment += "prod" },
		"subject":     func(l *report.Line) { l.Subject = assay.Digest("sha256:" + strings.Repeat("0", 64)) },
		"index":       func(l *report.Line) { l.Index++ },
		"unproved":    func(l *report.Line) { l.Proved = false },
	} {
		changed, err := report.ParseReport(data)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range changed.Controls {
			if a.ID == "CC8.1/tests-changes" {
				change(&changed.Controls[i].Found[0].Lines[0])
			}
		}
		if _, err := report.Verify(changed, in.VKey); assay.CodeOf(err) != assay.CodeUnverified {
			t.Errorf("a changed %s: %v", name, err)
		}
	}
}

func TestFactsThatAreNotPublishedEvidenceNothing(t *testing.T) {
	in := controltest.Idle(t)
	s := in.Plane.As(control.Caller{Name: "ops", Namespace: "default", Roles: api.Roles})
	if _, err := s.Report(t.Context(), api.InventoryReport{Environment: "prod", Sightings: []api.Sighting{{Service: "a", Image: "b:1"}}}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Compliance(t.Context(), api.ComplianceRequest{Framework: "soc2", From: in.Now().Add(-time.Hour), To: in.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	a := answer(t, r, "CC8.1/tracks-changes")
	if a.State != report.Gap || a.Found[0].Total != 1 || a.Found[0].Unproved != 1 || a.Found[0].Lines[0].Proved {
		t.Errorf("%+v", a)
	}
}

func TestAReportOfAPeriodHoldsNothingElse(t *testing.T) {
	in, _ := reported(t, "slsa")
	s := in.Plane.As(control.Caller{Name: "auditor", Namespace: "default", Roles: []api.Role{api.RoleViewer}})
	r, err := s.Compliance(t.Context(), api.ComplianceRequest{Framework: "slsa", From: in.Now().Add(-48 * time.Hour), To: in.Now().Add(-24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range r.Controls {
		for _, f := range a.Found {
			if len(f.Lines) > 0 {
				t.Errorf("%s shows %+v", a.ID, f.Lines[0])
			}
		}
	}
	now := in.Now()
	if _, err := s.Compliance(t.Context(), api.ComplianceRequest{Framework: "slsa", From: now, To: now}); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("an empty period: %v", err)
	}
}

func TestTheHTMLReportNeedsNothingFromAnywhereAndEscapesWhatItShows(t *testing.T) {
	_, r := reported(t, "ssdf")
	r.Coverage[0].Missing[0] = `<script>alert(1)</script>`
	r.Namespace = `"><img src=x>`
	var out bytes.Buffer
	if err := report.HTML(&out, r); err != nil {
		t.Fatal(err)
	}
	if bad := regexp.MustCompile(`(?i)<(script|link|img|iframe|object)|src=["']|@import|url\(`).FindString(out.String()); bad != "" {
		t.Errorf("the page has %q", bad)
	}
	for _, want := range []string{"PW.8.2", "Gap.", "Not covered by Assay.", "Evidenced.", "app: gate ship (enforce) says pass"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestTheOSCALReportHasTheStructureOfAssessmentResults(t *testing.T) {
	_, r := reported(t, "ssdf")
	var out, again bytes.Buffer
	if err := report.OSCAL(&out, r); err != nil {
		t.Fatal(err)
	}
	if err := report.OSCAL(&again, r); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("the same report twice differs, %v", err)
	}
	var tree any
	if err := json.Unmarshal(out.Bytes(), &tree); err != nil {
		t.Fatal(err)
	}
	doc := tree.(map[string]any)["assessment-results"].(map[string]any)
	for _, field := range []string{"uuid", "metadata", "import-ap", "results", "back-matter"} {
		if doc[field] == nil {
			t.Errorf("assessment-results has no %s", field)
		}
	}
	token := regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}.\-_]*$`) // OSCAL's TokenDatatype
	uid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	known, hrefs, observations := map[string]bool{}, []string{}, map[string]bool{}
	walk(doc, func(key string, v any) {
		s, isText := v.(string)
		switch {
		case key == "uuid" || key == "observation-uuid":
			if !isText || !uid.MatchString(s) {
				t.Errorf("%s %v is no UUID of version 4 or 5", key, v)
			}
			if key == "uuid" {
				known[s] = true
			} else {
				observations[s] = true
			}
		case key == "control-id" || key == "target-id":
			if !token.MatchString(s) {
				t.Errorf("%s %q is no token", key, s)
			}
		case key == "href" && strings.HasPrefix(s, "#"):
			hrefs = append(hrefs, s[1:])
		case key == "state" && s != "satisfied" && s != "not-satisfied":
			t.Errorf("state %q", s)
		case isText && s == "" && key != "remarks":
			t.Errorf("%s is empty", key)
		}
	})
	for _, h := range hrefs {
		if !known[h] {
			t.Errorf("evidence %s is not in the document", h)
		}
	}
	for o := range observations {
		if !known[o] {
			t.Errorf("observation %s is not in the document", o)
		}
	}
	if len(hrefs) == 0 || len(observations) == 0 {
		t.Error("the document has no evidence")
	}
}

// walk calls do with every member of every object below v.
func walk(v any, do func(key string, v any)) {
	switch v := v.(type) {
	case map[string]any:
		for k, m := range v {
			do(k, m)
			walk(m, do)
		}
	case []any:
		for _, m := range v {
			walk(m, do)
		}
	}
}

func TestAnArtifactSaysWhereItRunsAndOnlyInItsNamespace(t *testing.T) {
	in, _ := reported(t, "slsa")
	running, err := in.Plane.As(control.Caller{Name: "x", Namespace: "default", Roles: api.Roles}).Artifact(t.Context(), controltest.DigestOf("app"))
	if err != nil || len(running.Running) != 1 || running.Running[0].Service != "shop" {
		t.Errorf("where it runs: %+v, %v", running.Running, err)
	}
	s := in.Plane.As(control.Caller{Name: "x", Namespace: "team-a", Roles: api.Roles})
	if list, err := s.Inventory(t.Context(), "", ""); err != nil || len(list) != 0 {
		t.Errorf("another namespace sees %+v, %v", list, err)
	}
}

func TestAComplianceReportWaitsForTheNewestAuditFactHoweverManyOtherFactsCameSince(t *testing.T) {
	in := controltest.Idle(t) // whose facts are published by nobody
	fact := func(tx store.Tx, keep assay.Retention) (assay.FactID, error) {
		return tx.Append(assay.Fact{
			Kind: "rollout.decided", Version: 1, Time: in.Now(), Namespace: "default", Actor: "test", Retention: keep, Payload: json.RawMessage(`{}`),
		})
	}
	err := in.Store.Update(t.Context(), func(tx store.Tx) (err error) {
		if _, err = fact(tx, assay.RetainAudit); err != nil {
			return err
		}
		for range store.MaxLimit + 100 { // more than are read at once, and none of them in the ledger
			if _, err := fact(tx, assay.RetainOperational); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	waits := false
	conf := in.Config
	conf.Publishes, conf.Poke = true, func() { waits = true; giveUp() }
	s := control.New(conf).As(control.Caller{Name: "eve", Namespace: "default", Roles: api.Roles})
	_, err = s.Compliance(ctx, api.ComplianceRequest{Framework: "soc2", From: in.Now().Add(-time.Hour), To: in.Now().Add(time.Hour)})
	if err == nil || !waits {
		t.Errorf("a report whose newest audit fact nobody published is made: %v, waited %v", err, waits)
	}
}
