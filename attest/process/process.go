// Package process signs with keys that live in another program: a small one beside
// ours that can load a PKCS#11 module or talk to a key management service.
//
// Our program is static and small because such things stay out of it, and a
// fault in a vendor's library ends the other program and not ours. The two speak
// lines of JSON over the other's standard input and output, one request and one
// answer at a time (see docs/design/signer.md). Nothing the other program says is
// believed: every signature is checked against the public key that it named when
// it was started, and a program that names another key later is refused. One that
// hangs, ends or talks nonsense is stopped, and started again by the next request.
package process

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

// Limits of a signer program.
const (
	// DefaultTimeout is how long one request may take, the start included.
	DefaultTimeout = 15 * time.Second
	// MaxAnswer is the longest line that a signer program may answer with, in bytes.
	MaxAnswer = 64 << 10
	// maxKey is the longest name of a key, in bytes.
	maxKey = 4096
	// stopTime is how long a program may take to end once its input is closed.
	stopTime = 2 * time.Second
)

// Options say which program to run.
type Options struct {
	Program string        // a path, or a name that is looked for in PATH
	Key     string        // names the key, in the program's own terms; never a secret
	Timeout time.Duration // of one request; 0 means DefaultTimeout
	Env     []string      // of the program; nil is ours without the ASSAY_ variables that are not the signer's
	Stderr  io.Writer     // what the program complains about; nil discards it
}

// Signer is a key in another program. It implements attest.Signer.
type Signer struct {
	o   Options
	key attest.Key

	turn  chan *child // holds the running program, or nil; whoever took it may talk to it
	ended chan struct{}
}

// Start runs the program and asks it for its public key.
func Start(ctx context.Context, o Options) (*Signer, error) {
	if len(o.Key) == 0 || len(o.Key) > maxKey {
		return nil, assay.Errorf(assay.CodeInvalid, "the key's name has %d bytes; expected 1 to %d", len(o.Key), maxKey)
	}
	path, err := exec.LookPath(o.Program)
	if err != nil {
		e := assay.Errorf(assay.CodeNotFound, "signer program %q is not here: %w", o.Program, err)
		e.Hint = "build it (docs/keys.md), and put it into PATH or name it with ASSAY_SIGNER"
		return nil, e
	}
	o.Program = path
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Env == nil {
		o.Env = Environment(os.Environ())
	}
	s := &Signer{o: o, turn: make(chan *child, 1), ended: make(chan struct{})}
	c, key, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	s.key = key
	s.turn <- c
	return s, nil
}

// Environment keeps our own secrets from a signer program: of the ASSAY_ variables
// it gets those that begin with ASSAY_SIGNER_ or ASSAY_PKCS11_.
func Environment(all []string) []string {
	var out []string
	for _, v := range all {
		if !strings.HasPrefix(v, "ASSAY_") || strings.HasPrefix(v, "ASSAY_SIGNER_") || strings.HasPrefix(v, "ASSAY_PKCS11_") {
			out = append(out, v)
		}
	}
	return out
}

// start runs the program and describes its key. A program that cannot is stopped.
func (s *Signer) start(ctx context.Context) (*child, attest.Key, error) {
	c, err := run(s.o)
	if err != nil {
		return nil, attest.Key{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	a, err := c.ask(ctx, request{Op: opDescribe, Key: s.o.Key})
	if err == nil && a.Error != "" {
		err = a.refusal(s.o)
	}
	var key attest.Key
	if err == nil {
		key, err = describedKey(a)
	}
	if err != nil {
		c.stop()
		return nil, attest.Key{}, s.inProgram(err)
	}
	return c, key, nil
}

func describedKey(a answer) (attest.Key, error) {
	der, err := base64.StdEncoding.DecodeString(a.PublicKey)
	if err != nil || len(der) == 0 {
		return attest.Key{}, assay.Errorf(assay.CodeInvalid, "names no public key in base64")
	}
	return attest.ParsePublicDER(der)
}

// KeyID implements attest.Signer.
func (s *Signer) KeyID() string { return s.key.KeyID() }

// Public implements attest.Signer.
func (s *Signer) Public() crypto.PublicKey { return s.key.Public() }

// Sign implements attest.Signer. Requests wait for each other. A program that ended
// is started again, once; one that does not answer in time is stopped and the
// error is assay.CodeUnavailable.
func (s *Signer) Sign(ctx context.Context, message []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	var c *child
	select {
	case <-s.ended:
		return nil, assay.Errorf(assay.CodeUnavailable, "the signer is closed")
	case <-ctx.Done():
		return nil, s.inProgram(assay.Errorf(assay.CodeUnavailable, "is busy with other requests: %w", ctx.Err()))
	case c = <-s.turn:
	}
	defer func() { s.turn <- c }()
	sig, err := s.signWith(ctx, &c, message)
	if errors.Is(err, errEnded) {
		sig, err = s.signWith(ctx, &c, message) // it ended before it answered: nothing was done
	}
	if err != nil {
		return nil, s.inProgram(err)
	}
	return sig, nil
}

// signWith asks the program at c, which it starts if it is nil. A program that
// cannot be relied on is stopped, and c becomes nil.
func (s *Signer) signWith(ctx context.Context, c **child, message []byte) (sig []byte, err error) {
	if *c == nil {
		fresh, key, err := s.start(ctx)
		if err != nil {
			return nil, err
		}
		if key.KeyID() != s.key.KeyID() {
			fresh.stop()
			return nil, assay.Errorf(assay.CodeUnverified, "names key %s now; it began with %s", key.KeyID(), s.key.KeyID())
		}
		*c = fresh
	}
	a, err := (*c).ask(ctx, s.signRequest(message))
	if err == nil && a.Error != "" {
		return nil, a.refusal(s.o) // the program itself is well
	}
	if err == nil {
		sig, err = base64.StdEncoding.DecodeString(a.Signature)
		if err != nil || len(sig) == 0 {
			err = assay.Errorf(assay.CodeInternal, "answered without a signature in base64")
		} else if s.key.Verify(message, sig) != nil {
			err = assay.Errorf(assay.CodeUnverified, "gave a signature that key %s refuses; it is not used", s.key.KeyID())
		}
	}
	if err != nil {
		(*c).stop()
		*c = nil
		return nil, err
	}
	return sig, nil
}

// signRequest sends a digest where the algorithm allows it, so that what is signed
// never leaves this process; Ed25519 needs the message.
func (s *Signer) signRequest(message []byte) request {
	if _, whole := s.key.Public().(ed25519.PublicKey); whole {
		return request{Op: opSign, Message: base64.StdEncoding.EncodeToString(message)}
	}
	sum := sha256.Sum256(message)
	return request{Op: opSign, Digest: base64.StdEncoding.EncodeToString(sum[:])}
}

// Close stops the program. Requests that wait are answered with assay.CodeUnavailable.
func (s *Signer) Close() error {
	var c *child
	select { // another Close may be under way
	case <-s.ended:
		return nil
	case c = <-s.turn:
	}
	close(s.ended)
	if c != nil {
		c.stop()
	}
	return nil
}

// inProgram says which program an error is about.
func (s *Signer) inProgram(err error) error {
	code := assay.CodeOf(err)
	if code == assay.CodeInternal && !isOurs(err) {
		code = assay.CodeUnavailable
	}
	out := assay.Errorf(code, "signer program %s: %w", s.o.Program, err)
	if e, ok := errors.AsType[*assay.Error](err); ok {
		out.Hint = e.Hint
		plain := *e
		plain.Hint = ""
		out.Msg = "signer program " + s.o.Program + ": " + plain.Error()
	}
	return out
}

func isOurs(err error) bool {
	_, ok := errors.AsType[*assay.Error](err)
	return ok
}
