package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"syscall"
	"testing"
)

// GoTool returns the path of a program built from a Go module at an exact
// version, for example GoTool(t, "github.com/sigstore/cosign/v3/cmd/cosign",
// "v3.1.3"). It is built once, under a lock that all tests share, and kept in
// the user's cache directory: builds of this size take minutes.
func GoTool(t testing.TB, pkg, version string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	name := path.Base(pkg)
	dir := filepath.Join(cache, "assay-test", name+"-"+version)
	bin := filepath.Join(dir, name)
	if err := buildOnce(dir, bin, pkg+"@"+version); err != nil {
		missing(t, "%s %s cannot be built: %v", name, version, err)
	}
	return bin
}

// buildOnce makes bin unless it is there. Another process may be at it.
func buildOnce(dir, bin, what string) error {
	if _, err := os.Stat(bin); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
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
	half, err := os.MkdirTemp(dir, "build-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(half)
	cmd := exec.Command("go", "install", "-ldflags=-s -w", what)
	cmd.Dir = half
	cmd.Env = append(os.Environ(), "GOBIN="+half, "GOFLAGS=-trimpath -buildvcs=false", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go install %s: %w\n%s", what, err, out)
	}
	return os.Rename(filepath.Join(half, filepath.Base(bin)), bin)
}
