package gameday

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/client"
	"assay.dev/assay/internal/durable"
)

// Config says where a World lives and what it is made of.
type Config struct {
	Exe    string    // the assay binary that every child runs
	Dir    string    // everything is below it
	Listen string    // of the control plane, for example "127.0.0.1:7070"; port 0 takes a free one
	Seed   uint64    // of faults and arrivals
	Rate   float64   // requests per second to aim at; 0 is DefaultRate
	Env    []string  // of the parent; children get what of it is not Assay's
	Began  time.Time // when the person asked for it
	Log    Narrator
}

// DefaultRate is the load to aim at, in requests per second.
const DefaultRate = 2000

// Narrator tells a person how a play goes.
type Narrator interface {
	// Step starts a line of progress and returns the function that finishes it,
	// under the name that it then has. ok chooses the sign only: a release that is
	// stopped is a good end with a cross.
	Step(name, doing string) (done func(ok bool, name, result string))
	// Say prints a line that belongs to what was told before.
	Say(line string)
	// Watch shows where a running rollout stands; it is called a few times a second.
	Watch(api.Rollout)
}

// World is a folder with child processes. Open one, play on it, Close it. One
// goroutine plays.
type World struct {
	cfg     Config // Dir is absolute
	shown   string // the folder as the person gave it
	lock    *durable.Lock
	spawn   *spawner
	ctx     context.Context // ends when a child dies
	outside context.Context // the caller's
	fail    context.CancelCauseFunc

	closed   sync.Once
	closeErr error

	mu       sync.Mutex
	children []*Child
	load     []LoadReport

	url      string // of the control plane
	proxyURL string // of the data side
	control  string // address of the proxy's control API
	server   *Child
	secrets  secrets
	ci       *client.Client // gathers evidence, asks for gates
	platform *client.Client // runs versions, says where they answer, starts rollouts
	manager  *client.Client // approves
	admin    *client.Client // changes keys; nil unless hasAdmin
	hasAdmin bool           // set before Serve

	releases  map[string]*Release
	checks    []Check
	closers   []func() // of what else listens, called by Close
	serveArgs []string // more for the control plane
	serveEnv  []string // more of its environment
	noProxy   bool     // nothing is routed in this play, so the control plane knows of no proxy
	playing   string   // put before the names of checks, if several plays share the world
	wire      *wire    // that telemetry goes over; nil if it goes directly
	readyMS   int64
}

// secrets are the credentials of one world. They are files below it as well, for
// people who look around.
type secrets struct {
	passphrase, control, ci, platform, agent, manager, admin string
}

// folders are what a world makes below its directory, and all that it removes.
var folders = []string{"bin", "evidence", "logs", "policies", "proofs", "src", "state", "tmp", "tokens"}

// markFile says that a folder is a world's own.
const markFile = "gameday.json"

type mark struct {
	Kind string    `json:"kind"`
	Made time.Time `json:"made"`
}

const markKind = "assay.dev/gameday"

// Open claims cfg.Dir for a new world. A folder that holds anything else than a
// finished world is refused, so that nothing of anybody's is ever replaced.
func Open(ctx context.Context, cfg Config) (*World, error) {
	if cfg.Rate == 0 {
		cfg.Rate = DefaultRate
	}
	listen, err := freeAddress(ctx, cfg.Listen)
	if err != nil {
		return nil, err
	}
	cfg.Listen = listen
	shown := cfg.Dir
	if cfg.Dir, err = filepath.Abs(shown); err != nil {
		return nil, err
	}
	lock, err := claim(shown)
	if err != nil {
		return nil, err
	}
	w := &World{cfg: cfg, shown: shown, lock: lock, spawn: newSpawner(), releases: map[string]*Release{}, outside: ctx}
	w.ctx, w.fail = context.WithCancelCause(ctx)
	if err := w.furnish(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// freeAddress checks that an address can be listened on, and chooses the port of one without.
func freeAddress(ctx context.Context, address string) (string, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", &assay.Error{Code: assay.CodeConflict, Msg: "the address " + address + " is in use", Hint: "stop who uses it or choose another with --listen"}
	}
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// claim locks dir and empties it if it is a finished world.
func claim(dir string) (*durable.Lock, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := ours(dir, entries); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := durable.LockDir(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range folders {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return nil, errors.Join(err, lock.Release())
		}
	}
	return lock, nil
}

// ours refuses a folder with anything in it that no world made.
func ours(dir string, entries []fs.DirEntry) error {
	refuse := func(what string) error {
		return &assay.Error{
			Code: assay.CodeConflict, File: dir, Msg: what,
			Hint: "choose an empty or a new folder with --dir",
		}
	}
	marked := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == markFile:
			data, err := os.ReadFile(filepath.Join(dir, name))
			var m mark
			marked = err == nil && json.Unmarshal(data, &m) == nil && m.Kind == markKind
		case name != durable.LockName && !slices.Contains(folders, name):
			return refuse("holds " + name + ", which no demo made")
		}
	}
	if len(entries) > 0 && !marked && !(len(entries) == 1 && entries[0].Name() == durable.LockName) {
		return refuse("is not empty and was not made by a demo")
	}
	return nil
}

// furnish makes the folders, the policies and the passphrase.
func (w *World) furnish() error {
	data, err := json.Marshal(mark{markKind, w.cfg.Began.UTC()})
	if err != nil {
		return err
	}
	// Before anything else, so that a world that dies half-made can be replaced.
	if err := os.WriteFile(filepath.Join(w.cfg.Dir, markFile), append(data, '\n'), 0o600); err != nil {
		return err
	}
	for _, name := range folders {
		if err := os.MkdirAll(w.path(name), 0o700); err != nil {
			return err
		}
	}
	w.secrets.passphrase, w.secrets.control = secret(), secret()
	if err := os.WriteFile(w.path("tokens", "passphrase"), []byte(w.secrets.passphrase+"\n"), 0o600); err != nil {
		return err
	}
	list, err := fs.ReadDir(policyFiles, "policies")
	if err != nil {
		return err
	}
	for _, f := range list {
		text, err := fs.ReadFile(policyFiles, "policies/"+f.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(w.path("policies", f.Name()), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Close stops every child, whatever it is at, and gives the folder back. It may be
// called again.
func (w *World) Close() error {
	w.closed.Do(func() { w.closeErr = w.close() })
	return w.closeErr
}

func (w *World) close() error {
	w.fail(context.Canceled)
	w.mu.Lock()
	children := slices.Clone(w.children)
	w.mu.Unlock()
	for _, c := range slices.Backward(children) { // who calls goes before who is called
		c.signal(syscall.SIGTERM)
	}
	for _, c := range slices.Backward(children) {
		c.stop()
	}
	w.spawn.close()
	if w.wire != nil {
		w.wire.close()
	}
	for _, f := range w.closers {
		f()
	}
	return w.lock.Release()
}

// Context ends when the caller's does, or with the reason when a child dies.
func (w *World) Context() context.Context { return w.ctx }

// Processes are the children that run, by name.
func (w *World) Processes() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for _, c := range w.children {
		select {
		case <-c.ended:
		default:
			out[c.Name] = c.PID
		}
	}
	return out
}

func (w *World) adopt(c *Child) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.children = append(w.children, c)
}

// path is a path below the world's folder.
func (w *World) path(elem ...string) string {
	return filepath.Join(append([]string{w.cfg.Dir}, elem...)...)
}

// environment is the parent's without anything that speaks of Assay, with a
// temporary folder of the world's own.
func (w *World) environment(more ...string) []string {
	keep := slices.DeleteFunc(slices.Clone(w.cfg.Env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "ASSAY_") || name == "TMPDIR"
	})
	return append(append(keep, "TMPDIR="+w.path("tmp"), "NO_COLOR=1"), more...)
}

// secret is a fresh one of 32 characters.
func secret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Check is one asserted outcome.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Got  string `json:"got"`
}

// check records whether an outcome is as described.
func (w *World) check(name string, ok bool, format string, args ...any) {
	w.checks = append(w.checks, Check{w.playing + name, ok, fmt.Sprintf(format, args...)})
}

// Failed are the outcomes that did not come out as described.
func Failed(checks []Check) (out []Check) {
	for _, c := range checks {
		if !c.OK {
			out = append(out, c)
		}
	}
	return out
}
