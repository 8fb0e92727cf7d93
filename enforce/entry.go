package enforce

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

// Refusal says why a version may not be entered: the first step of the
// verification that did not hold. Steps 1 to 9 are attest.Verify's.
type Refusal struct {
	Step   int    `json:"step"`
	Name   string `json:"name"`   // of the step: "signature", "subject digest", "time", "revocation"
	Detail string `json:"detail"` // one sentence: what was found, and what was expected
}

// Err is the refusal as an error with assay.CodeDenied.
func (r *Refusal) Err(version string) error {
	e := assay.Errorf(assay.CodeDenied, "version %s is refused entry: step %d (%s): %s", version, r.Step, r.Name, r.Detail)
	e.Hint = "attest the artifact and hand its attestation in with the route"
	return e
}

// Doorman verifies attestations against one trust policy and remembers what
// cannot change about them. It is safe for concurrent use.
type Doorman struct {
	dryRun bool

	mu     sync.Mutex
	trust  attest.TrustPolicy
	verify Verify
	known  map[claimKey]*claim // those of the last Build
}

// Verify judges one attestation, in whatever form it comes. attest.Verify is one,
// for bundles and envelopes.
type Verify func(data []byte, trust attest.TrustPolicy, want attest.Expect, now time.Time) attest.Report

// NewDoorman makes a Doorman that believes trust. Routes whose entry mode is not
// enforce are refused unless allowDryRun is set: that choice is the operator's of
// this enforcer, not of whoever writes routes.
func NewDoorman(trust attest.TrustPolicy, allowDryRun bool) *Doorman {
	return &Doorman{trust: trust, dryRun: allowDryRun, verify: attest.Verify}
}

// Believe replaces whom the Doorman believes, and how it verifies; a nil verify is
// attest.Verify. Snapshots that were built before keep what they were built with:
// build anew.
func (d *Doorman) Believe(trust attest.TrustPolicy, verify Verify) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if verify == nil {
		verify = attest.Verify
	}
	d.trust, d.verify, d.known = trust, verify, nil
}

// claimKey is everything that the immutable part of a verification depends on.
type claimKey [sha256.Size]byte

// claim is one attestation, verified but for what time may change.
type claim struct {
	digests []assay.Digest // by which it can be revoked, see digestsOf
	failed  *Refusal       // by a step that no time can mend
	at      time.Time      // when the gate spoke; zero if it does not say
	maxAge  time.Duration
	until   time.Time // end of the first exception it rests on; zero if it rests on none
	excused string    // that exception
	rests   []string  // on all of these exceptions
	steps   int       // of the report, for the numbers of ours
}

// eternity is an instant no summary lies beyond, so that attest.Verify judges
// everything but the time, which is judged per request.
var eternity = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// claimOf verifies data, or finds it verified. Found claims are carried into keep.
func (d *Doorman) claimOf(data json.RawMessage, digest assay.Digest, e Entry, keep map[claimKey]*claim) *claim {
	if canonical, err := json.Marshal(data); err == nil {
		data = canonical
	}
	want := attest.Expect{
		Subject: string(digest), ResourceURI: e.ResourceURI, Levels: e.Levels,
		PolicyDigest: e.PolicyDigest, AllowUnenforced: e.AllowUnenforced,
	}
	sum := sha256.Sum256(data)
	key := claimKey(sha256.Sum256(fmt.Appendf(sum[:], "%q %q %q %q %v %d", want.Subject, want.ResourceURI, want.Levels, want.PolicyDigest, want.AllowUnenforced, e.MaxAge)))
	c, ok := d.known[key]
	if !ok {
		c = d.judge(data, want, time.Duration(e.MaxAge))
		c.digests = digestsOf(data, sum)
	}
	keep[key] = c
	return c
}

// digestsOf are the digests by which an attestation can be revoked: that of its compact
// JSON, as this program writes it wherever a configuration passes, and of a proof file
// that of the bundle in it as well. Spaces that somebody put into a file count nowhere:
// a configuration loses them at the next hop, and a revocation must not end there.
func digestsOf(canonical []byte, sum [sha256.Size]byte) []assay.Digest {
	digests := []assay.Digest{assay.DigestOf(sum)}
	if proof, err := attest.ParseProof(canonical); err == nil {
		digests = append(digests, proof.BundleDigest())
	}
	return digests
}

func (d *Doorman) judge(data []byte, want attest.Expect, maxAge time.Duration) *claim {
	report := d.verify(data, d.trust, want, eternity)
	c := &claim{maxAge: maxAge, steps: len(report.Steps)}
	for _, s := range report.Steps {
		if !s.OK {
			c.failed = &Refusal{Step: s.N, Name: s.Name, Detail: s.Detail}
			return c
		}
	}
	c.at = report.Summary.TimeVerified
	if c.at.IsZero() && maxAge > 0 {
		c.failed = &Refusal{Step: timeStep, Name: "time", Detail: fmt.Sprintf("the summary states no time; expected one at most %s old", maxAge)}
	}
	for _, x := range report.Summary.Exceptions {
		c.rests = append(c.rests, x.ID)
		if c.until.IsZero() || x.ValidUntil.Before(c.until) {
			c.until, c.excused = x.ValidUntil, x.ID
		}
	}
	return c
}

// timeStep is the number of attest.Verify's step about time.
const timeStep = 8

// refuses judges c at an instant. nil lets in.
func (c *claim) refuses(now time.Time, ended *endings) *Refusal {
	age := now.Sub(c.at)
	switch {
	case c.failed != nil:
		return c.failed
	case !c.at.IsZero() && age < -attest.MaxSkew:
		return &Refusal{timeStep, "time", fmt.Sprintf("verified at %s, which lies in the future; expected a time before now", c.at.UTC().Format(time.RFC3339))}
	case c.maxAge > 0 && age > c.maxAge:
		return &Refusal{timeStep, "time", fmt.Sprintf("verified at %s; expected at most %s ago", c.at.UTC().Format(time.RFC3339), c.maxAge)}
	case !c.until.IsZero() && !now.Before(c.until):
		return &Refusal{c.steps + 1, "exception", fmt.Sprintf("the verdict rests on exception %s, which ended at %s", c.excused, c.until.UTC().Format(time.RFC3339))}
	}
	for _, x := range c.digests {
		if ended.revoked[x] {
			return &Refusal{c.steps + 2, "revocation", "attestation " + string(x) + " is revoked"}
		}
	}
	for _, id := range c.rests {
		if ended.withdrawn[id] {
			return &Refusal{c.steps + 1, "exception", fmt.Sprintf("the verdict rests on exception %s, which was revoked", id)}
		}
	}
	return nil
}

// endings is what a Config says no longer counts.
type endings struct {
	revoked   map[assay.Digest]bool // artifacts and attestations
	withdrawn map[string]bool       // exceptions
}

func (c Config) endings() *endings {
	e := &endings{make(map[assay.Digest]bool, len(c.Revoked)), make(map[string]bool, len(c.Withdrawn))}
	for _, x := range c.Revoked {
		e.revoked[x] = true
	}
	for _, id := range c.Withdrawn {
		e.withdrawn[id] = true
	}
	return e
}

// Enter decides whether t may answer a request at now. nil lets it in; so does a
// route in mode dry-run, whose Refusal is then only for the record (pass is true).
func (t *Target) Enter(now time.Time) (refusal *Refusal, pass bool) {
	refusal = t.refusal(now)
	return refusal, refusal == nil || t.Way.Route.Entry.Mode == assay.ModeDryRun
}

func (t *Target) refusal(now time.Time) *Refusal {
	if t.ended.revoked[t.Version.Digest] {
		return &Refusal{11, "revocation", "artifact " + string(t.Version.Digest) + " is revoked"}
	}
	if len(t.claims) == 0 {
		return &Refusal{1, "signature", "cannot be read: there is no attestation"}
	}
	var best *Refusal
	for _, c := range t.claims {
		r := c.refuses(now, t.ended)
		if r == nil {
			return nil
		}
		if best == nil || r.Step > best.Step {
			best = r // of several that fail, the one that got farthest explains most
		}
	}
	return best
}
