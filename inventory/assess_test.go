package inventory_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/exception"
	"assay.dev/assay/inventory"
	"assay.dev/assay/policy"
)

// openVEX is an OpenVEX document about CVE-1 in lodash.
func openVEX(status, justification string, at time.Time) string {
	extra := ""
	if justification != "" {
		extra = `,"justification":"` + justification + `"`
	}
	return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://x.example/1","author":"acme","version":1,"timestamp":"` + at.Format(time.RFC3339) + `",
	"statements":[{"vulnerability":{"name":"CVE-1"},"products":[{"@id":"pkg:npm/lodash@4.17.20"}],"status":"` + status + `"` + extra + `}]}`
}

// csaf is a CSAF document about the same.
func csaf(at time.Time) string {
	when := at.Format(time.RFC3339)
	return `{"document":{"category":"csaf_vex","csaf_version":"2.0","title":"t","publisher":{"category":"vendor","name":"acme","namespace":"https://x.example"},
	"tracking":{"id":"X-1","status":"final","version":"1","initial_release_date":"` + when + `","current_release_date":"` + when + `","revision_history":[{"date":"` + when + `","number":"1","summary":"s"}]}},
	"product_tree":{"full_product_names":[{"name":"lodash","product_id":"P","product_identification_helper":{"purl":"pkg:npm/lodash@4.17.20"}}]},
	"vulnerabilities":[{"cve":"CVE-1","product_status":{"known_not_affected":["P"]},"flags":[{"label":"vulnerable_code_not_present","product_ids":["P"]}]}]}`
}

func document(t *testing.T, text string) []assay.Evidence {
	t.Helper()
	ev, err := evidence.Read(strings.NewReader(text), "acme.vex.json", evidence.Options{Kind: assay.KindVEX})
	if err != nil {
		t.Fatal(err)
	}
	return []assay.Evidence{ev}
}

// lodash runs in production, and CVE-1 becomes known in it.
func lodash(w *world, change ...func(*assay.Verdict)) {
	w.attest("shop", "prod", assay.OutcomePass, append(change, w.bill("pkg:npm/lodash@4.17.20"))...)
	w.push(false, "prod", runs("shop", "checkout"), runs("shop", "cart"))
}

func (w *world) search(change func(*inventory.Search)) inventory.Discovered {
	w.t.Helper()
	s := inventory.Search{Store: w.store, Blobs: w.blobs, Namespace: ns, Actor: "scanner"}
	change(&s)
	d, err := inventory.Discover(w.t.Context(), s, database(flaw("GHSA-1", "lodash", "4.17.21", "CVE-1")), w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) assessed() []inventory.FindingAssessedPayload {
	w.t.Helper()
	var out []inventory.FindingAssessedPayload
	for _, f := range w.facts(assay.FactFindingAssessed) {
		var p inventory.FindingAssessedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil || len(f.Causes) != 1 {
			w.t.Fatalf("%+v, %v", f, err)
		}
		out = append(out, p)
	}
	return out
}

func TestALateFindingThatVEXDismissesIsShownAndNotOpen(t *testing.T) {
	for name, c := range map[string]struct {
		text     string
		standing inventory.Standing
		words    string
	}{
		"not affected":             {openVEX("not_affected", "vulnerable_code_not_in_execute_path", start), inventory.FindingNotAffected, "vulnerable_code_not_in_execute_path"},
		"CSAF":                     {csaf(start), inventory.FindingNotAffected, "vulnerable_code_not_present"},
		"fixed":                    {openVEX("fixed", "", start), inventory.FindingNotAffected, "fixed"},
		"under investigation":      {openVEX("under_investigation", "", start), inventory.FindingOpen, ""},
		"from the future":          {openVEX("not_affected", "component_not_present", start.Add(time.Hour)), inventory.FindingOpen, ""},
		"about something else":     {strings.Replace(openVEX("not_affected", "component_not_present", start), "CVE-1", "CVE-2", 1), inventory.FindingOpen, ""},
		"about another version":    {strings.Replace(openVEX("not_affected", "component_not_present", start), "4.17.20", "4.17.19", 1), inventory.FindingOpen, ""},
		"about every version":      {strings.Replace(openVEX("not_affected", "component_not_present", start), "@4.17.20", "", 1), inventory.FindingNotAffected, "component_not_present"},
		"named after the artifact": {strings.Replace(openVEX("not_affected", "component_not_present", start), "pkg:npm/lodash@4.17.20", "pkg:generic/shop", 1), inventory.FindingNotAffected, "component_not_present"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			lodash(w)
			d := w.search(func(s *inventory.Search) { s.VEX = document(t, c.text) })
			if len(d.Open) != 1 || d.Open[0].Standing() != c.standing || len(d.Open[0].Places) != 2 {
				t.Fatalf("%+v", d.Open)
			}
			said := w.assessed()
			if (d.Opened == 0) != (c.words != "") || (len(said) == 1) != (c.words != "") {
				t.Errorf("%d opened, assessed %+v", d.Opened, said)
			}
			if c.words != "" && (!strings.Contains(d.Open[0].VEX.Words, c.words) || !strings.Contains(d.Open[0].VEX.By, "acme.vex.json")) {
				t.Errorf("%+v", d.Open[0].VEX)
			}
		})
	}
}

func TestANewerStatementOpensALateFindingAgain(t *testing.T) {
	w := newWorld(t)
	lodash(w)
	w.search(func(s *inventory.Search) {
		s.VEX = document(t, openVEX("not_affected", "component_not_present", start))
	})
	for range 2 { // nothing new is no fact
		if d := w.search(func(s *inventory.Search) {
			s.VEX = document(t, openVEX("not_affected", "component_not_present", start))
		}); d.Opened != 0 || len(w.assessed()) != 1 {
			t.Fatalf("%+v", d)
		}
	}
	w.now = w.now.Add(time.Minute)
	d := w.search(func(s *inventory.Search) {
		s.VEX = append(document(t, openVEX("not_affected", "component_not_present", start)), document(t, openVEX("affected", "", start.Add(time.Second)))...)
	})
	said := w.assessed()
	if d.Open[0].Standing() != inventory.FindingOpen || len(said) != 2 || said[1].VEX != nil {
		t.Errorf("%+v with %+v", d.Open, said)
	}
}

func TestVEXThatAGateWasGivenCountsAsTheGateTrustsIt(t *testing.T) {
	for name, c := range map[string]struct {
		producer string
		trust    *policy.VEXTrust
		standing inventory.Standing
	}{
		"trusted":        {"acme", &policy.VEXTrust{Producers: []string{"acme"}}, inventory.FindingNotAffected},
		"another signer": {"acme", &policy.VEXTrust{Producers: []string{"other"}}, inventory.FindingOpen},
		"unsigned":       {"", &policy.VEXTrust{Producers: []string{"acme"}}, inventory.FindingOpen},
		"no gate left":   {"acme", nil, inventory.FindingOpen},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d, err := w.blobs.Put(t.Context(), strings.NewReader(openVEX("not_affected", "component_not_present", start)), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			lodash(w, func(v *assay.Verdict) {
				v.Evidence = append(v.Evidence, assay.EvidenceRef{Kind: assay.KindVEX, Format: evidence.FormatOpenVEX, Source: "acme.json", Digest: d, Producer: c.producer, Origin: assay.OriginLive})
			})
			got := w.search(func(s *inventory.Search) {
				s.TrustVEX = func(gate string) *policy.VEXTrust {
					if gate != "release" {
						t.Errorf("asked about gate %q", gate)
					}
					return c.trust
				}
			})
			if got.Open[0].Standing() != c.standing {
				t.Errorf("%+v", got.Open[0])
			}
		})
	}
}

func TestAnExceptionExcusesALateFindingAsLongAsItLasts(t *testing.T) {
	grant := func(w *world, scope assay.ExceptionScope) string {
		r, err := exception.Request(t.Context(), w.store, exception.Ask{Namespace: ns, Reason: "the code is not reachable", NotAfter: w.now.Add(time.Hour), Scope: scope}, "ann", w.now)
		if err == nil {
			r, err = exception.Approve(t.Context(), w.store, ns, r.ID, "bob", w.now)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	standing := func(w *world) inventory.Standing {
		list, err := inventory.Findings(t.Context(), w.store, ns, false, w.now)
		if err != nil || len(list) != 1 || len(list[0].Places) == 0 {
			t.Fatalf("%+v, %v", list, err)
		}
		return list[0].Standing()
	}
	for name, c := range map[string]struct {
		scope assay.ExceptionScope
		want  inventory.Standing
	}{
		"its rule":                 {assay.ExceptionScope{Rules: []string{inventory.LateRule}}, inventory.FindingExcused},
		"the advisory by an alias": {assay.ExceptionScope{Rules: []string{"release/no-critical"}, Advisories: []string{"CVE-1"}}, inventory.FindingExcused},
		"another rule":             {assay.ExceptionScope{Rules: []string{"release/no-critical"}}, inventory.FindingOpen},
		"another advisory":         {assay.ExceptionScope{Rules: []string{inventory.LateRule}, Advisories: []string{"CVE-2"}}, inventory.FindingOpen},
		"another package":          {assay.ExceptionScope{Rules: []string{inventory.LateRule}, Packages: []string{"left-pad"}}, inventory.FindingOpen},
		"another artifact":         {assay.ExceptionScope{Rules: []string{inventory.LateRule}, Subjects: []assay.Digest{digest("other")}}, inventory.FindingOpen},
		"one of two environments":  {assay.ExceptionScope{Rules: []string{inventory.LateRule}, Environments: []string{"staging"}}, inventory.FindingOpen},
		"both environments":        {assay.ExceptionScope{Rules: []string{inventory.LateRule}, Environments: []string{"staging", "prod"}}, inventory.FindingExcused},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			lodash(w)
			w.push(false, "staging", inventory.Sighting{Service: "cart", Digest: digest("shop")})
			id := grant(w, c.scope)
			d := w.search(func(*inventory.Search) {})
			if got := standing(w); got != c.want || d.Open[0].Standing() != c.want {
				t.Fatalf("%s with %+v", got, d.Open)
			}
			if c.want == inventory.FindingOpen {
				return
			}
			if n := len(d.Open[0].Excused); n != 2 || d.Open[0].Excused[0].Exception != id {
				t.Errorf("%+v", d.Open[0].Excused)
			}
			w.now = w.now.Add(30 * time.Minute)
			if _, err := exception.Revoke(t.Context(), w.store, ns, id, "bob", "it is reachable after all", w.now); err != nil {
				t.Fatal(err)
			}
			if got := standing(w); got != inventory.FindingOpen {
				t.Errorf("after its revocation it is %s", got)
			}
		})
	}
}

func TestAFolderOfVEXSaysWhichFilesAreNone(t *testing.T) {
	docs, problems, err := inventory.VEXFiles(t.Context(), fstest.MapFS{
		"a.json": {Data: []byte(openVEX("fixed", "", start))}, "sub/b.json": {Data: []byte(csaf(start))}, "broken.json": {Data: []byte(`{"@context":`)},
		"sbom.json": {Data: []byte(cyclonedx("pkg:npm/x@1.0.0"))}, "README": {Data: []byte("hello")},
	})
	if err != nil || len(docs) != 2 || len(problems) != 2 || !strings.Contains(strings.Join(problems, "\n"), "broken.json") || !strings.Contains(strings.Join(problems, "\n"), "sbom.json") {
		t.Errorf("%d documents, problems %q, %v", len(docs), problems, err)
	}
	many := fstest.MapFS{}
	for i := range inventory.MaxVEXFiles + 1 {
		many["d"+strings.Repeat("x", i%7)+time.Duration(i).String()+".json"] = &fstest.MapFile{Data: []byte("{}")}
	}
	if _, _, err := inventory.VEXFiles(t.Context(), many); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too many: %v", err)
	}
}
