package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ciRepository is a scratch repository with an artifact, a policy and reports; one
// report tries to talk to the runner.
func ciRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := copyDir("testdata/fixtures", dir); err != nil {
		t.Fatal(err)
	}
	bad, err := os.ReadFile(filepath.Join(dir, "vulnerable.json"))
	if err != nil {
		t.Fatal(err)
	}
	evil := bytes.ReplaceAll(bad, []byte("log4j-core"), []byte(`x\n::set-output name=a::b\n::error::owned`))
	if err := os.WriteFile(filepath.Join(dir, "evil.json"), evil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// readYAML decodes one document of deploy/ci.
func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../deploy/ci", name))
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// runStep runs the commands of a step as its runner does, and returns the exit code and what it printed.
func runStep(t *testing.T, dir string, env map[string]string, shell ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shell[0], shell[1:]...)
	cmd.Dir = dir
	cmd.Env = os.Environ()
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

func mustContain(t *testing.T, path, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), want) {
		t.Errorf("%s (%v) does not contain %q:\n%s", filepath.Base(path), err, want, data)
	}
}

// ciCases are what a pipeline may present.
var ciCases = []struct {
	name, evidence, outcome string
	exit                    int
}{
	{"pass", "tests.json clean.json", "pass", exitOK},
	{"fail", "tests.json vulnerable.json", "fail", exitFailed},
	{"absent", "clean.json", "absent", exitAbsent},
	{"text that talks to the runner", "tests.json evil.json", "fail", exitFailed},
	{"a report that is not there", "no.json", "", exitError},
}

func TestGitHubActionRunsTheGate(t *testing.T) {
	var action struct {
		Inputs map[string]struct{ Default string }
		Runs   struct {
			Using string
			Steps []struct {
				Shell, Run string
				Env        map[string]string
			}
		}
	}
	readYAML(t, "github/action.yml", &action)
	if action.Runs.Using != "composite" || len(action.Runs.Steps) != 1 || action.Runs.Steps[0].Shell != "bash" {
		t.Fatalf("%+v", action)
	}
	step := action.Runs.Steps[0]
	if strings.Contains(step.Run, "${{") {
		t.Error("the script holds an expression: text of an input would be run")
	}
	for _, c := range ciCases {
		t.Run(c.name, func(t *testing.T) {
			dir, temp := ciRepository(t), t.TempDir()
			given := map[string]string{"artifact": "app", "evidence": strings.ReplaceAll(c.evidence, " ", "\n") + "\n", "gate": "ship"}
			env := map[string]string{
				"GITHUB_SHA": "0123abc", "GITHUB_STEP_SUMMARY": filepath.Join(temp, "summary.md"),
				"GITHUB_OUTPUT": filepath.Join(temp, "output"), "RUNNER_TEMP": temp, "GITHUB_ACTIONS": "true", "CI": "true",
			}
			for name, expression := range step.Env {
				input := strings.TrimSuffix(strings.TrimPrefix(expression, "${{ inputs."), " }}")
				declared, ok := action.Inputs[input]
				if !ok {
					t.Fatalf("%s is %s, which is no input", name, expression)
				}
				if env[name] = declared.Default; given[input] != "" {
					env[name] = given[input]
				}
			}
			script := filepath.Join(temp, "step.sh")
			if err := os.WriteFile(script, []byte(step.Run), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out := runStep(t, dir, env, "bash", "--noprofile", "--norc", "-eo", "pipefail", script)
			if code != c.exit {
				t.Fatalf("exit code %d, want %d\n%s", code, c.exit, out)
			}
			if c.outcome == "" {
				return
			}
			mustContain(t, env["GITHUB_OUTPUT"], "outcome="+c.outcome)
			mustContain(t, env["GITHUB_STEP_SUMMARY"], strings.ToUpper(c.outcome)+": gate `ship`")
			mustContain(t, filepath.Join(dir, "assay.sarif"), `"version": "2.1.0"`)
			checkRunnerCommands(t, out)
		})
	}
}

// checkRunnerCommands reads output as GitHub's runner does, and allows only our own commands.
func checkRunnerCommands(t *testing.T, out string) {
	t.Helper()
	stopped := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		switch {
		case stopped != "":
			if line == "::"+stopped+"::" {
				stopped = ""
			}
		case strings.HasPrefix(line, "::stop-commands::"):
			stopped = strings.TrimPrefix(line, "::stop-commands::")
		case strings.HasPrefix(line, "::"):
			if !strings.Contains(line, "title=") || strings.HasPrefix(line, "::set-output") || strings.HasPrefix(line, "::error::") {
				t.Errorf("text from outside became a command: %s", line)
			}
		}
	}
	if stopped != "" {
		t.Error("commands stay stopped for the rest of the job")
	}
}

func TestGitLabJobRunsTheGate(t *testing.T) {
	var jobs map[string]struct {
		Script    []string
		Variables map[string]string
		Artifacts struct {
			Reports map[string]string
		}
	}
	readYAML(t, "gitlab/assay.gitlab-ci.yml", &jobs)
	job, ok := jobs[".assay-gate"]
	if !ok {
		t.Fatalf("%+v", jobs)
	}
	for _, c := range ciCases {
		t.Run(c.name, func(t *testing.T) {
			dir := ciRepository(t)
			env := map[string]string{"CI_COMMIT_SHA": "0123abc"}
			maps.Copy(env, job.Variables)
			env["ASSAY_ARTIFACT"], env["ASSAY_EVIDENCE"] = "app", c.evidence
			code, out := runStep(t, dir, env, "sh", "-ec", strings.Join(job.Script, "\n"))
			if code != c.exit {
				t.Fatalf("exit code %d, want %d\n%s", code, c.exit, out)
			}
			if c.outcome == "" {
				return
			}
			mustContain(t, filepath.Join(dir, job.Artifacts.Reports["junit"]), `name="outcome" value="`+c.outcome+`"`)
			mustContain(t, filepath.Join(dir, job.Artifacts.Reports["codequality"]), "[")
		})
	}
}

func TestTektonTaskRunsTheGate(t *testing.T) {
	var task struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Spec       struct {
			Params []struct {
				Name    string
				Default string
			}
			Steps []struct {
				Script string
				Args   []string
				Env    []struct{ Name, Value string }
			}
		}
	}
	readYAML(t, "tekton/task.yaml", &task)
	if task.APIVersion != "tekton.dev/v1" || task.Kind != "Task" || len(task.Spec.Steps) != 1 {
		t.Fatalf("%+v", task)
	}
	step := task.Spec.Steps[0]
	if strings.Contains(step.Script, "$(params") || len(step.Args) != 1 || step.Args[0] != "$(params.evidence[*])" {
		t.Error("a parameter stands in the script, where it would be run")
	}
	for _, c := range ciCases {
		t.Run(c.name, func(t *testing.T) {
			dir, temp := ciRepository(t), t.TempDir()
			values := map[string]string{"params.artifact": "app", "results.outcome.path": filepath.Join(temp, "outcome")}
			for _, p := range task.Spec.Params {
				if _, given := values["params."+p.Name]; !given {
					values["params."+p.Name] = p.Default
				}
			}
			env := map[string]string{}
			for _, e := range step.Env {
				env[e.Name] = values[strings.TrimSuffix(strings.TrimPrefix(e.Value, "$("), ")")]
			}
			script := filepath.Join(temp, "script")
			if err := os.WriteFile(script, []byte(step.Script), 0o700); err != nil {
				t.Fatal(err)
			}
			code, out := runStep(t, dir, env, append([]string{script}, strings.Fields(c.evidence)...)...)
			if code != c.exit {
				t.Fatalf("exit code %d, want %d\n%s", code, c.exit, out)
			}
			if c.outcome != "" {
				mustContain(t, filepath.Join(temp, "outcome"), c.outcome)
				mustContain(t, filepath.Join(dir, "assay.junit.xml"), "<testsuite ")
			}
		})
	}
}
