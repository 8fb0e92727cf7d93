package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/internal/certs"
	"assay.dev/assay/policy"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/sqlite"
)

// What the cluster's door must hold: reviews arrive at a fixed rate whether or not
// earlier ones were answered, over TLS, about pods of one to three images among all
// that the index knows. One in twenty is denied, which a durable fact precedes.
const (
	doorArtifacts    = 100_000
	doorRate         = 500 // reviews a second
	doorRound        = 10 * time.Second
	doorSigners      = 32  // who prepare the artifacts
	doorP99Target    = 10  // milliseconds
	doorMemoryTarget = 500 // megabytes
	doorDenied       = 20  // one in so many artifacts has a failed verdict
)

const doorPolicy = `apiVersion: assay.dev/v1alpha1
kind: Admission
metadata: {name: prod}
spec:
  environment: prod
  requires: [{name: release, gate: release, resourceUri: "pkg:oci/shop", levels: [L]}]
`

// benchAdmission measures how long an API server waits for the door's answer.
func benchAdmission(ctx context.Context, b *run.Bench) (err error) {
	dir, err := b.Folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d, err := openDoor(ctx, b, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	var p50, p99, refusal, slowest, rate, memory []float64
	for n := range b.Rounds {
		waits, denials, took, err := d.load(ctx)
		if err != nil {
			return err
		}
		debug.FreeOSMemory() // what preparing needed is not the door's
		mb, err := residentMB()
		if err != nil {
			return err
		}
		p50, p99 = append(p50, result.Percentile(waits, 0.5)), append(p99, result.Percentile(waits, 0.99))
		refusal = append(refusal, result.Percentile(denials, 0.99))
		slowest, rate, memory = append(slowest, result.Percentile(waits, 1)), append(rate, float64(len(waits))/took.Seconds()), append(memory, mb)
		b.Say("admission %d/%d: %.0f reviews/s, p50 %.2f ms, p99 %.2f ms, of denials %.2f ms, slowest %.1f ms, %.0f MB",
			n+1, b.Rounds, rate[n], p50[n], p99[n], refusal[n], slowest[n], mb)
	}
	b.Rows = append(b.Rows,
		result.New(fmt.Sprintf("admission p99, %d reviews/s of %d artifacts", doorRate, doorArtifacts), "ms", p99).Want("<", doorP99Target),
		result.New("admission p50", "ms", p50),
		result.New("admission p99 of denials, each after a durable fact", "ms", refusal),
		result.New("admission, slowest", "ms", slowest),
		result.New("admission reviews answered", "1/s", rate).Want(">=", 0.98*doorRate),
		result.New("admission memory, door and clients in one process", "MB", memory).Want("<", doorMemoryTarget))
	return nil
}

// doorStand is a door that listens, and who asks it.
type doorStand struct {
	url    string
	client *http.Client
	close  func() error
}

func openDoor(ctx context.Context, b *run.Bench, dir string) (_ *doorStand, err error) {
	signer, err := keyfile.Generate(keyfile.ECDSAP256)
	if err != nil {
		return nil, err
	}
	key, err := attest.NewKey(signer.Public())
	if err != nil {
		return nil, err
	}
	s, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "assay.db")})
	if err != nil {
		return nil, err
	}
	blobs, err := files.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	began := time.Now()
	if err := fillDoor(ctx, s, quickBlobs{blobs, filepath.Join(dir, "blobs")}, signer); err != nil {
		return nil, errors.Join(err, blobs.Close(), s.Close())
	}
	b.Say("admission: %d artifacts attested in %s", doorArtifacts, time.Since(began).Round(time.Second))
	revision, err := policy.NewRevision([]policy.File{{Path: "admission.yaml", Content: []byte(doorPolicy)}})
	if err != nil {
		return nil, errors.Join(err, blobs.Close(), s.Close())
	}
	trust := attest.TrustPolicy{
		Keys: []attest.TrustedKey{{Key: key, VerifierIDs: []string{assay.DefaultVerifierID}}}, Cache: attest.NewCache(64 << 20),
	}
	indexes := admit.NewIndexes(s, nil)
	door := admit.New(admit.Config{
		Store: s, Blobs: blobs, Index: indexes.Of, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Policy: func() (*policy.Revision, string, error) { return revision, "bench", nil },
		Trust:  func(context.Context) (attest.TrustPolicy, error) { return trust, nil },
	})
	began = time.Now()
	if _, err := indexes.Of(ctx, "default"); err != nil {
		return nil, errors.Join(err, blobs.Close(), s.Close())
	}
	b.Say("admission: index read in %s", time.Since(began).Round(time.Millisecond))
	stand, err := listenDoor(ctx, dir, door, indexes)
	if err != nil {
		return nil, errors.Join(err, blobs.Close(), s.Close())
	}
	stop := stand.close
	stand.close = func() error { return errors.Join(stop(), blobs.Close(), s.Close()) }
	return stand, nil
}

func listenDoor(ctx context.Context, dir string, door *admit.Door, indexes *admit.Indexes) (*doorStand, error) {
	if err := certs.Make(dir, []string{"127.0.0.1"}, time.Hour, time.Now()); err != nil {
		return nil, err
	}
	watched, err := certs.Watch(certs.Files{Cert: filepath.Join(dir, certs.CertName), Key: filepath.Join(dir, certs.KeyName)}, time.Second, time.Now, nil)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, certs.CAName))
	if err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	running, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	var failed [3]error
	group.Go(func() {
		failed[0] = admit.Serve(running, ln, admit.Handler(door), &tls.Config{GetCertificate: watched.Get}, slog.New(slog.DiscardHandler))
	})
	group.Go(func() { failed[1] = door.Run(running) })
	group.Go(func() { failed[2] = indexes.Run(running) })
	return &doorStand{
		url: "https://" + ln.Addr().String() + admit.Path + "default/prod?timeout=3s",
		// An API server speaks HTTP/2 to a webhook, many reviews on one connection.
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}},
		close: func() error {
			cancel()
			group.Wait()
			return errors.Join(failed[:]...)
		},
	}, nil
}

// load sends reviews at the rate for one round and returns how long each took, and
// those that were denied apart as well, in milliseconds.
func (d *doorStand) load(ctx context.Context) (waits, denials []float64, took time.Duration, err error) {
	n := int(doorRate * doorRound.Seconds())
	waits, refused, errs := make([]float64, n), make([]bool, n), make([]error, n)
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var group sync.WaitGroup
	began := time.Now()
	for i := range n {
		body, denied := doorReview(random, i)
		refused[i] = denied
		due := began.Add(time.Duration(i) * time.Second / doorRate)
		if early := time.Until(due); early > 0 {
			timer := time.NewTimer(early)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil, nil, 0, ctx.Err()
			}
		}
		group.Go(func() {
			errs[i] = d.ask(ctx, body, denied)
			waits[i] = time.Since(due).Seconds() * 1000 // from when it was due: a stall counts for all that it delays
		})
	}
	group.Wait()
	took = time.Since(began)
	for i, w := range waits {
		if refused[i] {
			denials = append(denials, w)
		}
	}
	return waits, denials, took, errors.Join(errs...)
}

func (d *doorStand) ask(ctx context.Context, body []byte, denied bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Response struct{ Allowed bool } `json:"response"`
	}
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(data, &answer)
	}
	if err == nil && (resp.StatusCode != http.StatusOK || answer.Response.Allowed == denied) {
		err = fmt.Errorf("answered %d %s; expected denied %v", resp.StatusCode, data, denied)
	}
	return err
}

// doorReview is the review of a pod with one to three images.
func doorReview(random *rand.Rand, i int) (body []byte, denied bool) {
	var containers []string
	for c := range 1 + random.IntN(3) {
		n := random.IntN(doorArtifacts)
		denied = denied || n%doorDenied == 0 && c == 0
		if n%doorDenied == 0 && c > 0 {
			n++ // only the first container decides, so one in doorDenied is denied
		}
		containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":"%s","resources":{"limits":{"cpu":"1","memory":"1Gi"}},"env":[{"name":"A","value":"b"}]}`, c, doorImage(n)))
	}
	return fmt.Appendf(nil, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-%d",`+
		`"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"operation":"CREATE","namespace":"shop",`+
		`"userInfo":{"username":"system:serviceaccount:kube-system:replicaset-controller"},`+
		`"object":{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"web-"},"spec":{"containers":[%s]}}}}`, i, strings.Join(containers, ",")), denied
}

func doorImage(n int) string {
	return fmt.Sprintf("registry.example/shop/app-%d@%s", n%1000, doorDigest(n))
}

func doorDigest(n int) assay.Digest {
	return assay.DigestOf(sha256.Sum256([]byte("artifact " + strconv.Itoa(n))))
}

// fillDoor records a signed verdict of every artifact.
func fillDoor(ctx context.Context, s *sqlite.Store, blobs quickBlobs, signer attest.Signer) error {
	work := make(chan int)
	errs := make([]error, doorSigners)
	var group sync.WaitGroup
	for w := range doorSigners {
		group.Go(func() {
			for n := range work {
				if errs[w] == nil {
					errs[w] = recordDoor(ctx, s, blobs, signer, n)
				}
			}
		})
	}
	for n := range doorArtifacts {
		work <- n
	}
	close(work)
	group.Wait()
	return errors.Join(errs...)
}

func recordDoor(ctx context.Context, s *sqlite.Store, blobs quickBlobs, signer attest.Signer, n int) error {
	name, _, _ := strings.Cut(doorImage(n), "@")
	v := assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Environment: "prod", Outcome: assay.OutcomePass, Time: time.Now().UTC(), Levels: []string{"L"},
		Subject:      assay.Subject{Name: name, Digest: doorDigest(n), URI: "pkg:oci/shop"},
		Policy:       assay.PolicyRef{URI: "bench", Digest: doorDigest(-1)},
		Requirements: []assay.Requirement{{Name: "tests", Kind: assay.KindTests, State: assay.Satisfied, Reason: "3 passed"}},
		Evidence:     []assay.EvidenceRef{{Kind: assay.KindTests, Source: "t.json", Digest: doorDigest(-2), Origin: assay.OriginLive}},
	}
	if n%doorDenied == 0 {
		v.Outcome = assay.OutcomeFail
	}
	statement, err := attest.VSA(v, attest.VSAOptions{})
	if err != nil {
		return err
	}
	bundle, err := attest.Sign(ctx, signer, statement)
	if err != nil {
		return err
	}
	_, err = artifact.Record(ctx, s, blobs, artifact.Entry{Namespace: "default", Actor: "bench", Verdict: v, Bundle: bundle})
	return err
}

// quickBlobs writes where files.Blobs reads, without syncing: preparing is not measured.
type quickBlobs struct {
	*files.Blobs
	dir string
}

// Put keeps what r yields.
func (q quickBlobs) Put(_ context.Context, r io.Reader, limit int64) (assay.Digest, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return "", err
	}
	d := assay.DigestOf(sha256.Sum256(data))
	folder := filepath.Join(q.dir, "sha256", d.Hex()[:2])
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	return d, os.WriteFile(filepath.Join(folder, d.Hex()[2:]), data, 0o644)
}

// residentMB is the memory that the process holds, in megabytes.
func residentMB() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmRSS")
}
