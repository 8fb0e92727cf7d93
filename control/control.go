// Package control is the control plane: one method for each thing that a person
// or a machine can ask of Assay, with the right to ask it checked first.
//
// The command line calls it directly when it works on a local directory, and
// the server calls it for requests that come over the network; so both do the
// same. Plane is the installation; Session is a Plane seen by one caller.
package control

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/gate"
	"assay.dev/assay/halt"
	"assay.dev/assay/inventory"
	"assay.dev/assay/ledger"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/rollout"
	"assay.dev/assay/store"
)

// Config is what a control plane is made of. Every field is needed unless it says otherwise.
type Config struct {
	Store  store.Store
	Blobs  store.Blobs
	Policy func() (Policy, error) // the policy in force; asked once for each request
	Now    func() time.Time
	Rand   io.Reader
	Home   string // the namespace whose admins keep the installation's keys; "" is policy.DefaultNamespace

	Outbox     store.Outbox        // of Store; goes with Ledger
	Ledger     *ledger.Ledger      // where audit facts are published; nil if this plane has none
	LedgerKey  string              // the ledger's public key, C2SP vkey; goes with Ledger
	Publishes  bool                // a sequencer of this process publishes to Ledger
	Halted     <-chan struct{}     // closed when that sequencer stopped for good; may be nil
	Poke       func()              // tells the sequencer that facts were committed; may be nil
	Signer     attest.Signer       // nil if this plane only checks and does not attest
	Keys       KeyRing             // where the signing key lies; nil if it cannot be replaced from here
	PublicKeys []attest.Key        // that the installation began with; how they ended is in the store
	Running    Running             // knows what runs; nil means the inventory
	Advisories inventory.Database  // newly known vulnerabilities; nil if this plane has none
	VEX        inventory.Documents // words on them that this installation vouches for; may be nil
	Admission  AdmissionConfig     // of the doors
	VerifierID string              // of the VSAs we sign; default assay.DefaultVerifierID
	Version    map[string]string   // of the verifier, for the VSA; may be nil
	Metrics    *Metrics            // of gates and exceptions; nil if nobody counts

	Rollouts *rollout.Controller // carries rollouts out; nil if this plane only shows them
	// Strategies runs the declared strategies; nil if this plane only shows them.
	Strategies *mitigate.Controller
	Enforcer   Enforcer // whose traffic is shown; may be nil
	Books      Books    // of objectives; nil if this plane keeps none
	Watched    Watched  // for anomalies; nil if this plane watches nothing
	Compared   Compared // regions of services; nil if this plane compares none
	History    *History // where history is imported to; nil if this plane keeps no series
	// Halts are the kill switches that are pulled; nil if this plane knows none.
	Halts func() ([]halt.Pulled, error)
}

// Policy is a policy revision and the engine that was compiled from it.
type Policy struct {
	Revision *policy.Revision
	URI      string // where the revision came from, for verdicts
	Engine   gate.Engine
}

// Plane is one installation's control plane. Its methods are safe for concurrent use.
type Plane struct {
	cfg Config

	keyMu   sync.Mutex                    // one change of keys at a time
	current atomic.Pointer[attest.Signer] // that signs now; a rotation replaces Config.Signer

	admission *admission
	imports   importing

	uploads sync.RWMutex // held for reading while an upload is noted, by retention while it removes
	copying sync.RWMutex // held for reading while payloads are copied, by retention throughout
}

// signer is what signs now, nil if nothing does.
func (p *Plane) signer() attest.Signer {
	if s := p.current.Load(); s != nil {
		return *s
	}
	return nil
}

// New returns a control plane over what cfg names.
func New(cfg Config) *Plane {
	if cfg.VerifierID == "" {
		cfg.VerifierID = assay.DefaultVerifierID
	}
	if cfg.Poke == nil {
		cfg.Poke = func() {}
	}
	p := &Plane{cfg: cfg}
	if cfg.Running == nil {
		p.cfg.Running = inventoried{p}
	}
	if cfg.Signer != nil {
		p.current.Store(&cfg.Signer)
	}
	p.admission = p.newAdmission()
	return p
}

// Caller is who asks.
type Caller struct {
	Name      string // the actor in facts
	Namespace string // the only namespace the caller sees
	Roles     []api.Role
}

// Has reports whether the caller holds a role.
func (c Caller) Has(role api.Role) bool { return slices.Contains(c.Roles, role) }

// Session is the control plane as one caller may use it.
type Session struct {
	p      *Plane
	caller Caller
}

// As returns the plane as c sees it.
func (p *Plane) As(c Caller) *Session { return &Session{p: p, caller: c} }

// require refuses a caller who holds none of the roles.
func (s *Session) require(roles ...api.Role) error {
	if slices.ContainsFunc(roles, s.caller.Has) {
		return nil
	}
	return &assay.Error{
		Code: assay.CodeDenied,
		Msg: fmt.Sprintf("%q has the roles %s; this needs %s",
			s.caller.Name, orNone(words(s.caller.Roles)), strings.Join(words(roles), " or ")),
		Hint: "whoever has the role admin makes a token with another: assay token create NAME --role " + string(roles[0]),
	}
}

// read refuses a caller without a role that reads.
func (s *Session) read() error { return s.require(api.Readers...) }

// CheckNamespace accepts 1 to 63 lower-case letters, digits and inner hyphens.
func CheckNamespace(ns string) error {
	ok := len(ns) >= 1 && len(ns) <= 63 && !strings.HasPrefix(ns, "-") && !strings.HasSuffix(ns, "-") &&
		strings.Trim(ns, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	if !ok {
		return &assay.Error{
			Code: assay.CodeInvalid, Field: "namespace",
			Msg: "is not 1 to 63 lower-case letters, digits and inner hyphens",
		}
	}
	return nil
}

// Lengths of texts in requests, in bytes.
const (
	maxName = 200
	maxText = 1000 // paths and URIs
)

func checkName(field, name string) error { return checkPrintable(field, name, maxName) }

func checkText(field, text string) error { return checkPrintable(field, text, maxText) }

// checkPrintable refuses what could make two texts look alike or break a line.
func checkPrintable(field, s string, limit int) error {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	if s == "" || len(s) > limit || strings.TrimSpace(s) != s || !utf8.ValidString(s) || strings.ContainsFunc(s, hidden) {
		return &assay.Error{
			Code: assay.CodeInvalid, Field: field,
			Msg: fmt.Sprintf("is not 1 to %d bytes of printable characters without outer blanks", limit),
		}
	}
	return nil
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
