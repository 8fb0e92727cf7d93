// Package testenv finds or starts what tests need from outside the module:
// public test data, command-line tools and real servers.
//
// A test that asks for something that is not on the machine is skipped with a
// line that says how to get it; with ASSAY_REQUIRE_ALL=1, as in CI, it fails.
//
// What it knows:
//
//	Data            public vectors and reports, beside the project
//	Tool            a program of the machine, for example strace or curl
//	Program         a program that tools/servers pins, built once, kept in the user's cache
//	Cosign          the real cosign, a Program
//	DockerRegistry  a running registry without the referrers API, Debian's package
//	Kubernetes      a running kube-apiserver with its etcd
//
// Whatever it starts ends with the test, listens on a free port of this machine
// and keeps its files in the test's folder. A registry with the referrers API
// needs no process: tests serve go-containerregistry's.
package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Data returns the path of a file or folder of the shared public data, for
// example Data(t, "vectors/merkle/testdata"). The data lies beside the project,
// in ../shared/data, or where ASSAY_SHARED points.
func Data(t testing.TB, path string) string {
	t.Helper()
	root := os.Getenv("ASSAY_SHARED")
	if root == "" {
		root = filepath.Join(ModuleRoot(t), "..", "shared")
	}
	p := filepath.Join(root, "data", filepath.FromSlash(path))
	if _, err := os.Stat(p); err != nil {
		missing(t, "public test data %q is not here; set ASSAY_SHARED to the folder that holds data/", path)
	}
	return p
}

// Tool returns the path of a command-line tool, for example Tool(t, "strace", "apt-get install strace").
func Tool(t testing.TB, name, install string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		missing(t, "%s is not installed; get it with: %s", name, install)
	}
	return p
}

// ModuleRoot returns the folder that holds the project's go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "ARCHITECTURE.md")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no ARCHITECTURE.md above the working directory")
		}
		dir = up
	}
}

func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("ASSAY_REQUIRE_ALL") == "1" {
		t.Fatalf("ASSAY_REQUIRE_ALL=1, but "+format, args...)
	}
	t.Skipf(format, args...)
}
