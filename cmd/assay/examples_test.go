package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestExamplesComeOutAsTheySay runs the examples with the program as it is.
func TestExamplesComeOutAsTheySay(t *testing.T) {
	for _, name := range []string{"first-gate", "vulnerability-gate", "outdated-cryptography", "rollouts"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			if err := copyDir(filepath.Join("../../examples", name), dir); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "./run.sh")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "ASSAY_POLICY=policies")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
