package inventory_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/inventory"
)

func TestANewAdvisoryOpensAFindingForWhatRunsAlready(t *testing.T) {
	w := newWorld(t)
	w.attest("shop", "prod", assay.OutcomePass, w.bill("pkg:npm/lodash@4.17.20", "pkg:npm/other@1.0.0"))
	w.attest("idle", "prod", assay.OutcomePass, w.bill("pkg:npm/lodash@4.17.20"))
	w.attest("bare", "prod", assay.OutcomePass)
	w.push(false, "prod", runs("shop", "checkout"), runs("shop", "cart"), runs("bare", "bare"), runs("stranger", "stranger"),
		inventory.Sighting{Service: "tagged", Image: "registry.example/tagged:1"})
	db := database(flaw("GHSA-1", "lodash", "4.17.21", "CVE-1"), flaw("GHSA-2", "elsewhere", "9.0.0"))
	d := w.discover(db)
	if d.Opened != 1 || len(d.Open) != 1 || d.Artifacts != 3 || d.Components != 2 || len(d.Unexamined) != 3 {
		t.Fatalf("%+v", d)
	}
	f := d.Open[0]
	if f.Advisory != "GHSA-1" || f.Name != "shop" || f.Severity != assay.SeverityHigh || len(f.Places) != 2 || f.Package.PURL != "pkg:npm/lodash@4.17.20" || !slices.Equal(f.Fixed, []string{"4.17.21"}) {
		t.Errorf("%+v", f)
	}
	facts := w.facts(assay.FactFindingOpened)
	var p inventory.FindingOpenedPayload
	if len(facts) != 1 || facts[0].Subject != digest("shop") || len(facts[0].Causes) != 2 || json.Unmarshal(facts[0].Payload, &p) != nil || len(p.Finding.Places) != 2 {
		t.Errorf("facts %+v", facts)
	}
	if again := w.discover(db); again.Opened != 0 || again.Closed != 0 || len(again.Open) != 1 || len(w.facts(assay.FactFindingOpened)) != 1 {
		t.Errorf("the same database again: %+v", again)
	}
}

func TestAFindingIsClosedForAReason(t *testing.T) {
	advisory := flaw("GHSA-1", "lodash", "4.17.21", "CVE-1")
	for name, c := range map[string]struct {
		do     func(*world) inventory.Discovered
		closed string
	}{
		"withdrawn": {func(w *world) inventory.Discovered { return w.discover(database(withdrawn(advisory))) }, "withdrawn: GHSA-1"},
		"corrected": {func(w *world) inventory.Discovered { return w.discover(database(flaw("GHSA-1", "lodash", "4.17.5"))) }, "the advisory no longer names this version"},
		"gone":      {func(w *world) inventory.Discovered { w.push(true, "prod"); return w.discover(database(advisory)) }, "the artifact no longer runs"},
		"silence":   {func(w *world) inventory.Discovered { return w.discover(database(flaw("GHSA-9", "else", "1.0.0"))) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.attest("shop", "prod", assay.OutcomePass, w.bill("pkg:npm/lodash@4.17.20"))
			w.push(false, "prod", runs("shop", "checkout"))
			w.discover(database(advisory))
			d := c.do(w)
			all, err := inventory.Findings(t.Context(), w.store, ns, true, w.now)
			if err != nil || len(all) != 1 || all[0].ClosedFor != c.closed || (d.Closed == 1) != (c.closed != "") || (len(d.Open) == 0) != (c.closed != "") {
				t.Fatalf("%+v, %+v, %v", d, all, err)
			}
			facts := w.facts(assay.FactFindingClosed)
			if (len(facts) == 1) != (c.closed != "") || len(facts) == 1 && facts[0].Causes[0] != all[0].Fact {
				t.Errorf("facts %+v", facts)
			}
			if c.closed == "" {
				return
			}
			// What comes back is opened again.
			w.now = w.now.Add(time.Minute)
			w.push(false, "prod", runs("shop", "checkout"))
			if d := w.discover(database(advisory)); d.Opened != 1 || len(d.Open) != 1 {
				t.Errorf("it came back: %+v", d)
			}
		})
	}
}

func TestTwoNamesOfOneVulnerabilityAreOneFinding(t *testing.T) {
	w := newWorld(t)
	w.attest("shop", "prod", assay.OutcomePass, w.bill("pkg:npm/lodash@4.17.20"))
	w.push(false, "prod", runs("shop", "checkout"))
	d := w.discover(database(flaw("GHSA-1", "lodash", "4.17.21", "CVE-1"), flaw("SNYK-7", "lodash", "4.17.22", "CVE-1")))
	if len(d.Open) != 1 || !slices.Equal(d.Open[0].Aliases, []string{"CVE-1", "SNYK-7"}) || len(d.Open[0].Fixed) != 2 {
		t.Errorf("%+v", d.Open)
	}
	// Another database that calls it only by its third name neither opens nor closes anything.
	if d := w.discover(database(flaw("SNYK-7", "lodash", "4.17.22", "CVE-1"))); d.Opened != 0 || d.Closed != 0 || len(d.Open) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestWhatStopsRunningClosesItsFindingsWithoutADatabase(t *testing.T) {
	w := newWorld(t)
	w.attest("shop", "prod", assay.OutcomePass, w.bill("pkg:npm/lodash@4.17.20"))
	w.push(false, "prod", runs("shop", "checkout"))
	w.discover(database(flaw("GHSA-1", "lodash", "4.17.21")))
	w.now = w.now.Add(2 * time.Hour)
	if err := inventory.Expire(t.Context(), w.store, ns, "assay", w.now); err != nil {
		t.Fatal(err)
	}
	if open, err := inventory.Findings(t.Context(), w.store, ns, false, w.now); err != nil || len(open) != 0 {
		t.Errorf("%+v, %v", open, err)
	}
}

func TestALostBillOfMaterialsIsSaidAndClosesNothing(t *testing.T) {
	w := newWorld(t)
	w.attest("shop", "prod", assay.OutcomePass, func(v *assay.Verdict) {
		v.Evidence = append(v.Evidence, assay.EvidenceRef{Kind: assay.KindSBOM, Format: "cyclonedx-json", Source: "bom.json", Digest: digest("lost"), Origin: assay.OriginLive})
	})
	w.push(false, "prod", runs("shop", "checkout"))
	d := w.discover(database(flaw("GHSA-1", "lodash", "4.17.21")))
	if len(d.Unexamined) != 1 || d.Components != 0 || d.Unexamined[0].Reason == "" {
		t.Errorf("%+v", d)
	}
}

func TestADatabaseThatFailsChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.attest("shop", "prod", assay.OutcomePass, w.bill("pkg:npm/lodash@4.17.20"))
	w.push(false, "prod", runs("shop", "checkout"))
	_, err := inventory.Discover(t.Context(), inventory.Search{Store: w.store, Blobs: w.blobs, Namespace: ns, Actor: "x"}, database(flaw("GHSA-1", "lodash", "4.17.21"), "{"), w.now)
	if assay.CodeOf(err) != assay.CodeInvalid {
		t.Error(err)
	}
	if len(w.facts(assay.FactFindingOpened)) != 0 {
		t.Error("a finding was opened from half a database")
	}
}
