package gameday

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"assay.dev/assay"
)

// The shop's sources end in .txt, because they are a program of their own.
//
//go:embed shop/*.txt
var shopFiles embed.FS

//go:embed scans/*.json
var scanFiles embed.FS

//go:embed policies
var policyFiles embed.FS

// Rates of failed requests that the shop's versions are built to have, see
// shop/main.go.txt: one call of the warehouse in a hundred fails, and in v2 one
// of the recommender in thirty-three as well.
const (
	soundRate  = 0.01
	faultyRate = 1 - (1-soundRate)*(1-0.0303)
)

// Version is one version of the shop.
type Version struct {
	Name  string
	About string // what changed, one sentence
	// sources are the files below shop/ that this version has beside the common ones.
	sources []string
	// scans are its recorded reports below scans/.
	scans []string
}

var commonSources = []string{"go.mod", "main.go", "shop.go", "depend.go", "shop_test.go"}

// versions of the shop, in the order of the play. A table, so that what differs
// between two of them can be seen.
var versions = []Version{
	{"v1", "the shop as it is", []string{"consult_plain.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
	{"v2", "pages recommend something, and wait for it", []string{"consult_waiting.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
	{"v3", "pages recommend something if it is there in time", []string{"consult_beside.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
	{"v4", "vouchers, and an image with a newer xz", []string{"consult_beside.go", "total_voucher.go"}, []string{"sbom-v4.json", "vulnerabilities-v4.json"}},
	{"v5", "built in a hurry; nobody took it to the gate", []string{"consult_beside.go", "total_voucher.go"}, nil},
	{"v6", "pages wait for what else might please, and do not fail with it", []string{"consult_slow.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
	{"v7", "pages ask how many are left, of a service with a quota", []string{"consult_quota.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
	{"v8", "recommendations come through a circuit breaker, which is wrong", []string{"consult_breaker.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
	{"v9", "pages are kept for customers who go back", []string{"consult_hoarding.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
	{"v10", "pages are made by a few workers, with a queue before them that has an end", []string{"consult_queue.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
	{"v11", "pages ask what a thing costs today, over one of a few connections", []string{"consult_pool.go", "total_plain.go"}, []string{"sbom.json", "vulnerabilities.json"}},
}

func versionNamed(name string) Version {
	for _, v := range versions {
		if v.Name == name {
			return v
		}
	}
	return Version{Name: name}
}

// write puts the sources of v into dir.
func (v Version) write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range append(append([]string(nil), commonSources...), v.sources...) {
		text, err := shopFiles.ReadFile("shop/" + name + ".txt")
		if err != nil {
			return err
		}
		if err := os.WriteFile(dir+"/"+name, text, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(dir+"/version.go", fmt.Appendf(nil, "package main\n\nconst version = %q\n", v.Name), 0o600)
}

// Release is a version that was built, and what became of it.
type Release struct {
	Version Version
	Binary  string       // path
	Digest  assay.Digest // of the binary
	Tests   string       // path of the test report
	Backend string       // "http://host:port" while it runs
	Bundle  []byte       // its attestation, nil before a gate said anything
	Fact    assay.FactID // of the attestation
	process *Child       // that answers at Backend
}

// Build writes, tests and builds a version.
func (w *World) Build(v Version) (*Release, error) {
	dir := w.path("src", v.Name)
	if err := v.write(dir); err != nil {
		return nil, err
	}
	r := &Release{Version: v, Binary: w.path("bin", "shop-"+v.Name), Tests: w.path("evidence", v.Name+"-tests.json")}
	if err := w.compile(r, dir); err != nil {
		return nil, err
	}
	w.releases[v.Name] = r
	return r, nil
}

// lean leaves out the tables for debuggers, as `make build` does: where Assay was built
// on this machine, the first release finds Go's own packages compiled.
const lean = "-gcflags=all=-dwarf=false"

// compile tests and builds what is in dir, and sets the digest of the release.
func (w *World) compile(r *Release, dir string) error {
	var report bytes.Buffer
	// The flags of the build, so that both share what the compiler made. A failing
	// test is evidence too: the gate judges it.
	if err := w.goTool(w.ctx, dir, &report, "test", "-json", "-count=1", "-trimpath", lean, "./..."); err != nil && exitCode(err) != 1 {
		return err
	}
	if err := os.WriteFile(r.Tests, report.Bytes(), 0o600); err != nil {
		return err
	}
	if err := w.goTool(w.ctx, dir, io.Discard, "build", "-trimpath", "-buildvcs=false", lean, "-o", r.Binary, "."); err != nil {
		return err
	}
	return r.sum()
}

// sum sets the digest of the release to that of its binary.
func (r *Release) sum() error {
	f, err := os.Open(r.Binary)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	r.Digest = assay.DigestOf([32]byte(h.Sum(nil)))
	return nil
}

// Run starts a release as a process. calm switches the faults of the recommender off.
func (w *World) Run(r *Release, calm bool) error {
	var args []string
	if calm {
		args = append(args, "-calm")
	}
	return w.launch(r, r.Binary, append([]string{"-seed", fmt.Sprint(w.cfg.Seed)}, args...)...)
}

// launch starts a release by a program, itself or one that runs it. What ran of it
// before is stopped.
func (w *World) launch(r *Release, program string, args ...string) error {
	const ready = "shop "
	if r.process != nil {
		r.process.stop()
	}
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	child, line, err := w.start(ctx, command{name: "shop-" + r.Version.Name, path: program, args: args, env: w.environment(), ready: ready})
	if err != nil {
		return err
	}
	r.process = child
	_, address, found := strings.Cut(line, " listening on ")
	if !found {
		return assay.Errorf(assay.CodeInternal, "the shop said %q; expected where it listens", line)
	}
	r.Backend = "http://" + address
	return nil
}
