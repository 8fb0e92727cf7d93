// Package controltest is a whole installation in memory, for tests of what
// stands on a control plane: real store, gate, signer and ledger, a policy with
// one gate, and a clock that the test sets.
package controltest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/control"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/memtree"
	"assay.dev/assay/policy"
	"assay.dev/assay/policy/rego"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
)

// Reports that the gate "ship" knows: it requires Tests and one of the others,
// passes with Clean and refuses Vulnerable by the rule Rule.
const (
	Tests = `{"Time":"2026-01-02T03:04:05Z","Action":"run","Package":"example.com/app","Test":"TestAdds"}
{"Time":"2026-01-02T03:04:05Z","Action":"pass","Package":"example.com/app","Test":"TestAdds","Elapsed":0.01}
{"Time":"2026-01-02T03:04:06Z","Action":"pass","Package":"example.com/app","Elapsed":0.05}
`
	Clean      = `{"results":[]}`
	Vulnerable = `{"results":[{"source":{"path":"go.mod"},"packages":[{"package":{"name":"lib","version":"1.0","ecosystem":"Go"},` +
		`"vulnerabilities":[{"id":"GO-1"}],"groups":[{"ids":["GO-1"],"max_severity":"9.8"}]}]}]}`
	Rule = "ship/no-critical"
)

// Namespaces are those that have the gate, each its own. Namespace "other" has none.
var Namespaces = []string{"default", "team-a", "team-b"}

const resources = `apiVersion: assay.dev/v1alpha1
kind: Gate
metadata: {name: ship, namespace: NAMESPACE}
spec:
  resourceUri: pkg:generic/app
  requires:
    - {name: tests, kind: test-results}
    - {name: vulnerabilities, kind: vulnerabilities, origins: [live, recorded]}
  policies: [ship]
---
apiVersion: assay.dev/v1alpha1
kind: Policy
metadata: {name: ship, namespace: NAMESPACE}
spec: {package: ship, mode: enforce}
`

// Salt hides namespaces in the leaves of the ledger.
const Salt = "sixteen bytes and more"

// Services have a rollout in the namespace "default", and in no other.
var Services = []string{"shop", "checkout", "catalog"}

const rolloutResource = `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: SERVICE}
spec:
  service: SERVICE
  indicators:
    - {name: errors, bad: errors_total, total: requests_total}
`

const module = `package ship

deny contains violation if {
	some report in input.evidence
	some finding in report.findings
	finding.severity == "critical"
	violation := {"rule": "no-critical", "severity": "critical", "kind": report.kind, "msg": finding.rule}
}
`

// Installation is a control plane and what it stands on.
type Installation struct {
	Plane   *control.Plane
	Config  control.Config // what Plane was made of
	Store   *mem.Store
	Tree    *memtree.Log
	BlobDir string
	Signer  *keyfile.Signer
	VKey    string // the ledger's public key

	seq    *ledger.Sequencer
	offset atomic.Int64
	t      testing.TB
}

// New makes an installation whose sequencer runs until the test ends.
func New(t testing.TB) *Installation {
	t.Helper()
	in := Idle(t)
	in.Config.Publishes = true
	in.Plane = control.New(in.Config)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.seq.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the sequencer ended with %v", err)
		}
	})
	return in
}

// Idle makes an installation that publishes nothing.
func Idle(t testing.TB) *Installation {
	t.Helper()
	in := &Installation{t: t, BlobDir: t.TempDir()}
	in.Store = mem.New(mem.Config{Now: in.Now})
	blobs, err := files.Open(in.BlobDir)
	must(t, err)
	in.Signer, err = keyfile.Generate(keyfile.Ed25519)
	must(t, err)
	skey, vkey, err := ledger.GenerateKey(rand.Reader, assay.DefaultOrigin)
	must(t, err)
	in.VKey = vkey
	signer, err := ledger.ParseSigner(skey, assay.DefaultOrigin)
	must(t, err)
	verifier, err := ledger.ParseVerifier(vkey)
	must(t, err)
	in.Tree = memtree.New(signer)
	salt := []byte(Salt)
	led, err := ledger.New(in.Store, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: in.Tree, Verifier: verifier}})
	must(t, err)
	in.seq, err = ledger.NewSequencer(ledger.SequencerConfig{Outbox: in.Store, Open: in.Tree.Opener(), Salt: salt})
	must(t, err)
	pol := loadPolicy(t)
	in.Config = control.Config{
		Store: in.Store, Blobs: blobs, Outbox: in.Store, Ledger: led, LedgerKey: vkey, Poke: in.seq.Poke,
		Policy: func() (control.Policy, error) { return pol, nil }, Now: in.Now, Rand: rand.Reader, Signer: in.Signer,
	}
	in.Plane = control.New(in.Config)
	t.Cleanup(func() {
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// AddPolicy puts more files into the policy: path and content by turns.
func (in *Installation) AddPolicy(files ...string) {
	in.t.Helper()
	pol := loadPolicy(in.t, files...)
	in.Config.Policy = func() (control.Policy, error) { return pol, nil }
	in.Plane = control.New(in.Config)
}

func loadPolicy(t testing.TB, more ...string) control.Policy {
	t.Helper()
	file := func(path, content string) policy.File {
		return policy.File{Path: path, Content: []byte(content), Digest: DigestOf(content)}
	}
	list := []policy.File{file("ship.rego", module)}
	for _, ns := range Namespaces {
		list = append(list, file(ns+".yaml", strings.ReplaceAll(resources, "NAMESPACE", ns)))
	}
	for _, service := range Services {
		list = append(list, file(service+"-rollout.yaml", strings.ReplaceAll(rolloutResource, "SERVICE", service)))
	}
	for i := 0; i+1 < len(more); i += 2 {
		list = append(list, file(more[i], more[i+1]))
	}
	rev, err := policy.NewRevision(list)
	must(t, err)
	engine, err := rego.Compile(t.Context(), rev)
	must(t, err)
	return control.Policy{Revision: rev, URI: "dir:policies", Engine: engine}
}

// Now is the installation's clock.
func (in *Installation) Now() time.Time { return time.Now().Add(time.Duration(in.offset.Load())) }

// Advance puts the clock forward.
func (in *Installation) Advance(d time.Duration) { in.offset.Add(int64(d)) }

// As is the control plane as somebody sees it.
func (in *Installation) As(name, namespace string, roles ...api.Role) *control.Session {
	return in.Plane.As(control.Caller{Name: name, Namespace: namespace, Roles: roles})
}

// Token makes a bearer token that lasts for a day.
func (in *Installation) Token(name, namespace string, roles ...api.Role) string {
	in.t.Helper()
	made, err := in.As("setup", namespace, api.RoleAdmin).CreateToken(in.t.Context(), api.TokenRequest{
		Name: name, Roles: roles, Expires: in.Now().Add(24 * time.Hour),
	})
	must(in.t, err)
	return made.Secret
}

// Request uploads reports and asks about an artifact named name.
func (in *Installation) Request(s *control.Session, name string, reports ...string) api.CheckRequest {
	in.t.Helper()
	req := api.CheckRequest{Subject: assay.Subject{Name: name, Digest: DigestOf(name)}}
	for _, r := range reports {
		d, err := s.PutEvidence(in.t.Context(), strings.NewReader(r))
		must(in.t, err)
		req.Reports = append(req.Reports, api.Report{Digest: d, Source: "report.json"})
	}
	return req
}

// DigestOf is the digest of a text.
func DigestOf(text string) assay.Digest { return assay.DigestOf(sha256.Sum256([]byte(text))) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
