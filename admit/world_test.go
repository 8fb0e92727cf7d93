package admit_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
	"github.com/prometheus/client_golang/prometheus"
)

// start is the instant that tests begin at.
var start = time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)

const doorYAML = `apiVersion: assay.dev/v1alpha1
kind: Admission
metadata: {name: prod}
spec:
  environment: prod
  excludeNamespaces: [sandbox]
  requires:
    - name: release
      gate: release
      resourceUri: pkg:oci/shop
      levels: [ASSAY_RELEASE]
      maxAge: 30d
  allow:
    - images: registry.k8s.io/*
      reason: the cluster's own images, pinned by its vendor
`

// web is an image of the shop; digest is that of its content.
func web(content string) string { return "registry.example/shop/web@" + string(digest(content)) }

func digest(of string) assay.Digest { return assay.DigestOf(sha256.Sum256([]byte(of))) }

// world is a door and all that it stands on, in memory.
type world struct {
	t      testing.TB
	store  *mem.Store
	blobs  *files.Blobs
	signer *keyfile.Signer
	index  *artifact.Index
	reg    *prometheus.Registry

	blobDir string

	mu        sync.Mutex
	policy    *policy.Revision
	trust     attest.TrustPolicy
	now       func() time.Time
	fail      error // of the next commits
	unsure    error // of the next commits, which happen nevertheless
	committed int
	blind     error // when it is asked whom to believe
	door      *admit.Door
}

func newWorld(t testing.TB) *world { return worldOf(t, doorYAML) }

func worldOf(t testing.TB, yaml string) *world {
	t.Helper()
	w := &world{t: t, now: func() time.Time { return start }, reg: prometheus.NewRegistry()}
	w.store = mem.New(mem.Config{Now: func() time.Time { return w.now() }, Hooks: mem.Hooks{BeforeCommit: func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.fail
	}, AfterCommit: func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.committed++
		return w.unsure
	}}})
	var err error
	w.blobDir = t.TempDir()
	if w.blobs, err = files.Open(w.blobDir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.store.Close(), w.blobs.Close()); err != nil {
			t.Error(err)
		}
	})
	if w.signer, err = keyfile.Generate(keyfile.ECDSAP256); err != nil {
		t.Fatal(err)
	}
	w.believe(w.signer)
	w.setPolicy(yaml)
	w.index = artifact.NewIndex(w.store, "default")
	w.door = admit.New(admit.Config{
		Store: w.store, Blobs: w.blobs, Now: func() time.Time { return w.now() }, Log: slog.New(slog.DiscardHandler), Registry: w.reg,
		Policy: func() (*policy.Revision, string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.policy, "file:policies", nil
		},
		Trust: func(context.Context) (attest.TrustPolicy, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.trust, w.blind
		},
		Index: func(context.Context, string) (admit.Index, error) { return w.index, nil },
	})
	return w
}

func (w *world) believe(s attest.Signer) {
	w.t.Helper()
	key, err := attest.NewKey(s.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trust = attest.TrustPolicy{
		Keys:  []attest.TrustedKey{{Key: key, VerifierIDs: []string{assay.DefaultVerifierID}}},
		Cache: attest.NewCache(1 << 20),
	}
}

func (w *world) setPolicy(yaml string) {
	w.t.Helper()
	r, err := policy.NewRevision([]policy.File{{Path: "admission.yaml", Content: []byte(yaml)}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.policy = r
}

func (w *world) unsureCommits(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unsure = err
}

// commits is how many there were.
func (w *world) commits() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.committed
}

func (w *world) failCommits(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// verdict is a pass of gate release about an image of the shop.
func verdict(image string, at time.Time) assay.Verdict {
	name, d, _ := strings.Cut(image, "@")
	return assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Environment: "prod", Outcome: assay.OutcomePass, Time: at,
		Subject:      assay.Subject{Name: name, Digest: assay.Digest(d), URI: "pkg:oci/shop"},
		Policy:       assay.PolicyRef{URI: "file:policies", Digest: digest("policy")},
		Levels:       []string{"ASSAY_RELEASE"},
		Requirements: []assay.Requirement{{Name: "tests", Kind: assay.KindTests, State: assay.Satisfied, Reason: "3 passed"}},
		Evidence:     []assay.EvidenceRef{{Kind: assay.KindTests, Source: "t.json", Digest: digest("tests"), Origin: assay.OriginLive}},
	}
}

// attest signs and records a pass of the image, as changed, and shows it to the index.
func (w *world) attest(image string, change ...func(*assay.Verdict)) {
	w.t.Helper()
	v := verdict(image, w.now().Add(-time.Hour))
	for _, c := range change {
		c(&v)
	}
	st, err := attest.VSA(v, attest.VSAOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := attest.Sign(context.Background(), w.signer, st)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := artifact.Record(context.Background(), w.store, w.blobs, artifact.Entry{Namespace: "default", Actor: "ci", Verdict: v, Bundle: b}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.index.Refresh(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// ask asks the door about a pod of the namespace shop with these images.
func (w *world) ask(images ...string) admit.Decision {
	w.t.Helper()
	return w.askAbout(admit.Request{Review: podReview(images...)})
}

func (w *world) askAbout(req admit.Request) admit.Decision {
	w.t.Helper()
	if req.Door == "" {
		req.Door = "prod"
	}
	if req.Actor == "" {
		req.Actor = "kubernetes:dana"
	}
	d, err := w.door.Ask(context.Background(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func podReview(images ...string) admit.Review {
	r := admit.Review{UID: "u-1", Target: admit.Target{Operation: "CREATE", Kind: "Pod", Namespace: "shop", Name: "web-1", User: "dana"}}
	for i, img := range images {
		one := admit.ParseImage(img)
		one.Containers = []string{fmt.Sprintf("container c%d", i)}
		r.Images = append(r.Images, one)
	}
	return r
}

func (w *world) facts(kinds ...string) []assay.Fact {
	w.t.Helper()
	var all []assay.Fact
	err := w.store.View(context.Background(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: "default", Kinds: kinds})
		for _, row := range rows {
			all = append(all, row.Fact)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// decisions are the facts of admission.
func (w *world) decisions() []assay.Fact {
	w.t.Helper()
	return w.facts(assay.FactAdmissionAllowed, assay.FactAdmissionDenied)
}
