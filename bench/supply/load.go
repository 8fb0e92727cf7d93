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
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"assay.dev/assay"
)

// target is a server that is asked for reviews.
type target struct {
	url     string
	client  *http.Client
	decides bool // its answers are checked; a bare server always says yes
}

// newTarget asks as an API server does: HTTP/2, many reviews on one connection.
func newTarget(url string, roots *x509.CertPool, decides bool) *target {
	return &target{url: url, decides: decides, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}}}
}

// load is what a round measured: how long each review took, in milliseconds, and
// those that were denied apart as well.
type load struct {
	waits, denials []float64
	took           time.Duration
}

// question is a review that was prepared, so that the sender has little to do.
type question struct {
	body   []byte
	denied bool
}

// load sends reviews at the rate for so long. A wait counts from when the review was
// due, not from when it could be sent: a stall counts for all that it delays,
// whoever stalled.
func (t *target) load(ctx context.Context, d time.Duration, seed uint64) (load, error) {
	n := int(doorRate * d.Seconds())
	random := rand.New(rand.NewPCG(1, seed))
	ask := make([]question, n)
	for i := range ask {
		ask[i].body, ask[i].denied = doorReview(random, i)
	}
	l := load{waits: make([]float64, n)}
	errs := make([]error, n)
	runtime.GC() // the sender's own garbage is not the server's
	var group sync.WaitGroup
	began := time.Now().Add(10 * time.Millisecond)
	err := at(ctx, began, time.Second/doorRate, n, func(i int, due time.Time) {
		group.Go(func() {
			errs[i] = t.ask(ctx, ask[i])
			l.waits[i] = time.Since(due).Seconds() * 1000
		})
	})
	group.Wait()
	l.took = time.Since(began)
	for i, w := range l.waits {
		if ask[i].denied {
			l.denials = append(l.denials, w)
		}
	}
	return l, errors.Join(err, errors.Join(errs...))
}

// at calls do n times, once every interval. It sleeps in the kernel, on a thread of
// its own: the runtime's timers are late by up to a millisecond when a process does
// little, which would be counted as the server's.
func at(ctx context.Context, began time.Time, interval time.Duration, n int, do func(i int, due time.Time)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := range n {
		due := began.Add(time.Duration(i) * interval)
		for early := time.Until(due); early > 0; early = time.Until(due) {
			rest := syscall.NsecToTimespec(int64(early))
			if err := syscall.Nanosleep(&rest, nil); err != nil && !errors.Is(err, syscall.EINTR) {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		do(i, due)
	}
	return nil
}

// ask sends one review and checks the answer.
func (t *target) ask(ctx context.Context, q question) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(q.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.client.Do(req)
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
	if err == nil && (resp.StatusCode != http.StatusOK || t.decides && answer.Response.Allowed == q.denied) {
		err = fmt.Errorf("answered %d %s; expected denied %v", resp.StatusCode, data, q.denied)
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
