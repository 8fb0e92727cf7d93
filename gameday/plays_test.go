package gameday

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/policy/dir"
	"assay.dev/assay/policy/rego"
)

// policyFolder is the demonstration's policies with more files.
func policyFolder(t *testing.T, more map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, must(fs.Sub(policyFiles, "policies"))); err != nil {
		t.Fatal(err)
	}
	for name, text := range more {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestWhatPlaysDeclareBesideThePoliciesIsSound(t *testing.T) {
	list, err := fs.Glob(doorFiles, "doors/*.yaml")
	if err != nil || len(list) < 4 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, name := range list {
		text, err := doorFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rev, err := dir.Load(t.Context(), policyFolder(t, map[string]string{"door-" + filepath.Base(name): string(text)}))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, p := range rego.Lint(rev) {
			t.Errorf("%s: %s:%d: %s", name, p.File, p.Line, p.Msg)
		}
	}
}

func TestTheFreezeIsAPolicyAndTheMistakeIsNone(t *testing.T) {
	shop, err := policyFiles.ReadFile("policies/shop.rego")
	if err != nil {
		t.Fatal(err)
	}
	compile := func(text string) error {
		rev, err := dir.Load(t.Context(), policyFolder(t, map[string]string{"shop.rego": text}))
		if err != nil {
			return err
		}
		_, err = rego.Compile(t.Context(), rev)
		return err
	}
	if err := compile(string(shop) + frozen); err != nil {
		t.Errorf("the freeze does not compile: %v", err)
	}
	if err := compile(mistaken); err == nil {
		t.Error("the mistake compiles")
	}
	if len(bypassReason) != len(alteredReason) {
		t.Errorf("reasons have %d and %d bytes; one is to replace the other in a file", len(bypassReason), len(alteredReason))
	}
}

func TestThePaymentFunctionPassesItsTestsAndItsGateWantsNoMore(t *testing.T) {
	folder := t.TempDir()
	list, err := paymentFiles.ReadDir("payment")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		text, err := paymentFiles.ReadFile("payment/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, strings.TrimSuffix(f.Name(), ".txt")), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("gofmt", "-l", folder).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt: %v %s", err, out)
	}
	cmd := exec.Command("go", "test", "-json", "-trimpath", lean, "./...") // vets as well
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ev, err := evidence.Read(bytes.NewReader(out), "tests.json", evidence.Options{Origin: assay.OriginLive, Collected: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if ev.Tests.Passed < 3 || ev.Tests.Failed > 0 {
		t.Errorf("%d passed and %d failed; the gate wants at least 3 and none", ev.Tests.Passed, ev.Tests.Failed)
	}
}

func TestARefusalIsReadFromItsProblem(t *testing.T) {
	for body, want := range map[string]string{
		`{"title":"Forbidden","status":403,"refusal":{"step":4,"name":"verifier","detail":"is revoked"}}`: "step 4 (verifier): is revoked",
		`{"title":"Conflict","status":409}`: "",
		`not JSON`:                          "",
	} {
		if got := refusalOf([]byte(body)); got != want {
			t.Errorf("%s: %q; expected %q", body, got, want)
		}
	}
}

func TestOnlyPlaysOfOneStageShareAWorld(t *testing.T) {
	late, memory, bad := must(ScenarioNamed("late-fault")), must(ScenarioNamed("memory-limit")), must(ScenarioNamed("bad-release"))
	if !late.Shares(memory) || late.Shares(bad) || bad.Shares(bad) {
		t.Error("plays that prepare a world of their own share one, or plays of one stage do not")
	}
	w := testWorld(t)
	if _, err := w.Play(late, bad); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("two stages at once: %v", err)
	}
}

func TestPlaysWithALoadAreNotPatient(t *testing.T) {
	patient := 0
	for _, s := range Scenarios() {
		if s.Patient() {
			patient++
		}
		if s.Patient() && (s.stage == shopStage || s.stage == nightStage) {
			t.Errorf("%s is played beside others, which take what its load needs", s.Name)
		}
	}
	if patient == 0 {
		t.Error("no play may be played beside another")
	}
}

func TestACutWireCarriesNothingUntilItIsMended(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "heard") }))
	defer srv.Close()
	w := testWorld(t)
	w.url = srv.URL
	if err := w.layWire(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	heard := func() bool {
		res, err := client.Get(w.telemetryURL())
		if err != nil {
			return false
		}
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		return err == nil && string(data) == "heard"
	}
	if !heard() {
		t.Fatal("the wire carries nothing")
	}
	w.wire.sever(true) // the connection that is kept open as well
	if heard() {
		t.Error("the cut wire carries")
	}
	w.wire.sever(false)
	if !heard() {
		t.Error("the mended wire carries nothing")
	}
}

func TestWhatAVersionCostIsBeyondTheOtherOnesRate(t *testing.T) {
	for _, c := range []struct {
		exposed, harmed uint64
		control         assay.Rate
		want            float64
	}{
		{1000, 40, assay.Rate{Bad: 100, Total: 10_000}, 30},
		{1000, 5, assay.Rate{Bad: 100, Total: 10_000}, 0},
		{10, 4, assay.Rate{}, 4},
	} {
		if got := beyond(c.exposed, c.harmed, c.control); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
