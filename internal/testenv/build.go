package testenv

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Program returns the path of a program that tools/servers pins, for example
// Program(t, "etcd", "go.etcd.io/etcd/server/v3"). It is built once, under a lock that
// all tests share, and kept in the user's cache folder below a digest of what is pinned:
// builds of this size take minutes. It is compiled as `make build` compiles, so that
// what the program depends on as well is compiled for both.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, "%s cannot be built: %v", name, err)
	}
	module := filepath.Join(ModuleRoot(t), "tools", "servers")
	pins, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	pinned := sha256.Sum256(pins)
	bin := filepath.Join(cache, "assay-test", fmt.Sprintf("%s-%x", name, pinned[:8]), name)
	if _, err := os.Stat(bin); err != nil {
		t.Logf("building %s: this happens once and takes minutes", name)
	}
	if err := buildOnce(module, bin, pkg, "CGO_ENABLED=0"); err != nil {
		missing(t, "%s cannot be built: %v", name, err)
	}
	return bin
}

// BuildFlags is GOFLAGS as the Makefile has them, for programs that no debugger reads:
// what is compiled with others is compiled once more.
const BuildFlags = "-trimpath -buildvcs=false -gcflags=all=-dwarf=false"

// buildOnce makes bin from a package of the module in a folder unless it is there.
// Another process may be at it. The compiler collects less garbage than usual: it ends soon.
func buildOnce(module, bin, pkg, cgo string) error {
	if _, err := os.Stat(bin); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(bin+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close() // and with it the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(bin); err == nil {
		return nil
	}
	half := bin + ".half"
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", half, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOFLAGS="+BuildFlags, cgo, "GOGC=400")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return os.Rename(half, bin)
}
