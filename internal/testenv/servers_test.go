package testenv_test

import (
	"os/exec"
	"strings"
	"testing"

	"assay.dev/assay/internal/testenv"
)

// CI runs this before all other tests, with what else may wait for a processor, so that
// no test is timed while compilers have the machine.
func TestServersThatAreBuiltFromTheirModulesStart(t *testing.T) {
	out, err := exec.Command(testenv.Cosign(t), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "GitVersion") {
		t.Errorf("cosign version: %v\n%s", err, out)
	}
	testenv.Kubernetes(t)
}
