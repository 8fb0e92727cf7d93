package testenv

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	err = buildOnce(bin, func(half string) error {
		pins, err := withoutFakes(module, t.TempDir())
		if err != nil {
			return err
		}
		return compile(module, half, pkg, "CGO_ENABLED=0", append(cheap(), "-modfile="+pins)...)
	})
	if err != nil {
		missing(t, "%s cannot be built: %v", name, err)
	}
	return bin
}

// BuildFlags is GOFLAGS as the Makefile has them, for programs that no debugger reads:
// what is compiled with others is compiled once more.
const BuildFlags = "-trimpath -buildvcs=false -gcflags=all=-dwarf=false"

// serversOnly are the packages that the servers have and the program does not, the largest.
var serversOnly = []string{
	"cuelang.org/go/...", "github.com/google/cel-go/...", "github.com/sigstore/cosign/...", "go.etcd.io/...",
	"k8s.io/apiextensions-apiserver/...", "k8s.io/apiserver/...", "k8s.io/client-go/applyconfigurations/...",
	"k8s.io/client-go/informers/...", "k8s.io/client-go/kubernetes/typed/...", "k8s.io/client-go/listers/...",
	"k8s.io/cloud-provider/...", "k8s.io/component-base/...", "k8s.io/component-helpers/...",
	"k8s.io/kube-aggregator/...", "k8s.io/kubernetes/...",
}

// cheap are the flags that have serversOnly compiled without inlining, a quarter of a
// compiler's work: the servers answer a few requests of a test. What the program depends
// on as well stays as it is, and is compiled for both once.
func cheap() []string {
	flags := make([]string, len(serversOnly))
	for i, pattern := range serversOnly {
		flags[i] = "-gcflags=" + pattern + "=-dwarf=false -l"
	}
	return flags
}

// testOnly is a file of k8s.io/apiserver that holds nothing but the environment of its own
// tests. Its name does not end in _test.go, so that it would bring the fakes of all clients
// with it, 60 packages that no server calls.
const testOnly = "pkg/admission/plugin/policy/generic/policy_test_context.go"

// withoutFakes copies the module k8s.io/apiserver below an empty folder, without testOnly, and
// returns the pins as a file that has the copy instead: in place, Go lets nobody change it.
func withoutFakes(module, dir string) (string, error) {
	download := exec.Command("go", "mod", "download", "-json", "k8s.io/apiserver")
	download.Dir = module
	out, err := download.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download k8s.io/apiserver: %w\n%s", err, out)
	}
	var original struct{ Dir string }
	if err := json.Unmarshal(out, &original); err != nil {
		return "", fmt.Errorf("go mod download k8s.io/apiserver: %w", err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return "", err
		}
	}
	tree, file := filepath.Join(dir, "apiserver"), filepath.Join(dir, "go.mod")
	if err := os.CopyFS(tree, os.DirFS(original.Dir)); err != nil {
		return "", err
	}
	if err := os.Remove(filepath.Join(tree, testOnly)); err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "mod", "edit", "-replace=k8s.io/apiserver="+tree, file).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go mod edit: %w\n%s", err, out)
	}
	return file, nil
}

// buildOnce calls build unless bin is there, and makes bin of the file that it writes.
// Another process may be at it.
func buildOnce(bin string, build func(half string) error) error {
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
	if err := build(half); err != nil {
		return err
	}
	return os.Rename(half, bin)
}

// compile makes a program of a package of the module in a folder. Compilers end soon: they
// collect no garbage while there is memory.
func compile(module, bin, pkg, cgo string, flags ...string) error {
	args := slices.Concat([]string{"build", "-ldflags=-s -w", "-o", bin}, flags, []string{pkg})
	cmd := exec.Command("go", args...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOFLAGS="+BuildFlags, cgo, "GOGC=off", "GOMEMLIMIT=1GiB")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}
