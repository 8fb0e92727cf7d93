package docs_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// offline are the attributes of a process with a network of its own that has no
// interface up, not even the loopback.
func offline() syscall.SysProcAttr {
	return syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
	}
}

// requireOffline ends the test where nobody may switch the network off.
func requireOffline(t *testing.T) {
	t.Helper()
	probe := exec.Command("cat", "/proc/net/dev")
	attr := offline()
	probe.SysProcAttr = &attr
	out, err := probe.CombinedOutput()
	if err != nil {
		message := "this machine lets nobody make a network namespace: " + err.Error()
		if os.Getenv("ASSAY_REQUIRE_ALL") == "1" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	// Two lines of heading and the loopback, which nobody brought up.
	if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); len(lines) != 3 || !strings.Contains(lines[2], "lo:") {
		t.Fatalf("the network is not switched off:\n%s", out)
	}
}

func TestAuditorsPageRunsWithTheNetworkSwitchedOff(t *testing.T) {
	requireOffline(t)
	page, err := os.ReadFile("auditor.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyExample(t, dir)
	for _, p := range runPageIn(t, string(page), dir, offline()) {
		t.Errorf("auditor.md: %s", p)
	}
}
