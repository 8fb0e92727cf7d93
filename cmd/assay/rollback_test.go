package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
	"assay.dev/assay/report"
)

const appRollout = `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: app}
spec:
  service: app
  baseline: 1s
  indicators:
    - {name: errors, bad: errors_total, total: requests_total}
`

// released is a control plane before a proxy whose service app has v2, which replaced v1
// and whose rollout has ended. Both are attested; v3 is not.
func released(t *testing.T) (w *world, env []string, p proxying) {
	t.Helper()
	backend := func(says string) string {
		b := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, says) }))
		t.Cleanup(b.Close)
		return b.URL
	}
	w = newWorld(t)
	w.write("policies/app-rollout.yaml", appRollout)
	data, err := os.ReadFile(w.routes(backend("the old app"), true))
	if err != nil {
		t.Fatal(err)
	}
	c, err := enforce.ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	route := &c.Routes[0]
	next := route.Versions[0]
	next.Name, next.Backend, next.Weight = "v2", backend("the new app"), 0
	strange := next
	strange.Name, strange.Attestations = "v3", nil
	route.Versions = append(route.Versions, next, strange)
	if data, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	w.write("routes.json", string(data))
	w.env = append(w.env, proxyToken)
	p = w.proxy()
	env = []string{w.token("olga", "operator")}
	env = append(env, "ASSAY_SERVER="+w.serve("--proxy", p.control).url)
	id := w.started(env, "start", "--canary", "v2", "--digest", string(next.Digest))
	w.until(env, id, api.RolloutRunning)
	w.must(0, env, "rollout", "promote", id, "--reason", "checked by hand")
	w.until(env, id, api.RolloutPromoted)
	return w, env, p
}

// started is the id of what an order began.
func (w *world) started(env []string, args ...string) string {
	w.t.Helper()
	out, _ := w.must(0, env, append([]string{"rollout"}, append(args, "-o", "json")...)...)
	var r api.Rollout
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

// until waits for a rollout's status.
func (w *world) until(env []string, id string, want api.RolloutStatus) (r api.Rollout) {
	w.t.Helper()
	for range 300 {
		out, _ := w.must(0, env, "rollout", "explain", id, "-o", "json")
		r = api.Rollout{}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			w.t.Fatal(err)
		}
		if r.Status == want {
			return r
		}
	}
	w.t.Fatalf("the rollout is %s: %s", r.Status, r.Reason)
	return r
}

func TestAPersonGoesBackFromAVersionWhoseRolloutHasEnded(t *testing.T) {
	w, env, p := released(t)
	if _, body := get(t, p.data+"/"); body != "the new app" {
		t.Fatalf("after the rollout the proxy answers %q", body)
	}
	_, words := w.must(1, env, "rollout", "rollback", "app", "--to", "v3", "--reason", "just in case")
	if !strings.Contains(words, `"v3" never had all the traffic of app`) {
		t.Errorf("to a version that never had it: %s", words)
	}
	said, _ := w.must(0, env, "rollout", "rollback", "app", "--reason", "payments fail", "--watch")
	if !strings.Contains(said, "✓ promoted  v1") {
		t.Errorf("the rollback ends with %s", said)
	}
	if _, body := get(t, p.data+"/"); body != "the old app" {
		t.Errorf("after the rollback the proxy answers %q", body)
	}
	_, words = w.must(1, env, "rollout", "rollback", "app", "--reason", "once more")
	if !strings.Contains(words, "app has nothing to go back to: v2: rollback ") {
		t.Errorf("from the version that was gone back to: %s", words)
	}
	id := w.started(env, "rollback", "app", "--to", "v2", "--reason", "it was not v2")
	if r := w.until(env, id, api.RolloutPromoted); r.Back == nil || r.Actor != "olga" {
		t.Errorf("a person who names it: %+v by %s", r.Back, r.Actor)
	}
	if _, body := get(t, p.data+"/"); body != "the new app" {
		t.Errorf("in the end the proxy answers %q", body)
	}
	said, _ = w.must(0, env, "report", "operations", "-o", "json")
	var told report.Operations
	if err := json.Unmarshal([]byte(said), &told); err != nil {
		t.Fatal(err)
	}
	if r := told.Total.Rollouts; r.Versions != 2 || r.TakenBack != 2 || r.ByPerson != 2 || r.Revert.Standing != report.NothingHappened {
		t.Errorf("v2 and what it was taken back to were taken back by a person: %+v", r)
	}
	if said, _ = w.must(0, env, "report", "operations"); !strings.Contains(said, "100 % of versions") || !strings.Contains(said, "– time to revert  nothing was taken back by itself") {
		t.Errorf("in words: %s", said)
	}
}

func TestWhileARolloutRunsItIsTakenBackByAnAbort(t *testing.T) {
	w, env, _ := released(t)
	list, _ := w.must(0, env, "rollout", "list", "-o", "json")
	var all []api.Rollout
	if err := json.Unmarshal([]byte(list), &all); err != nil || len(all) != 1 {
		t.Fatal(list, err)
	}
	w.must(0, env, "rollout", "rollback", all[0].ID, "--reason", "payments fail", "--watch")
	id := w.started(env, "start", "--canary", "v2", "--digest", string(all[0].Digest))
	_, words := w.must(1, env, "rollout", "rollback", "app", "--reason", "payments fail")
	if !strings.Contains(words, "take the traffic from v2 with: assay rollout abort "+id) {
		t.Errorf("while one is under way: %s", words)
	}
}
