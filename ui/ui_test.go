package ui_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
)

// maxPage is the promise of docs: no page is heavier, in bytes.
const maxPage = 150 << 10

// absentFact is an id that no fact has.
const absentFact = "01a2008e-5b62-7848-a6a5-7407f9ad0a5a"

func (w *town) get(path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do(httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://localhost"+path, nil), change...)
}

func (w *town) post(path string, form url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://localhost"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return w.do(r, change...)
}

func (w *town) do(r *http.Request, change ...func(*http.Request)) *httptest.ResponseRecorder {
	for _, f := range change {
		f(r)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec
}

// as signs a request in.
func (w *town) as(name string, roles ...api.Role) func(*http.Request) {
	return w.session(w.Token(name, namespace, roles...))
}

// session signs a request in as a browser that showed a token.
func (w *town) session(token string) func(*http.Request) {
	w.t.Helper()
	cookies := w.post("/login", url.Values{"token": {token}}).Result().Cookies()
	if len(cookies) != 1 {
		w.t.Fatalf("signing in gave %d cookies", len(cookies))
	}
	return func(r *http.Request) { r.AddCookie(cookies[0]) }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// says checks the status of an answer and what its text holds.
func says(t *testing.T, rec *httptest.ResponseRecorder, status int, want ...string) {
	t.Helper()
	if rec.Code != status {
		t.Errorf("status %d, want %d", rec.Code, status)
	}
	body := rec.Body.String()
	for _, s := range want {
		if !strings.Contains(body, s) {
			t.Errorf("the page does not say %q", s)
		}
	}
	if t.Failed() {
		t.Logf("the page:\n%s", body)
	}
}

// Pages of a busy day are looked at in one town: building it takes a while. The
// last six change it.
func TestABusyDay(t *testing.T) {
	w := busy(t)
	for _, look := range []struct {
		name string
		do   func(*testing.T, *town)
	}{
		{"EveryPageOfABusyDayRenders", everyPageOfABusyDayRenders},
		{"TheOverviewAnswersFirstWhatWaits", theOverviewAnswersFirstWhatWaits},
		{"ARolloutShowsVerdictReasonEvidenceAction", aRolloutShowsVerdictReasonEvidenceAction},
		{"ADecisionIsReplayedByteForByte", aDecisionIsReplayedByteForByte},
		{"GatesTellWhatIsWrongAndHowToFixIt", gatesTellWhatIsWrongAndHowToFixIt},
		{"TheLedgerPageVerifiesAnEntryStepByStep", theLedgerPageVerifiesAnEntryStepByStep},
		{"CoverageNamesWhatIsNotAttestedWithTheCommand", coverageNamesWhatIsNotAttestedWithTheCommand},
		{"KeysTellTheirStateAndWhoMayNotBeBelieved", keysTellTheirStateAndWhoMayNotBeBelieved},
		{"AnArtifactTellsWhereItRunsAndWhoSigned", anArtifactTellsWhereItRunsAndWhoSigned},
		{"ABypassIsLoud", aBypassIsLoud},
		{"TheLedgerPageShowsWitnessesAndTheLastAudit", theLedgerPageShowsWitnessesAndTheLastAudit},
		{"AFactLeadsToItsCausesAndEffects", aFactLeadsToItsCausesAndEffects},
		{"HostileNamesAreShownAndNotObeyed", hostileNamesAreShownAndNotObeyed},
		{"SearchFindsByPrefixAndName", searchFindsByPrefixAndName},
		{"AStrategyShowsItsBandItsTurnsAndWhatItDid", aStrategyShowsItsBandItsTurnsAndWhatItDid},
		{"AMitigationsDecisionLeadsToItsStrategy", aMitigationsDecisionLeadsToItsStrategy},
		{"AForecastShowsItsBandsAndHowGoodTheyWere", aForecastShowsItsBandsAndHowGoodTheyWere},
		{"AServiceShowsItsIndicatorsInTheirBand", aServiceShowsItsIndicatorsInTheirBand},
		{"AServiceListsItsAnomaliesWithTheirReason", aServiceListsItsAnomaliesWithTheirReason},
		{"AServiceShowsHowItsRegionsCompare", aServiceShowsHowItsRegionsCompare},
		{"APersonAnswersAStrategy", aPersonAnswersAStrategy},
		{"APersonRollsAModelBack", aPersonRollsAModelBack},
		{"APersonSettlesAnException", aPersonSettlesAnException},
		{"APersonAbortsARollout", aPersonAbortsARollout},
		{"APersonGoesBackFromAPromotedVersion", aPersonGoesBackFromAPromotedVersion},
		{"AnApprovalByARevokedKeyIsNotVerified", anApprovalByARevokedKeyIsNotVerified},
	} {
		t.Run(look.name, func(t *testing.T) {
			defer func(outer testing.TB) { w.t = outer }(w.t)
			w.t = t
			look.do(t, w)
		})
	}
}

func everyPageOfABusyDayRenders(t *testing.T, w *town) {
	for name, path := range w.addresses() {
		t.Run(name, func(t *testing.T) {
			rec := w.get(path)
			says(t, rec, http.StatusOK, "<main", "</html>")
			body := rec.Body.String()
			if len(body) > maxPage {
				t.Errorf("weighs %d bytes; the limit is %d", len(body), maxPage)
			}
			if csp := rec.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; style-src 'self';") {
				t.Errorf("policy %q", csp)
			}
			for _, bad := range []string{"<script>", "style=", " onclick", "%!", "ZgotmplZ", "NaN", "+Inf"} {
				if strings.Contains(body, bad) {
					t.Errorf("holds %q: %s", bad, around(body, bad))
				}
			}
		})
	}
}

func around(s, part string) string {
	at := strings.Index(s, part)
	return s[max(0, at-80):min(len(s), at+80)]
}

func TestEveryPageOfAnEmptyInstallationTeaches(t *testing.T) {
	w := empty(t, viewer)
	for path, want := range map[string]string{
		"/": "assay rollout start", "/services": "OpenSLO", "/services/shop": "no objective", "/rollouts": "assay rollout start",
		"/decisions": "assay rollout start", "/gates": "assay attest", "/artifacts": "assay attest", "/log": "assay ledger verify",
		"/exceptions": "assay exception request", "/coverage": "assay inventory push", "/keys": "assay key rotate", "/search": "Type a service", "/search?q=nothing": "Nothing begins with", "/login": "assay token create",
	} {
		t.Run(path, func(t *testing.T) {
			if path == "/log" {
				// The head may not be signed yet: then the page says so and teaches how to get entries.
				want = "assay attest"
			}
			says(t, w.get(path), http.StatusOK, want)
		})
	}
}

func theOverviewAnswersFirstWhatWaits(t *testing.T, w *town) {
	says(t, w.get("/"), http.StatusOK, "Waits for you", "3 things need a person", "shop v3", "catalog c2", "availability", "refused", "aborted", "helped", "signature holds")
}

func aRolloutShowsVerdictReasonEvidenceAction(t *testing.T, w *town) {
	says(t, w.get("/rollouts/"+w.aborted.ID), http.StatusOK, "stopped", "harm e", "stop: harm ", "go on: safety 20 to 1", "10 %",
		"95 % intervals", "latency", "helped", "wrongly aborted, at most")
	running := w.get("/rollouts/" + w.running.ID)
	says(t, running, http.StatusOK, "/pay", "who asked", "set, and counted among the requests", "most likely", "more canary requests until it is shown safe", "with 80 %", "Latencies of latency")
	says(t, running, http.StatusOK, "running", "needs the role operator or approver", "Sign in")
	if strings.Contains(running.Body.String(), `action="/rollouts/`) {
		t.Error("who may not act is offered a button")
	}
	says(t, w.get("/rollouts/"+w.running.ID, w.as("olga", api.RoleOperator)), http.StatusOK, `action="/rollouts/`+w.running.ID+`/abort"`, `name="reason" required`)
	says(t, w.get("/rollouts/"+w.asking.ID), http.StatusOK, "waits for you", "Ask: the horizon")
}

func aDecisionIsReplayedByteForByte(t *testing.T, w *town) {
	path := "/decisions/" + string(w.aborted.DecidedFact)
	says(t, w.get(path), http.StatusOK, "Abort: v2 is worse than v1", "assay decisions replay", "before and after", "Expected extra failures")
	says(t, w.get(path+"?replay=1"), http.StatusOK, "identical", "bytes came out", "abort")
}

func gatesTellWhatIsWrongAndHowToFixIt(t *testing.T, w *town) {
	says(t, w.get("/gates"), http.StatusOK, "shop-v4", "ship/no-critical", "excused", "absent", "vulnerabilities", "Passed under 1 exception", "could not know")
	says(t, w.get("/artifacts/"+string(artifact("shop", "v4"))), http.StatusOK, "shop-v4", "assay attestation verify", "satisfied", "/proof")
	says(t, w.get("/artifacts/"+string(artifact("shop", "v9"))), http.StatusNotFound, "Nothing is known", "assay attest")
}

func theLedgerPageVerifiesAnEntryStepByStep(t *testing.T, w *town) {
	for _, kind := range []string{assay.FactAttested, assay.FactVerdict, assay.FactRolloutEnded, assay.FactExceptionRequested, assay.FactExceptionApproved} {
		id := string(w.newest(kind))
		if _, err := w.As("x", namespace, api.RoleViewer).Proof(t.Context(), assay.FactID(id)); err != nil {
			t.Fatal(err) // waits until it is published
		}
		rec := w.post("/log/verification", url.Values{"fact": {id}})
		says(t, rec, http.StatusOK, "The ledger holds this fact: ", "leaf commits to the fact", "inclusion in the tree", "signature of the head", "From the leaf to the root", "assay ledger prove "+id)
		if strings.Contains(rec.Body.String(), "not reached") {
			t.Errorf("%s: a step was not reached", kind)
		}
		if signed := strings.Contains(rec.Body.String(), "and a statement of it signed by SHA256:"); signed != (kind == assay.FactExceptionApproved) {
			t.Errorf("%s: a signed statement was looked at: %v", kind, signed)
		}
		proof := w.get("/facts/" + id + "/proof")
		if proof.Code != http.StatusOK || !strings.Contains(proof.Header().Get("Content-Disposition"), "attachment") || proof.Body.Len() < 200 {
			t.Errorf("proof of %s: %d, %d bytes", kind, proof.Code, proof.Body.Len())
		}
	}
	says(t, w.get("/log"), http.StatusOK, "signature holds", "entries, none ever changed", "Verify")
	says(t, w.post("/log/verification", url.Values{"fact": {absentFact}}), http.StatusNotFound, "Next:")
}

func coverageNamesWhatIsNotAttestedWithTheCommand(t *testing.T, w *town) {
	rec := w.get("/coverage")
	says(t, rec, http.StatusOK, "5 of 9 attested", "3 of 7", "2 of 2", "unregistered", "unresolved", "refused", "unverified",
		"registry.example/mail:latest", "4 artifacts run without an attestation", "assay attest --digest "+string(artifact("legacy", "v0")),
		"assay inventory push running.json --environment prod", "assay inventory scan")
	says(t, w.get("/"), http.StatusOK, "3 of 7", "See what is not attested")
}

func keysTellTheirStateAndWhoMayNotBeBelieved(t *testing.T, w *town) {
	says(t, w.get("/keys"), http.StatusOK, "key-3", "signs", "overlapping", "revoked", "Compromised since", "the laptop that held it was stolen",
		"1 key is revoked", "of these not believed", "assay key revoke key-1 --compromised-since", "BEGIN PUBLIC KEY")
	rec := w.get("/keys/trust")
	says(t, rec, http.StatusOK, "the laptop that held it was stolen")
	if got := rec.Header().Get("Content-Disposition"); got != `attachment; filename="assay.trust.yaml"` {
		t.Errorf("sent as %q", got)
	}
}

func anArtifactTellsWhereItRunsAndWhoSigned(t *testing.T, w *town) {
	says(t, w.get("/artifacts/"+string(artifact("shop", "v4"))), http.StatusOK, "prod", "host-1", "key trusted", "key-2", "exception ", "/proof")
	says(t, w.get("/artifacts/"+string(artifact("shop", "v2"))), http.StatusOK, "not believed", "key revoked", "key-1", "unverified", "judge it again")
	says(t, w.get("/artifacts/"+string(artifact("legacy", "v0"))), http.StatusOK, "legacy", "unregistered", "No gate has judged it", "Nobody signed anything")
}

func aBypassIsLoud(t *testing.T, w *town) {
	says(t, w.get("/"), http.StatusOK, "Emergency bypass", "olga let absent/vulnerabilities through alone")
	says(t, w.get("/exceptions"), http.StatusOK, "Emergency bypass", "approved by nobody", "customers cannot pay", "1 of 2 approvals", "used</dt><dd>1 time")
}

func theLedgerPageShowsWitnessesAndTheLastAudit(t *testing.T, w *town) {
	says(t, w.get("/log"), http.StatusOK, "quorum met", `<b class="mono">a</b>`, `<b class="mono">b</b>`, "not known", "as an operator")
	none := empty(t, viewer)
	_, err := none.As("ada", namespace, api.RoleDeveloper).RequestException(t.Context(), api.ExceptionRequest{
		Scope: ruleScope("ship/no-critical"), Reason: "the fix is being tested", NotAfter: none.Now().Add(time.Hour),
	})
	must(t, err)
	says(t, none.get("/log"), http.StatusOK, "no witness", "assay serve --witnesses")
	olga := w.as("olga", api.RoleOperator)
	says(t, w.get("/log", olga), http.StatusOK, "No audit was recorded yet")
	w.audited(ledger.Report{Problems: []string{"leaf 7 is of no fact"}, Entries: 12})
	says(t, w.get("/log", olga), http.StatusOK, "audit failed", "leaf 7 is of no fact", "12 entries")
	w.audited(ledger.Report{OK: true, Entries: 13})
	says(t, w.get("/log", olga), http.StatusOK, "store and ledger agree")
	if strings.Contains(w.get("/log").Body.String(), "store and ledger agree") {
		t.Error("who is no operator sees the installation's own facts")
	}
}

// audited records what an audit found, as the installation's own job does.
func (w *town) audited(r ledger.Report) {
	w.t.Helper()
	data, err := json.Marshal(r)
	must(w.t, err)
	must(w.t, w.Store.Update(w.t.Context(), func(tx store.Tx) error {
		_, err := tx.Append(assay.Fact{
			Kind: assay.FactLedgerAudited, Version: 1, Namespace: store.SystemNamespace, Actor: "ledger.audit", Retention: assay.RetainOperational, Payload: data,
		})
		return err
	}))
}

func aFactLeadsToItsCausesAndEffects(t *testing.T, w *town) {
	says(t, w.get("/facts/"+string(w.aborted.DecidedFact)), http.StatusOK, "rollout started", "rollout acted", "the decision in words", "&#34;decision&#34;")
	says(t, w.get("/facts/"+absentFact), http.StatusNotFound, "Next:")
}

func hostileNamesAreShownAndNotObeyed(t *testing.T, w *town) {
	_, err := w.As("host-2", namespace, api.RoleAgent).Report(t.Context(), api.InventoryReport{Environment: "odd", Sightings: []api.Sighting{{Service: "odd", Image: "registry.example/" + hostile}}})
	must(t, err)
	w.pass(6*time.Second, "") // what was measured before is old then
	says(t, w.get("/coverage"), http.StatusOK, "registry.example/&lt;script&gt;")
	for _, path := range []string{"/exceptions", "/coverage", "/", "/search?q=" + url.QueryEscape(hostile), "/" + url.PathEscape(hostile), "/login?next=" + url.QueryEscape(hostile)} {
		body := w.get(path).Body.String()
		if strings.Contains(body, "<script>alert") {
			t.Errorf("%s obeys: %s", path, around(body, "<script>alert"))
		}
	}
	says(t, w.get("/exceptions"), http.StatusOK, "&lt;script&gt;alert(1)&lt;/script&gt;")
}

func searchFindsByPrefixAndName(t *testing.T, w *town) {
	for q, want := range map[string]string{
		"shop":                               "/services/shop",
		w.running.ID[:20]:                    "/rollouts/" + w.running.ID,
		string(w.aborted.DecidedFact):        "/decisions/" + string(w.aborted.DecidedFact),
		artifact("shop", "v4").Short():       "/artifacts/" + string(artifact("shop", "v4")),
		string(artifact("shop", "v4"))[:20]:  "/artifacts/" + string(artifact("shop", "v4")),
		strings.ToUpper("no-critical"):       "/exceptions#e-",
		string(w.newest(assay.FactVerdict)):  "/facts/",
		strings.ToUpper(w.running.ID[14:20]): "Nothing begins with",
	} {
		says(t, w.get("/search?q="+url.QueryEscape(q)), http.StatusOK, want)
	}
}

func aPersonSettlesAnException(t *testing.T, w *town) {
	list, err := w.As("x", namespace, api.RoleViewer).Exceptions(t.Context())
	must(t, err)
	e := list[slices.IndexFunc(list, func(e assay.Exception) bool { return e.State == assay.ExceptionRequested })]
	says(t, w.get("/exceptions", w.as("ada", api.RoleDeveloper, api.RoleApprover)), http.StatusOK, "It needs an approver other than ada", "Withdraw")
	says(t, w.get("/exceptions", w.as("bea", api.RoleApprover)), http.StatusOK, "/exceptions/"+e.ID+"/approval", "Deny")
	says(t, w.get("/exceptions", w.as("cyd", api.RoleApprover)), http.StatusOK, "You agreed. It needs 1 more approver")
	says(t, w.post("/exceptions/"+e.ID+"/approval", nil), http.StatusUnauthorized, "needs a token")
	says(t, w.post("/exceptions/"+e.ID+"/approval", nil, w.as("vic", api.RoleViewer)), http.StatusForbidden, "this needs approver")
	if rec := w.post("/exceptions/"+e.ID+"/approval", nil, w.as("bea", api.RoleApprover)); rec.Code != http.StatusSeeOther {
		t.Fatalf("approving: %d %s", rec.Code, rec.Body)
	}
	says(t, w.post("/exceptions/"+e.ID+"/revocation", url.Values{"reason": {"short"}}, w.as("bea", api.RoleApprover)), http.StatusBadRequest, "Reason")
	if rec := w.post("/exceptions/"+e.ID+"/revocation", url.Values{"reason": {"it is no longer needed"}}, w.as("bea", api.RoleApprover)); rec.Code != http.StatusSeeOther {
		t.Fatalf("revoking: %d %s", rec.Code, rec.Body)
	}
	form := url.Values{"rules": {"ship/no-critical"}, "hours": {"2"}, "reason": {"a fix is being tested now"}}
	if rec := w.post("/exceptions", form, w.as("dev", api.RoleDeveloper)); rec.Code != http.StatusSeeOther {
		t.Fatalf("asking: %d %s", rec.Code, rec.Body)
	}
	says(t, w.get("/exceptions"), http.StatusOK, "every artifact and package, everywhere")
	form.Set("packages", "golang.org/x/exp")
	form.Set("advisories", "CVE-2026-7, CVE-2026-8")
	dev := w.as("dev", api.RoleDeveloper)
	rec := w.post("/exceptions", form, dev)
	_, narrow, _ := strings.Cut(rec.Header().Get("Location"), "#e-")
	page := w.get("/exceptions").Body.String()
	says(t, w.get("/exceptions"), http.StatusOK, `<dt>only packages</dt><dd>golang.org/x/exp</dd>`, `<dt>only advisories</dt><dd>CVE-2026-7, CVE-2026-8</dd>`)
	if _, card, _ := strings.Cut(page, `id="e-`+narrow+`"`); narrow == "" || strings.Contains(card[:strings.Index(card, "</article>")], "everywhere") {
		t.Errorf("of what covers one package the page says that it covers everything: %s", page)
	}
	if rec := w.post("/exceptions/"+narrow+"/revocation", url.Values{"reason": {"asked for by mistake"}}, dev); rec.Code != http.StatusSeeOther {
		t.Fatalf("withdrawing: %d %s", rec.Code, rec.Body)
	}
	says(t, w.get("/exceptions"), http.StatusOK, "withdrawn")
	later, err := w.As("dev", namespace, api.RoleDeveloper).RequestException(t.Context(), api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{"ship/no-critical"}}, Reason: "the window of maintenance", NotBefore: w.Now().Add(48 * time.Hour), NotAfter: w.Now().Add(72 * time.Hour),
	})
	must(t, err)
	for _, one := range []string{"bea", "cyd", "eve"}[:max(later.Needs, 1)] {
		_, err = w.As(one, namespace, api.RoleApprover).ApproveException(t.Context(), later.ID)
		must(t, err)
	}
	says(t, w.get("/exceptions"), http.StatusOK, "Agreed, not yet in force", "begins <time")
	form.Set("hours", "never")
	says(t, w.post("/exceptions", form, w.as("dev", api.RoleDeveloper)), http.StatusBadRequest, "Hours")
}

func aPersonAbortsARollout(t *testing.T, w *town) {
	path := "/rollouts/" + w.running.ID + "/abort"
	says(t, w.post(path, url.Values{"reason": {"customers call"}}, w.as("dev", api.RoleDeveloper)), http.StatusForbidden, "operator or approver")
	says(t, w.post(path, url.Values{"reason": {""}}, w.as("olga", api.RoleOperator)), http.StatusBadRequest, "Reason")
	if rec := w.post(path, url.Values{"reason": {"customers call"}}, w.as("olga", api.RoleOperator)); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/rollouts/"+w.running.ID {
		t.Fatalf("%d to %q", rec.Code, rec.Header().Get("Location"))
	}
	w.pass(time.Second, w.running.ID)
	says(t, w.get("/rollouts/"+w.running.ID), http.StatusOK, "stopped", "customers call")
}

func aPersonGoesBackFromAPromotedVersion(t *testing.T, w *town) {
	olga, path := w.as("olga", api.RoleOperator), "/rollouts/"+w.watching.ID
	why := url.Values{"reason": {"customers call"}}
	says(t, w.get("/rollouts/"+w.promoted.ID), http.StatusOK, "To go back from a2 needs the role operator or approver", "assay rollout rollback "+w.promoted.ID)
	says(t, w.post(path+"/rollback", why, olga), http.StatusConflict, "has not ended: it is watching", "assay rollout abort "+w.watching.ID)
	if rec := w.post(path+"/promotion", why, olga); rec.Code != http.StatusSeeOther {
		t.Fatalf("ending the watch: %d %s", rec.Code, rec.Body)
	}
	w.pass(time.Second, w.watching.ID)
	says(t, w.get(path, olga), http.StatusOK, `action="`+path+`/rollback"`, "Go back: no traffic to a3 any more")
	says(t, w.post(path+"/rollback", why, w.as("dev", api.RoleDeveloper)), http.StatusForbidden, "operator or approver")
	rec := w.post(path+"/rollback", why, olga)
	to := rec.Header().Get("Location")
	if rec.Code != http.StatusSeeOther || to == path {
		t.Fatalf("%d to %q: %s", rec.Code, to, rec.Body)
	}
	w.pass(time.Second, strings.TrimPrefix(to, "/rollouts/"))
	says(t, w.get(to, olga), http.StatusOK, "a rollback from a3, which had all the traffic", "checkout a2", "promoted, watched")
}

func anApprovalByARevokedKeyIsNotVerified(t *testing.T, w *town) {
	approved, err := w.As("x", namespace, api.RoleViewer).Facts(t.Context(), []string{assay.FactExceptionApproved}, "", 10)
	must(t, err)
	form := url.Values{"fact": {string(approved[len(approved)-1].ID)}} // by key-2
	says(t, w.post("/log/verification", form), http.StatusOK, "The ledger holds this fact: ", "signed by SHA256:")
	for _, key := range []string{"key-2", "key-3"} {
		_, err := w.As("root", namespace, api.RoleAdmin).RevokeKey(t.Context(), api.KeyRevocationRequest{
			Key: key, CompromisedSince: w.world.Now().Add(-time.Hour), Reason: "the backup was public",
		})
		must(t, err)
		says(t, w.post("/log/verification", form), http.StatusOK, "not verified")
	}
	says(t, w.get("/keys"), http.StatusOK, "3 keys are revoked", "nothing signs", "nothing can be attested")
}

// A live page is rendered twice a second for each browser: what a look costs is
// what Assay costs while somebody watches.
func BenchmarkLook(b *testing.B) {
	w := busy(b)
	for name, path := range map[string]string{"overview": "/", "rollout": "/rollouts/" + w.running.ID, "service": "/services/shop", "gates": "/gates", "log": "/log", "coverage": "/coverage", "keys": "/keys"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = w.get(path).Body.Len()
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
