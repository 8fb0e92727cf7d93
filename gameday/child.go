package gameday

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"assay.dev/assay"
)

// stopTime is how long a child may take to end by itself when asked to.
const stopTime = 5 * time.Second

// command is a child to be.
type command struct {
	name  string   // of the child, and of its log
	path  string   // of the program
	args  []string // without the program
	env   []string // all of it
	dir   string   // "" is the world's
	ready string   // beginning of the line that says it works; "" is ready at once
	line  func(string)
	free  bool // it may end by itself: who runs it sees that
}

// Child is one process of a World, the leader of a process group of its own.
type Child struct {
	Name string
	PID  int

	cmd      *exec.Cmd
	out      *output
	ended    chan struct{} // closed when the process is gone
	mu       sync.Mutex
	expected bool // to end: somebody stopped it
	err      error
}

// start runs c and waits for its ready line, which it returns.
func (w *World) start(ctx context.Context, c command) (*Child, string, error) {
	file, err := os.OpenFile(filepath.Join(w.path("logs"), c.name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, "", err
	}
	out := &output{file: file, ready: c.ready, found: make(chan string, 1), each: c.line}
	cmd := exec.Command(c.path, c.args...)
	cmd.Env, cmd.Dir = c.env, c.dir
	if c.dir == "" {
		cmd.Dir = w.cfg.Dir
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = stopTime // a grandchild could hold the pipe
	if err := w.spawn.start(cmd); err != nil {
		return nil, "", errors.Join(fmt.Errorf("%s cannot be started: %w", c.name, err), file.Close())
	}
	child := &Child{Name: c.name, PID: cmd.Process.Pid, cmd: cmd, out: out, ended: make(chan struct{}), expected: c.free}
	w.adopt(child)
	go w.watch(child)
	if c.ready == "" {
		return child, "", nil
	}
	select {
	case line := <-out.found:
		return child, line, nil
	case <-child.ended:
		return nil, "", child.death()
	case <-ctx.Done():
		return nil, "", context.Cause(ctx)
	}
}

// watch waits for a child's end; one that nobody stopped ends the world.
func (w *World) watch(c *Child) {
	err := c.cmd.Wait()
	c.mu.Lock()
	c.err = err
	expected := c.expected
	c.mu.Unlock()
	_ = c.out.file.Close() // a log
	close(c.ended)
	if !expected {
		w.fail(c.death())
	}
}

// death is the error of a child that ended although nobody stopped it.
func (c *Child) death() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	how := "ended by itself"
	if c.err != nil {
		how = "died: " + c.err.Error()
	}
	return &assay.Error{
		Code: assay.CodeUnavailable, Msg: fmt.Sprintf("%s (pid %d) %s; its last lines: %s", c.Name, c.PID, how, c.out.tail()),
		Hint: "all of it is in " + c.out.file.Name(),
	}
}

// signal sends s to the child's whole group.
func (c *Child) signal(s syscall.Signal) {
	c.mu.Lock()
	c.expected = true
	c.mu.Unlock()
	_ = syscall.Kill(-c.PID, s) // gone already if this fails
}

// stop asks the child to end and insists after a while.
func (c *Child) stop() {
	c.signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(stopTime):
	}
	c.kill()
}

// freeze stops the child in its tracks, or lets it go on.
func (c *Child) freeze(still bool) error {
	s := syscall.SIGCONT
	if still {
		s = syscall.SIGSTOP
	}
	return syscall.Kill(-c.PID, s)
}

// kill ends the child's whole group at once and waits until the child is gone.
func (c *Child) kill() {
	c.signal(syscall.SIGKILL)
	<-c.ended
}

// spawner starts processes from one thread that lives as long as it does: the
// kernel ends a child with the thread that started it, see ownGroup.
type spawner struct {
	requests chan func()
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func())}
	go func() {
		lockThread()
		for f := range s.requests {
			f()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	s.requests <- func() { started <- cmd.Start() }
	return <-started
}

func (s *spawner) close() { close(s.requests) }

// keptLines is how much of a child's output is kept for the report of its death.
const keptLines = 8

// maxLine bounds a line that is looked at; longer ones are cut.
const maxLine = 64 << 10

// output writes what a child prints into its log and looks at each line.
type output struct {
	file  *os.File
	ready string
	found chan string
	each  func(string)

	mu      sync.Mutex
	partial []byte
	last    []string
}

// Write implements io.Writer. A log that cannot be written does not end the child.
func (o *output) Write(p []byte) (int, error) {
	_, _ = o.file.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := p
	for {
		before, after, ok := bytes.Cut(rest, []byte{'\n'})
		if !ok {
			break
		}
		o.line(string(append(o.partial, before...)))
		o.partial, rest = o.partial[:0], after
	}
	if len(o.partial)+len(rest) <= maxLine {
		o.partial = append(o.partial, rest...)
	}
	return len(p), nil
}

func (o *output) line(s string) {
	s = strings.TrimRight(s, "\r")
	o.last = append(o.last, s)
	if len(o.last) > keptLines {
		o.last = o.last[1:]
	}
	if o.ready != "" && strings.HasPrefix(s, o.ready) {
		o.ready = ""
		o.found <- s
	}
	if o.each != nil {
		o.each(s)
	}
}

func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.last
	if len(o.partial) > 0 {
		lines = append(lines[:len(lines):len(lines)], string(o.partial))
	}
	if len(lines) == 0 {
		return "none"
	}
	return strings.Join(lines, " | ")
}
