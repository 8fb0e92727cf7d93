package process

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// The operations of the protocol.
const (
	opDescribe = "describe"
	opSign     = "sign"
)

// request is one line to the program.
type request struct {
	ID      uint64 `json:"id"`
	Op      string `json:"op"`
	Key     string `json:"key,omitempty"`     // of describe: opens this key
	Digest  string `json:"digest,omitempty"`  // of sign: SHA-256, base64
	Message string `json:"message,omitempty"` // of sign with Ed25519: the message, base64
}

// answer is one line of the program.
type answer struct {
	ID        uint64 `json:"id"`
	PublicKey string `json:"public_key,omitempty"` // SubjectPublicKeyInfo, DER, base64
	Signature string `json:"signature,omitempty"`  // ASN.1 DER for ECDSA, 64 bytes for Ed25519; base64
	Error     string `json:"error,omitempty"`      // why not, one line
	Retry     bool   `json:"retry,omitempty"`      // the same request may succeed later
}

// refusal is what a program says that is well and cannot do it.
func (a answer) refusal(Options) error {
	code := assay.CodeDenied
	if a.Retry {
		code = assay.CodeUnavailable
	}
	text := a.Error
	if len(text) > 500 {
		text = text[:500] + "…"
	}
	return assay.Errorf(code, "says: %s", strings.ToValidUTF8(text, "?"))
}

// ReadAnswer decodes one line of a signer program, strictly.
func ReadAnswer(line []byte) (id uint64, publicKey, signature string, err error) {
	a, err := readAnswer(line)
	return a.ID, a.PublicKey, a.Signature, err
}

func readAnswer(line []byte) (a answer, err error) {
	if len(line) > MaxAnswer {
		return a, assay.Errorf(assay.CodeTooLarge, "answered with a line of more than %d bytes", MaxAnswer)
	}
	if err := strict.JSON(line, &a); err != nil {
		return a, assay.Errorf(assay.CodeInvalid, "answered what is not understood: %w", err)
	}
	return a, nil
}

// errEnded means that the program ended before it answered.
var errEnded = errors.New("the program ended before it answered")

// child is a running signer program. One goroutine at a time talks to it.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.Closer // its standard output, which programs that it started may hold open
	lines  chan line
	last   uint64
	stderr *tail
	once   sync.Once
}

type line struct {
	data []byte
	err  error
}

func run(o Options) (*child, error) {
	c := &child{cmd: exec.Command(o.Program), lines: make(chan line, 1), stderr: &tail{to: o.Stderr}}
	c.cmd.Env = o.Env
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = stopTime
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "cannot be started: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "cannot be started: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "cannot be started: %w", err)
	}
	c.out = out
	go c.read(out)
	return c, nil
}

// read hands on the program's lines until it ends or writes one that is too long.
func (c *child) read(out io.Reader) {
	r := bufio.NewReaderSize(out, MaxAnswer+1)
	for {
		data, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			err = assay.Errorf(assay.CodeTooLarge, "answered with a line of more than %d bytes", MaxAnswer)
		case err != nil:
			err = errEnded
		}
		c.lines <- line{append([]byte(nil), data...), err} // an unasked line waits here, and is found wrong by its id
		if err != nil {
			close(c.lines)
			return
		}
	}
}

// ask sends one request and awaits its answer. After an error the child is of no use.
func (c *child) ask(ctx context.Context, q request) (answer, error) {
	c.last++
	q.ID = c.last
	data, err := json.Marshal(q)
	if err != nil {
		return answer{}, assay.Errorf(assay.CodeInternal, "request cannot be encoded: %w", err)
	}
	// A program that does not read is found by the clock; stopping it ends the write.
	go func() { _, _ = c.in.Write(append(data, '\n')) }()
	select {
	case <-ctx.Done():
		return answer{}, assay.Errorf(assay.CodeUnavailable, "did not answer in time: %w", ctx.Err())
	case l, open := <-c.lines:
		if !open || errors.Is(l.err, errEnded) {
			c.stop() // what it complained about may still be on its way
			return answer{}, assay.Errorf(assay.CodeUnavailable, "%w: %s", errEnded, cmp.Or(c.stderr.last(), "it gave no reason"))
		}
		if l.err != nil {
			return answer{}, l.err
		}
		a, err := readAnswer(l.data)
		if err == nil && a.ID != q.ID {
			err = assay.Errorf(assay.CodeInvalid, "answered request %d; the request was %d", a.ID, q.ID)
		}
		return a, err
	}
}

// stop ends the program: it is asked to by the end of its input, and made to if it does not.
func (c *child) stop() {
	c.once.Do(func() {
		_ = c.in.Close()
		drained := make(chan struct{})
		go func() {
			for range c.lines { // so that the reader can end
			}
			close(drained)
		}()
		kill := afterStop(func() { _ = c.cmd.Process.Kill(); _ = c.out.Close() })
		<-drained
		_ = c.cmd.Wait() // its exit code says nothing that an answer would not
		kill()
	})
}

// tail keeps the last line of what a program complains about.
type tail struct {
	to   io.Writer
	mu   sync.Mutex
	text string
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.text += string(p)
	if len(t.text) > 2000 {
		t.text = t.text[len(t.text)-2000:]
	}
	t.mu.Unlock()
	if t.to != nil {
		return t.to.Write(p)
	}
	return len(p), nil
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(t.text, "?")), "\n")
	return lines[len(lines)-1]
}

// afterStop calls f once a program has had its time to end by itself, unless the
// returned function is called before.
func afterStop(f func()) (cancel func() bool) { return time.AfterFunc(stopTime, f).Stop }
