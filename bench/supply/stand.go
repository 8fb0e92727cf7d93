package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"assay.dev/assay/admit"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/internal/certs"
)

const doorPolicy = `apiVersion: assay.dev/v1alpha1
kind: Admission
metadata: {name: prod}
spec:
  environment: prod
  requires: [{name: release, gate: release, resourceUri: "pkg:oci/shop", levels: [L]}]
`

const doorPassphrase = "a passphrase for the benchmark"

// bareWord as the first argument makes the program a bare TLS server; the folder of
// its certificate follows.
const bareWord = "bare-tls"

// stand is the door and the bare server, each a process, and who asks them.
type stand struct {
	serve, bare *server
	door, peer  *target
}

func (s *stand) close() error { return errors.Join(s.serve.stop(), s.bare.stop()) }

// openStand prepares an installation, starts what is measured, and waits until
// nothing is left of the preparation.
func openStand(ctx context.Context, b *run.Bench, dir string) (_ *stand, err error) {
	if err := prepare(ctx, b, dir); err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, certs.CAName))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	s := &stand{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if s.bare, err = start(ctx, self, bareWord, dir); err != nil {
		return nil, err
	}
	began := time.Now()
	state := filepath.Join(dir, "state")
	s.serve, err = start(ctx, b.Program, "serve", "--dir", state, "--policy", filepath.Join(dir, "policies"),
		"--listen", "127.0.0.1:0", "--admission-listen", "127.0.0.1:0",
		"--admission-cert", filepath.Join(dir, certs.CertName), "--admission-key", filepath.Join(dir, certs.KeyName))
	if err != nil {
		return nil, err
	}
	bare, err := s.bare.line(bareLine)
	if err != nil {
		return nil, err
	}
	s.peer = newTarget(bare+"/", roots, false)
	page, err := s.serve.line(pageLine)
	if err != nil {
		return nil, err
	}
	hook, err := s.serve.line(hookLine)
	if err != nil {
		return nil, err
	}
	s.door = newTarget(hook+admit.Path+"default/prod?timeout=3s", roots, true)
	b.Say("admission: index read in %s", time.Since(began).Round(time.Millisecond))
	if err := published(ctx, page, 2*doorArtifacts); err != nil {
		return nil, err
	}
	b.Say("admission: everything published after %s", time.Since(began).Round(time.Millisecond))
	for _, t := range []*target{s.peer, s.door} {
		if _, err := t.load(ctx, doorWarm, 1<<32); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// prepare makes an installation with its keys and artifacts, the door's policy and a certificate.
func prepare(ctx context.Context, b *run.Bench, dir string) error {
	state, policies := filepath.Join(dir, "state"), filepath.Join(dir, "policies")
	key := exec.CommandContext(ctx, b.Program, "key", "create", "--dir", state)
	key.Env = environment()
	if out, err := key.CombinedOutput(); err != nil {
		return fmt.Errorf("assay key create: %w\n%s", err, out)
	}
	signer, err := keyfile.Load(filepath.Join(state, "keys", "assay.key"), []byte(doorPassphrase))
	if err != nil {
		return err
	}
	began := time.Now()
	if err := fillInstallation(ctx, state, signer); err != nil {
		return err
	}
	b.Say("admission: %d artifacts attested in %s", doorArtifacts, time.Since(began).Round(time.Second))
	debug.FreeOSMemory() // from here on this process only asks
	if err := os.Mkdir(policies, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(policies, "admission.yaml"), []byte(doorPolicy), 0o644); err != nil {
		return err
	}
	return certs.Make(dir, []string{"127.0.0.1"}, time.Hour, time.Now())
}

func environment() []string {
	return append(os.Environ(), "ASSAY_PASSPHRASE="+doorPassphrase, "ASSAY_SERVER=", "NO_COLOR=1")
}

// server is a child process that says on its output where it listens.
type server struct {
	cmd   *exec.Cmd
	lines chan string
	log   *strings.Builder // of what it said besides
}

func start(ctx context.Context, program string, args ...string) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, program, args...), lines: make(chan string, 64), log: &strings.Builder{}}
	s.cmd.Env = environment()
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			s.lines <- in.Text()
		}
	}()
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// Where servers say they listen.
var (
	pageLine = regexp.MustCompile(`^serving (http://\S+)`)
	hookLine = regexp.MustCompile(`^admission webhook (https://\S+)`)
	bareLine = regexp.MustCompile(`^bare (https://\S+)`)
)

// line waits for a line of the server and returns what it names.
func (s *server) line(form *regexp.Regexp) (string, error) {
	for text := range s.lines {
		if found := form.FindStringSubmatch(text); found != nil {
			return found[1], nil
		}
	}
	return "", fmt.Errorf("%s ended before it listened: %w\n%s", s.cmd.Path, s.cmd.Wait(), s.log)
}

// stop ends the server as a person would. A nil one never started.
func (s *server) stop() error {
	if s == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	for range s.lines { // until it closes its output
	}
	return s.cmd.Wait()
}

// published waits until the ledger covers so many facts: publishing what was prepared is not measured.
func published(ctx context.Context, page string, facts int) error {
	gauge := regexp.MustCompile(`(?m)^assay_ledger_checkpoint_leaves (\S+)$`)
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, page+"/metrics", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if found := gauge.FindSubmatch(text); found != nil {
			leaves, err := strconv.ParseFloat(string(found[1]), 64)
			if err != nil || leaves >= float64(facts) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// serveBare is the peer: a TLS server that reads a review and has its answer ready.
func serveBare(dir string) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, certs.CertName), filepath.Join(dir, certs.KeyName))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	answer := []byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u-0","allowed":true,` +
		`"auditAnnotations":{"decision_id":"` + strings.Repeat("0", 36) + `","door":"default/prod","mode":"enforce","outcome":"pass","policy_digest":"sha256:` + strings.Repeat("0", 64) + `"}}}`)
	srv := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer) // who asked has gone if this fails
		}),
		ReadHeaderTimeout: time.Second,
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		_ = srv.Close() // it holds nothing
	}()
	fmt.Printf("bare https://%s\n", ln.Addr())
	if err := srv.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
