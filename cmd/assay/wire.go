package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/client"
	"assay.dev/assay/control"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/posix"
	"assay.dev/assay/policy"
	"assay.dev/assay/policy/dir"
	"assay.dev/assay/policy/rego"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
	"assay.dev/assay/store/sqlite"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
)

// This file alone names adapters: it puts an installation together from a
// configuration. Everything else works on ports.

// maxSalt is the largest salt file, in bytes.
const maxSalt = 1024

// need says what a command wants of the state directory.
type need int

const (
	stateOptional need = iota // use it if it is there or was named
	stateNeeded               // it must be there
	stateSigning              // it must be there with keys, and facts are published
)

// operations are the control plane as commands see it, local or remote.
type operations struct {
	checks
	exceptions
	tokens
	ledgerReads
	close func()
}

// connect opens the control plane that the configuration names.
func (a *app) connect(ctx context.Context, n need) (*operations, error) {
	if server := a.cfg.get("server"); server != "" {
		c, err := client.New(server, a.cfg.get("token"))
		if err != nil {
			return nil, err
		}
		return &operations{c, c, c, c, func() {}}, nil
	}
	if n == stateOptional && !a.cfg.chosen("dir") {
		if _, err := os.Stat(a.cfg.get("dir")); errors.Is(err, fs.ErrNotExist) {
			return a.stateless()
		}
	}
	in, err := a.open(ctx, n == stateSigning, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	caller, err := a.caller(ctx, in.plane)
	if err == nil {
		err = control.CheckNamespace(caller.Namespace)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	s := in.plane.As(caller)
	return &operations{s, s, s, s, in.close}, nil
}

// stateless is a control plane that keeps nothing: for a gate in continuous integration.
func (a *app) stateless() (*operations, error) {
	if err := control.CheckNamespace(a.cfg.get("namespace")); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "assay-evidence-*")
	if err != nil {
		return nil, err
	}
	blobs, err := files.Open(tmp)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	memory := mem.New(mem.Config{})
	plane := control.New(control.Config{
		Store: memory, Blobs: blobs, Policy: a.policySource(), Now: a.now, Rand: rand.Reader,
		VerifierID: a.cfg.get("verifier-id"),
	})
	s := plane.As(a.localCaller())
	return &operations{s, s, s, s, func() {
		_ = errors.Join(memory.Close(), blobs.Close(), os.RemoveAll(tmp)) // temporary: nothing to lose
	}}, nil
}

// installation is an open state directory.
type installation struct {
	plane  *control.Plane
	store  *sqlite.Store
	blobs  *files.Blobs
	ledger *ledger.Ledger // nil before keys exist
	epochs []ledger.Epoch // oldest first
	vkey   string
	seq    *ledger.Sequencer // nil unless signing

	lock    *durable.Lock
	readers []*ledger.Dir
	stop    context.CancelFunc
	done    sync.WaitGroup
	halted  chan error    // the error of a sequencer that stopped for good
	stopped chan struct{} // closed when the sequencer stopped for good
}

// open opens the state directory, alone. With signing it also loads the keys and
// runs the sequencer.
func (a *app) open(ctx context.Context, signing bool, reg *prometheus.Registry) (*installation, error) {
	posix.RedirectLog(a.log)
	data := a.cfg.get("dir")
	if _, err := os.Stat(data); err != nil {
		return nil, &assay.Error{Code: assay.CodeNotFound, File: data, Msg: "is not a state directory", Hint: "create one with: assay key create --dir " + data}
	}
	in := &installation{halted: make(chan error, 1), stopped: make(chan struct{}), stop: func() {}}
	if err := a.openAll(ctx, in, data, signing, reg); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// openAll opens the parts of in; what is open when it fails is the caller's to close.
func (a *app) openAll(ctx context.Context, in *installation, data string, signing bool, reg *prometheus.Registry) (err error) {
	if in.lock, err = durable.LockDir(data); err != nil {
		return err
	}
	if in.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(data, "assay.db"), Upcasters: store.BuiltinUpcasters()}); err != nil {
		return err
	}
	if err = durable.MkdirAll(filepath.Join(data, "blobs"), 0o700); err != nil {
		return err
	}
	if in.blobs, err = files.Open(filepath.Join(data, "blobs")); err != nil {
		return err
	}
	cfg := control.Config{
		Store: in.store, Blobs: in.blobs, Policy: a.policySource(), Now: a.now, Rand: rand.Reader,
		VerifierID: a.cfg.get("verifier-id"), Version: map[string]string{"assay": version()},
	}
	if err = a.openLedger(ctx, in, data, &cfg, signing, reg); err != nil {
		return err
	}
	in.plane = control.New(cfg)
	return nil
}

// openLedger opens the ledger for reading, if its keys exist, and for writing if signing.
func (a *app) openLedger(ctx context.Context, in *installation, data string, cfg *control.Config, signing bool, reg *prometheus.Registry) error {
	public, err := keyfile.LoadPublic(a.publicKeyPath())
	if errors.Is(err, fs.ErrNotExist) && !signing {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &assay.Error{Code: assay.CodeNotFound, File: a.publicKeyPath(), Msg: "does not exist: there are no keys to sign with", Hint: "create them with: assay key create --dir " + data}
	}
	if err != nil {
		return err
	}
	if public.Ledger == "" {
		return &assay.Error{Code: assay.CodeInvalid, File: a.publicKeyPath(), Msg: "names no ledger key"}
	}
	salt, err := readFile(a.saltPath(), maxSalt)
	if err != nil {
		return err
	}
	in.vkey = public.Ledger
	verifier, err := ledger.ParseVerifier(public.Ledger)
	if err != nil {
		return err
	}
	if signing {
		if err := a.startSequencer(ctx, in, data, salt, verifier, cfg, reg); err != nil {
			return err
		}
	}
	if err := in.openReaders(data, salt, verifier); err != nil {
		return err
	}
	cfg.Outbox, cfg.Ledger, cfg.LedgerKey = in.store, in.ledger, public.Ledger
	return nil
}

// startSequencer loads the private keys and starts the one goroutine that moves audit facts into the ledger.
func (a *app) startSequencer(ctx context.Context, in *installation, data string, salt []byte, verifier note.Verifier, cfg *control.Config, reg *prometheus.Registry) error {
	pass, err := a.passphrase()
	if err != nil {
		return err
	}
	signer, err := keyfile.Load(a.attestKeyPath(), pass)
	if err != nil {
		return err
	}
	skey, err := keyfile.LoadLedger(a.ledgerKeyPath(), pass)
	if err != nil {
		return err
	}
	epochs, err := ledger.Epochs(data)
	if err != nil {
		return err
	}
	epoch := max(0, len(epochs)-1)
	opener, err := a.epochOpener(ledger.EpochDir(data, epoch), skey, in.vkey, ledger.EpochOrigin(verifier.Name(), epoch))
	if err != nil {
		return err
	}
	reader, err := ledgerDir(data, epoch)
	if err != nil {
		return err
	}
	in.readers = append(in.readers, reader)
	in.seq, err = ledger.NewSequencer(ledger.SequencerConfig{
		Outbox: in.store, Open: opener, Salt: salt, Log: a.log, Metrics: ledger.NewMetrics(reg),
		Head: reader.ReadCheckpoint, Halted: func(h ledger.Halt) { in.recordHalt(ctx, h) },
	})
	if err != nil {
		return err
	}
	cfg.Signer, cfg.Publishes, cfg.Poke, cfg.Halted = signer, true, in.seq.Poke, in.stopped
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	in.stop = stop
	in.done.Go(func() {
		if err := in.seq.Run(run); err != nil {
			close(in.stopped)
			in.halted <- err
		}
	})
	return nil
}

// epochOpener opens one epoch's tree for the ledger's key under the epoch's name.
func (a *app) epochOpener(path, skey, vkey, origin string) (ledger.Opener, error) {
	signer, err := ledger.ParseSigner(skey, origin)
	if err != nil {
		return nil, err
	}
	verifier, err := ledger.ParseVerifierFor(vkey, origin)
	if err != nil {
		return nil, err
	}
	return posix.Opener(posix.Config{Dir: path, Signer: signer, Verifier: verifier, Log: a.log}), nil
}

func ledgerDir(data string, epoch int) (*ledger.Dir, error) {
	path := ledger.EpochDir(data, epoch)
	if err := durable.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	return ledger.OpenDir(path)
}

func (in *installation) openReaders(data string, salt []byte, verifier note.Verifier) error {
	numbers, err := ledger.Epochs(data)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return nil // nothing was published yet
	}
	for _, n := range numbers {
		d, err := ledgerDir(data, n)
		if err != nil {
			return err
		}
		in.readers = append(in.readers, d)
		origin := ledger.EpochOrigin(verifier.Name(), n)
		v, err := ledger.ParseVerifierFor(in.vkey, origin)
		if err != nil {
			return err
		}
		in.epochs = append(in.epochs, ledger.Epoch{Number: n, Origin: origin, Reader: d, Verifier: v})
	}
	in.ledger, err = ledger.New(in.store, salt, in.epochs)
	return err
}

// close stops the sequencer after what it has under way and releases the directory.
func (in *installation) close() {
	in.stop()
	in.done.Wait()
	for _, r := range in.readers {
		_ = r.Close() // read-only
	}
	if in.store != nil {
		_ = in.store.Close() // everything acknowledged is durable already
	}
	if in.blobs != nil {
		_ = in.blobs.Close()
	}
	if in.lock != nil {
		_ = in.lock.Release()
	}
}

// policySource loads and compiles the policy directory once, when it is first asked for.
func (a *app) policySource() func() (control.Policy, error) {
	if a.policies != nil {
		return a.policies
	}
	return sync.OnceValues(func() (control.Policy, error) { return a.loadPolicy(context.Background()) })
}

func (a *app) loadPolicy(ctx context.Context) (control.Policy, error) {
	path := a.cfg.get("policy")
	rev, err := dir.Load(ctx, path)
	if err != nil {
		return control.Policy{}, err
	}
	engine, err := rego.Compile(ctx, rev)
	if err != nil {
		return control.Policy{}, below(err, path)
	}
	return control.Policy{Revision: rev, URI: policyURI(path), Engine: engine}, nil
}

// restoreLedger opens a new epoch. It runs alone: no sequencer works meanwhile.
func (a *app) restoreLedger(ctx context.Context, headFile string) (int, error) {
	in, err := a.open(ctx, false, prometheus.NewRegistry())
	if err != nil {
		return 0, err
	}
	defer in.close()
	if in.ledger == nil {
		return 0, assay.Errorf(assay.CodeNotFound, "%s has no ledger to restore", a.cfg.get("dir"))
	}
	if headFile == "" {
		if err := in.refuseNeedlessEpoch(ctx, a.cfg.get("dir")); err != nil {
			return 0, err
		}
	}
	pass, err := a.passphrase()
	if err != nil {
		return 0, err
	}
	skey, err := keyfile.LoadLedger(a.ledgerKeyPath(), pass)
	if err != nil {
		return 0, err
	}
	salt, err := readFile(a.saltPath(), maxSalt)
	if err != nil {
		return 0, err
	}
	old := in.epochs[len(in.epochs)-1]
	var raw []byte
	if headFile != "" {
		raw, err = readFile(headFile, ledger.MaxCheckpoint)
	} else {
		raw, err = old.Reader.ReadCheckpoint(ctx)
	}
	if err != nil {
		return 0, err
	}
	head, err := ledger.ParseCheckpoint(raw, old.Origin, old.Verifier)
	if err != nil {
		return 0, inFile(err, headFile)
	}
	return ledger.Restore(ctx, ledger.RestoreConfig{
		Data: a.cfg.get("dir"), Outbox: in.store, Salt: salt, Old: old, OldHead: head, Base: in.epochs[0].Origin,
		OpenAt: func(path, origin string) ledger.Opener {
			return func(ctx context.Context, vet ledger.Vet) (ledger.Tree, error) {
				open, err := a.epochOpener(path, skey, in.vkey, origin)
				if err != nil {
					return nil, err
				}
				return open(ctx, vet)
			}
		},
	})
}

// keyAlgorithms are what attestation keys may use, the default first.
var keyAlgorithms = []string{string(keyfile.ECDSAP256), string(keyfile.Ed25519)}

// publicKeys is what an auditor needs.
type publicKeys struct {
	keys   []attest.Key
	ledger string // C2SP vkey, "" if the file has none
}

// loadPublic reads a public file, ours or cosign's.
func loadPublic(path string) (publicKeys, error) {
	p, err := keyfile.LoadPublic(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = &assay.Error{
			Code: assay.CodeNotFound, File: path, Msg: "does not exist",
			Hint: "assay key create makes one; an auditor asks the signer for it", Err: err,
		}
	}
	return publicKeys{p.Keys, p.Ledger}, err
}

// recordKeys appends the fact that keys were created. The store is made if it does not exist.
func (a *app) recordKeys(ctx context.Context, k publicKeys) error {
	in, err := a.open(ctx, false, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer in.close()
	return in.plane.As(a.localCaller()).RecordKey(ctx, k.keys[0].KeyID(), k.ledger)
}

func createKeyFiles(folder, algorithm string, pass []byte, origin string) (publicKeys, error) {
	c, err := keyfile.Create(folder, keyName, keyfile.CreateOptions{
		Algorithm: keyfile.Algorithm(algorithm), Passphrase: pass, LedgerOrigin: origin,
	})
	return publicKeys{c.Public.Keys, c.Public.Ledger}, err
}

// The policy tools, by the names that the policy commands use.
type (
	policyTests   = rego.TestReport
	policyProblem = rego.Problem
)

const testPassed = rego.TestPassed

func loadRevision(ctx context.Context, path string) (*policy.Revision, error) {
	return dir.Load(ctx, path)
}

func lintPolicy(ctx context.Context, path string) ([]rego.Problem, error) {
	rev, err := dir.Load(ctx, path)
	if err != nil {
		return nil, err
	}
	problems := rego.Lint(rev)
	for i := range problems {
		problems[i].File = filepath.Join(path, problems[i].File)
	}
	return problems, nil
}

func lintFailed(problems []rego.Problem) bool {
	return slices.ContainsFunc(problems, func(p rego.Problem) bool { return p.Level == rego.LevelError })
}

func testPolicy(ctx context.Context, path string) (rego.TestReport, error) {
	rev, err := dir.Load(ctx, path)
	if err != nil {
		return rego.TestReport{}, err
	}
	report, err := rego.Test(ctx, rev)
	for i := range report.Results {
		report.Results[i].File = filepath.Join(path, report.Results[i].File)
	}
	return report, below(err, path)
}

func formatRego(folder, path string, src []byte) ([]byte, error) {
	out, err := rego.Format(path, src)
	return out, below(err, folder)
}
