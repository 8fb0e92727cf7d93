package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/budget"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/policy"
	"assay.dev/assay/server"
	"assay.dev/assay/signal/replay"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// completed are the words that a shell is offered for the last argument, and what the person
// would see beside them.
func completed(t *testing.T, env map[string]string, args ...string) (words []string, seen string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), append([]string{cobra.ShellCompNoDescRequestCmd}, args...), func(k string) string { return env[k] }, strings.NewReader(""), &out, &errs)
	if code != 0 {
		t.Errorf("%q ends with %d: %s", args, code, &errs)
	}
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, ":") {
			words = append(words, line)
		}
	}
	for line := range strings.Lines(errs.String()) {
		if !strings.HasPrefix(line, "Completion ended with directive") {
			seen += line
		}
	}
	return words, seen
}

func TestShellsAreOfferedTheWordsThatFlagsTake(t *testing.T) {
	root := newApp(func(string) string { return "" }, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}).root()
	find := func(path string) *cobra.Command {
		cmd, rest, err := root.Find(strings.Fields(path)[min(1, len(strings.Fields(path))):])
		if err != nil || len(rest) > 0 {
			t.Fatalf("there is no command %q", path)
		}
		return cmd
	}
	for path, flags := range enumerated() {
		for flag, list := range flags {
			cmd := find(path)
			f, known := cmd.GetFlagCompletionFunc(flag)
			if !known {
				t.Errorf("%s has no flag --%s", path, flag)
				continue
			}
			if got, _ := f(cmd, nil, ""); len(got) != len(list) || len(got) < 2 {
				t.Errorf("%s --%s is offered %q", path, flag, got)
			}
		}
	}
	for place := range offered {
		path, flag, of := strings.Cut(place, " --")
		if _, known := find(path).GetFlagCompletionFunc(flag); of && !known || !of && find(path).ValidArgsFunction == nil {
			t.Errorf("nothing is offered for %s", place)
		}
	}
	for place := range ofPolicy {
		path, flag, _ := strings.Cut(place, " --")
		if _, known := find(path).GetFlagCompletionFunc(flag); !known {
			t.Errorf("nothing is offered for %s", place)
		}
	}
	for _, args := range [][]string{{"rollout", "list", "-o", ""}, {"verify", "--output", ""}} {
		if got, _ := completed(t, nil, args...); strings.Join(got, " ") != "table json yaml" {
			t.Errorf("%q: %q", args, got)
		}
	}
}

func TestShellsAreOfferedWhatThePolicyDirectoryDeclares(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ship.yaml", `apiVersion: assay.dev/v1alpha1
kind: Gate
metadata: {name: ship}
spec:
  resourceUri: pkg:generic/app
  environments: [prod, staging]
  requires: [{name: tests, kind: test-results}]
  policies: [calm]
---
apiVersion: assay.dev/v1alpha1
kind: Policy
metadata: {name: calm}
spec: {package: calm}
`)
	write("calm.rego", "package calm\n\ndeny contains {\"rule\": \"no-friday\", \"msg\": \"it is Friday\"} if input.subject.name == \"friday\"\n")
	env := map[string]string{"ASSAY_POLICY": dir}
	for what, want := range map[string]string{
		"verify --gate": "ship", "attest --environment": "prod staging", "verify --environment s": "staging", "admit check --door": "",
		"exception bypass --rule calm": "calm/no-friday", "exception request --environment": "prod staging",
	} {
		args := strings.Fields(what)
		if strings.HasPrefix(args[len(args)-1], "--") {
			args = append(args, "")
		}
		got, seen := completed(t, env, args...)
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], "\t")
		}
		if strings.Join(got, " ") != want || seen != "" {
			t.Errorf("%s: offered %q, want %q; said %q", what, got, want, seen)
		}
	}
	if got, _ := completed(t, env, "exception", "request", "--rule", ""); len(got) < 4 || !slices.Contains(got, "absent/tests") {
		t.Errorf("rules: offered %q", got)
	}
	write("wrong.yaml", "kind: Gate")
	for _, folder := range []string{"nowhere", "."} {
		if got, seen := completed(t, map[string]string{"ASSAY_POLICY": filepath.Join(dir, folder)}, "verify", "--gate", "x"); len(got) > 0 || seen != "" {
			t.Errorf("without a policy %q is offered, %q said", got, seen)
		}
	}
}

const promised = `apiVersion: openslo/v1
kind: SLO
metadata: {name: %[1]s}
spec:
  service: %[2]s
  indicator:
    metadata: {name: %[1]s}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: sum(failed_total)}}}
        total: {metricSource: {type: Prometheus, spec: {query: sum(asked_total)}}}
  timeWindow: [{duration: 1h, isRolling: true}]
  objectives: [{target: 0.9}]
`

func TestShellsAreOfferedTheIdsThatTheServerKnows(t *testing.T) {
	in := controltest.New(t)
	tape, err := replay.New("default", nil)
	if err != nil {
		t.Fatal(err)
	}
	books := budget.New(budget.Config{Source: tape, Namespace: "default"})
	var files []policy.File
	for _, names := range [][]string{{"paid", "billing"}, {"shipped", "shop"}} {
		files = append(files, policy.File{Path: names[0] + ".yaml", Content: fmt.Appendf(nil, promised, names[0], names[1])})
	}
	objectives, _, err := control.ReadObjectives(files)
	if err != nil {
		t.Fatal(err)
	}
	if err := books.SetObjectives(objectives); err != nil {
		t.Fatal(err)
	}
	in.Config.Books = books
	in.Plane = control.New(in.Config)
	srv := httptest.NewServer(server.New(server.Config{Plane: in.Plane, Ledger: http.NotFoundHandler(), Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(srv.Close)
	e, err := in.As("alice", "default", api.RoleDeveloper).RequestException(t.Context(), api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, Reason: "long enough a reason", NotAfter: in.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"ASSAY_SERVER": srv.URL, "ASSAY_TOKEN": in.Token("bob", "default", api.RoleApprover)}
	if got, seen := completed(t, env, "exception", "approve", ""); len(got) != 1 || got[0] != e.ID || seen != "" {
		t.Errorf("offered %q, said %q", got, seen)
	}
	for what, want := range map[string]string{
		"slo status": "paid shipped", "slo explain sh": "shipped", "anomaly show": "billing shop",
		"divergence list --service": "billing shop", "halt set --service s": "shop", "halt lift --service": "",
	} {
		args := strings.Fields(what)
		if last := args[len(args)-1]; len(last) > 2 {
			args = append(args, "")
		}
		if got, _ := completed(t, env, args...); strings.Join(got, " ") != want {
			t.Errorf("%s: offered %q, want %q", what, got, want)
		}
	}
	if got, _ := completed(t, env, "exception", "approve", e.ID, ""); len(got) > 0 {
		t.Errorf("a second argument is offered %q", got)
	}
	if got, _ := completed(t, nil, "exception", "approve", "--server", srv.URL, "ff"); len(got) > 0 {
		t.Errorf("without a token %q is offered", got)
	}

	// Whoever types is neither told of what is wrong nor made to wait for it.
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deaf.Close() })
	for what, url := range map[string]string{"nobody": "http://127.0.0.1:1", "somebody who does not answer": "http://" + deaf.Addr().String(), "no address": "::", "none": ""} {
		env["ASSAY_SERVER"] = url
		began := time.Now()
		if got, seen := completed(t, env, "exception", "approve", ""); len(got) > 0 || seen != "" || time.Since(began) > 10*completeTime {
			t.Errorf("with %s there: offered %q, said %q after %s", what, got, seen, time.Since(began))
		}
	}
}
