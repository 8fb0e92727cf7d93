package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay/internal/testenv"
)

// binDir holds the assay binary that pages run.
var binDir string

func TestMain(m *testing.M) { os.Exit(withBinary(m)) }

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "assay-docs-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// The settings of `make build`, so that both share the build cache.
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "assay"), "assay.dev/assay/cmd/assay")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+testenv.BuildFlags)
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	binDir = dir
	return m.Run()
}

// pages are the documents whose commands run. A page that shows none is listed
// as well, so that it cannot gain one that nobody runs.
func pages(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(list, filepath.Join("..", "README.md"), filepath.Join("..", "examples", "first-gate", "README.md"))
}

// tools are what pages use besides a shell: command, and the package that has it.
var tools = map[string]string{"curl": "apt-get install curl", "docker-registry": "apt-get install docker-registry"}

func TestEveryCommandInTheDocumentationPrintsWhatThePageSays(t *testing.T) {
	ran := 0
	for _, path := range pages(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		list, err := commands(string(data))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		ran += len(list)
		t.Run(strings.TrimPrefix(filepath.ToSlash(path), "../"), func(t *testing.T) {
			t.Parallel()
			for _, c := range list {
				requireTools(t, c.text)
			}
			dir := t.TempDir()
			copyExample(t, dir)
			for _, p := range runPage(t, string(data), dir) {
				t.Errorf("%s: %s", path, p)
			}
		})
	}
	if ran < 50 {
		t.Errorf("the documentation shows %d commands; were the blocks not recognised?", ran)
	}
}

// requireTools skips a test whose shell text uses a tool that is not here.
func requireTools(t *testing.T, text string) {
	t.Helper()
	for name, install := range tools {
		if strings.Contains(text, name+" ") {
			testenv.Tool(t, name, install)
		}
	}
}

func TestAPageThatIsNotTrueIsReported(t *testing.T) {
	for name, c := range map[string]struct{ page, want string }{
		"other output":         {"```console\n$ echo one\ntwo\n```\n", "printed\none"},
		"missing output":       {"```console\n$ true\ntwo\n```\n", "the page says\ntwo"},
		"more output":          {"```console\n$ echo one\n```\n", "printed\none"},
		"other exit code":      {"```console\n$ false\n```\n", "exit code 1, the page says 0"},
		"success not expected": {"```console\n$ true\n(exit 3)\n```\n", "exit code 0, the page says 3"},
		"end of the shell":     {"```console\n$ exit 0\n$ echo one\none\n```\n", "the shell ended"},
		"unknown command":      {"```console\n$ assay verfy\n…\n```\n", "exit code 2, the page says 0"},
		"block without end":    {"```console\n$ true\n", "no end"},
		"output first":         {"```console\none\n```\n", "before the first command"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(runPage(t, c.page, t.TempDir()), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("the page\n%s\ngave %q; expected something with %q", c.page, got, c.want)
			}
		})
	}
}

func TestAPageThatIsTruePasses(t *testing.T) {
	page := "```console\n$ x=1\n$ echo a$x b; echo c; \\\n    echo d >&2\na1…\n…\nd\n$ (exit 3)\n(exit 3)\n```\n" +
		"```yaml file=sub/a.yaml\nk: v\n```\n```console\n$ cat sub/a.yaml\nk: v\n```\n```sh\nnot run\n```\n"
	if got := runPage(t, page, t.TempDir()); len(got) > 0 {
		t.Errorf("a true page was refused: %s", strings.Join(got, "\n"))
	}
}

func TestQuickstartWritesTheFilesOfTheExample(t *testing.T) {
	page, err := os.ReadFile("quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	list, err := commands(string(page))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, c := range list {
		if c.file == "" {
			continue
		}
		want, err := os.ReadFile(filepath.Join("..", "examples", "first-gate", filepath.FromSlash(c.file)))
		if err != nil {
			t.Fatal(err)
		}
		if c.text != string(want) {
			t.Errorf("quickstart.md:%d: %s is not the file in examples/first-gate", c.line, c.file)
		}
		compared++
	}
	if compared != 2 {
		t.Errorf("the quickstart shows %d files; expected a gate and a rule", compared)
	}
}

func TestFirstGateExampleShowsAllThreeVerdicts(t *testing.T) {
	dir := t.TempDir()
	copyExample(t, dir)
	page := "```console\n$ sh run.sh\n…\nFAIL  …\n…\nPASS  …\n…\nABSENT  …\n…\n```\n"
	for _, p := range runPage(t, page, dir) {
		t.Error(p)
	}
}
