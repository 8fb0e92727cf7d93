package testenv

import (
	"os/exec"
	"strings"
	"testing"
)

// A package that both the servers and the program have is compiled once as long as its
// flags are the same: none of the patterns may match what the program depends on.
func TestWhatIsCompiledForServersAloneIsNoPartOfTheProgram(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/assay")
	cmd.Dir = ModuleRoot(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		for _, pattern := range serversOnly {
			if prefix := strings.TrimSuffix(pattern, "..."); strings.HasPrefix(strings.TrimSpace(pkg)+"/", prefix) {
				t.Errorf("%s is compiled for the program too: %s must not match it", strings.TrimSpace(pkg), pattern)
			}
		}
	}
}
