package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	commandRow  = regexp.MustCompile("(?m)^\\| `(assay[a-z ]*[a-z])")
	subCommands = regexp.MustCompile(`(?m)^  ([a-z]+) +\S`)
)

func TestCommandsPageListsExactlyTheCommandsOfTheProgram(t *testing.T) {
	page, err := os.ReadFile("cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, m := range commandRow.FindAllStringSubmatch(string(page), -1) {
		written = append(written, m[1])
	}
	existing := leaves(t, "assay")
	if len(existing) < 10 {
		t.Fatalf("the program has the commands %q; was its help not understood?", existing)
	}
	for _, c := range existing {
		if !slices.Contains(written, c) {
			t.Errorf("cli.md has no row for %q", c)
		}
	}
	for _, c := range written {
		if !slices.Contains(existing, c) {
			t.Errorf("cli.md has a row for %q, which does not exist", c)
		}
	}
}

// leaves lists the commands below path that have no sub-commands of their own;
// those of "completion" are shells, and count as one.
func leaves(t *testing.T, path string) (out []string) {
	t.Helper()
	args := append(strings.Fields(path)[1:], "--help")
	help, err := exec.Command(filepath.Join(binDir, "assay"), args...).Output()
	if err != nil {
		t.Fatalf("%s --help: %v", path, err)
	}
	_, list, has := strings.Cut(string(help), "Available Commands:\n")
	if !has || path == "assay completion" {
		return []string{path}
	}
	list, _, _ = strings.Cut(list, "\n\n")
	for _, m := range subCommands.FindAllStringSubmatch(list, -1) {
		out = append(out, leaves(t, path+" "+m[1])...)
	}
	return out
}
