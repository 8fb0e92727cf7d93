package gameday

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
)

// compromise is a play under way in which the key that signs attestations is stolen.
type compromise struct {
	*drama
	before, after, forged *Release // signed before the theft, by us after it, by the thief
	since                 time.Time
	routes                enforce.Config
	keyID                 string
}

// shopImage is the name under which the doors know the shop.
const shopImage = "registry.example/shop"

// refusalTime is how long the proxy and the doors may go on believing a key that is
// revoked: both read what they believe again every second.
const refusalTime = 3 * time.Second

func keyCompromise(d *drama) error {
	c := &compromise{drama: d}
	d.hasAdmin = true
	if err := d.declare("shop.yaml"); err != nil {
		return err
	}
	return acts(d.openPage, c.honest, c.stolen, c.believed, c.rotated, c.foreseen, c.revoked, c.again)
}

// honest signs v1 while the key is the installation's alone.
func (c *compromise) honest() (err error) {
	if c.before, err = c.released("v1"); err != nil {
		return err
	}
	keys, err := c.admin.Keys(c.ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Signs {
			c.keyID = k.ID
		}
	}
	c.check("one key signs", len(keys) == 1 && c.keyID != "", "%d keys", len(keys))
	return nil
}

// released builds, judges and runs a version.
func (w *World) released(name string) (*Release, error) {
	r, a, err := w.judged(name)
	if err != nil {
		return nil, err
	}
	w.check(name+" passes the gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	if _, err := w.position(a.Fact); err != nil {
		return nil, err
	}
	return r, w.Run(r, true)
}

// stolen is what happens after the theft, while nobody knows of it: we sign v3, and
// the thief signs v5, in a folder of their own with our key.
func (c *compromise) stolen() (err error) {
	key, err := os.ReadFile(c.path("state", "keys", "assay.key"))
	if err != nil {
		return err
	}
	c.since = time.Now().UTC()
	if c.after, err = c.released("v3"); err != nil {
		return err
	}
	return c.step("theft", "v5 with the stolen key", func() (bool, string, error) {
		if c.forged, err = c.Build(versionNamed("v5")); err != nil {
			return false, "", err
		}
		if err := c.Run(c.forged, true); err != nil {
			return false, "", err
		}
		thief := c.path("tmp", "thief")
		if err := os.MkdirAll(thief, 0o700); err != nil {
			return false, "", err
		}
		file, bundle := filepath.Join(thief, "stolen.key"), filepath.Join(thief, "forged.json")
		if err := os.WriteFile(file, key, 0o600); err != nil {
			return false, "", err
		}
		state := filepath.Join(thief, "state")
		if _, err := c.assay(c.ctx, "key", "create", "--dir", state); err != nil {
			return false, "", err
		}
		args := []string{"attest", c.forged.Binary, "--dir", state, "--key", file, "--gate", gateName, "--evidence", c.forged.Tests, "--bundle", bundle}
		for _, scan := range versionNamed("v1").scans {
			args = append(args, "--evidence", c.path("evidence", scan))
		}
		if _, err := c.assay(c.ctx, args...); err != nil {
			return false, "", err
		}
		c.forged.Bundle, err = os.ReadFile(bundle)
		return false, "v5  the thief has the key, and signs in our name what no gate of ours saw", err
	})
}

// hostOf is where a version answers behind the proxy.
func hostOf(r *Release) string { return r.Version.Name + ".shop.test" }

// believed puts all three behind the proxy: their signatures are good, so they are let in.
func (c *compromise) believed() error {
	return c.step("proxy", "three versions", func() (bool, string, error) {
		for _, r := range []*Release{c.before, c.after, c.forged} {
			good := []json.RawMessage{r.Bundle}
			if r.Fact != "" { // what the ledger knows comes with its proof
				proof, err := c.ci.Proof(c.ctx, r.Fact)
				if err != nil {
					return false, "", err
				}
				good = []json.RawMessage{proof}
			}
			c.routes.Routes = append(c.routes.Routes, enforce.Route{
				Name: serviceName + "-" + r.Version.Name, Service: serviceName, Host: hostOf(r), Entry: shopEntry,
				Versions: []enforce.Version{{Name: r.Version.Name, Digest: r.Digest, Backend: r.Backend, Weight: 100, Attestations: good}},
			})
		}
		if err := c.guard(c.routes); err != nil {
			return false, "", err
		}
		if err := c.answers("before anybody knows", map[*Release]int{c.before: 200, c.after: 200, c.forged: 200}); err != nil {
			return false, "", err
		}
		return true, "v1, v3 and the forged v5 are served: the key is believed", c.doors("before anybody knows", map[*Release]bool{c.before: true, c.after: true})
	})
}

// answers asserts how requests for each version are answered.
func (c *compromise) answers(when string, want map[*Release]int) error {
	for _, r := range []*Release{c.before, c.after, c.forged} {
		code, ok := want[r]
		if !ok {
			continue
		}
		took, status, refusal, err := c.changed(hostOf(r), "/items", code, refusalTime)
		if err != nil {
			return err
		}
		c.check(fmt.Sprintf("%s, a request for %s is answered with %d", when, r.Version.Name, code), status == code, "%d after %.1f s %s", status, took.Seconds(), refusal)
		if code == http.StatusForbidden {
			c.check(fmt.Sprintf("%s, the refusal of %s names the step", when, r.Version.Name), refusal != "", "%s", refusal)
			c.cfg.Log.Say(r.Version.Name + " is refused at the proxy: " + refusal)
		}
	}
	return nil
}

// doors asserts what the door says of each version.
func (c *compromise) doors(when string, want map[*Release]bool) error {
	for _, r := range []*Release{c.before, c.after, c.forged} {
		let, ok := want[r]
		if !ok {
			continue
		}
		a, why, err := c.may("prod", shopImage, r.Digest)
		for deadline := time.Now().Add(refusalTime); err == nil && a.Allowed != let && time.Now().Before(deadline); {
			if err = c.pause(look); err == nil {
				a, why, err = c.may("prod", shopImage, r.Digest)
			}
		}
		if err != nil {
			return err
		}
		name := map[bool]string{true: "lets %s in", false: "refuses %s"}[let]
		c.check(when+", the door "+fmt.Sprintf(name, r.Version.Name), a.Allowed == let, "%s", why)
		if !let {
			c.cfg.Log.Say(r.Version.Name + " is refused at the door: " + why)
		}
	}
	return nil
}

// rotated makes a new key. That alone takes nothing away from the old one.
func (c *compromise) rotated() error {
	return c.step("rotate", "the signing key", func() (bool, string, error) {
		k, err := c.admin.RotateKey(c.ctx, api.KeyRotation{})
		if err != nil {
			return false, "", err
		}
		c.check("another key signs after the rotation", k.Key.Signs && k.Key.ID != c.keyID && k.Old.ID == c.keyID, "%s after %s", k.Key.ID, k.Old.ID)
		c.check("the old key has an end", !k.Old.NotAfter.IsZero(), "%s", k.Old.NotAfter.Format(time.RFC3339))
		return true, fmt.Sprintf("%s signs, %s has ended", k.Key.ID, k.Old.ID), c.answers("after the rotation", map[*Release]int{c.before: 200, c.after: 200})
	})
}

// foreseen asks what a revocation would do.
func (c *compromise) foreseen() error {
	return c.step("foresee", "the revocation", func() (bool, string, error) {
		r, err := c.revoke(true)
		if err != nil {
			return false, "", err
		}
		c.listed("a rehearsal of the revocation", r)
		c.check("a rehearsal changes nothing", r.Fact == "" && r.Key.Revoked == nil, "fact %q", r.Fact)
		return true, fmt.Sprintf("%s would be no longer good, %d stays good, %s", count(r.Total, "attestation"), r.Good, count(len(r.Running), "affected artifact")+" running"),
			c.answers("after the rehearsal", map[*Release]int{c.after: 200})
	})
}

func (c *compromise) revoke(rehearse bool) (api.KeyRevoked, error) {
	return c.admin.RevokeKey(c.ctx, api.KeyRevocationRequest{Key: c.keyID, CompromisedSince: c.since, Reason: "the key was in a build log", DryRun: rehearse})
}

// listed asserts that a revocation lists v3 and where it runs, and not v1.
func (c *compromise) listed(what string, r api.KeyRevoked) {
	c.check(what+" lists the attestation that was signed after the theft", r.Total == 1 && len(r.Affected) == 1 && r.Affected[0].Subject == c.after.Digest && r.Affected[0].Fact == c.after.Fact,
		"%d: %v", r.Total, r.Affected)
	c.check(what+" keeps what was recorded before", r.Good == 1, "%d", r.Good)
	runs := slices.ContainsFunc(r.Running, func(a api.RunningArtifact) bool { return a.Digest == c.after.Digest })
	others := slices.ContainsFunc(r.Running, func(a api.RunningArtifact) bool { return a.Digest != c.after.Digest })
	c.check(what+" lists where it runs", runs && !others, "%v", r.Running)
}

// revoked takes the key's word away from the theft on.
func (c *compromise) revoked() error {
	return c.step("revoke", "the stolen key", func() (bool, string, error) {
		r, err := c.revoke(false)
		if err != nil {
			return false, "", err
		}
		c.listed("the revocation", r)
		for _, a := range r.Running {
			c.cfg.Log.Say("runs: " + a.Digest.Short() + " " + a.Where)
		}
		p, err := c.admin.System().Publication(c.ctx, r.Fact)
		if err != nil {
			return false, "", err
		}
		c.check("the revocation is in the ledger when it is answered", p.Published, "%+v", p)
		const when = "after the revocation"
		if err := c.answers(when, map[*Release]int{c.before: 200, c.after: 403, c.forged: 403}); err != nil {
			return false, "", err
		}
		return true, fmt.Sprintf("since %s: v1 goes on, v3 and the forged v5 get no request", c.since.Format("15:04:05.000")),
			c.doors(when, map[*Release]bool{c.before: true, c.after: false, c.forged: false})
	})
}

// again signs v3 with the new key, which lets it in everywhere. The thief cannot do that.
func (c *compromise) again() error {
	a, err := c.Gate(c.after)
	if err != nil {
		return err
	}
	c.check("v3 passes the gate again", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	return c.step("again", "v3 with the new key", func() (bool, string, error) {
		if _, err := c.position(a.Fact); err != nil {
			return false, "", err
		}
		c.routes.Routes[1].Versions[0].Attestations = []json.RawMessage{c.after.Bundle}
		if err := c.route(c.routes, "attested-again"); err != nil {
			return false, "", err
		}
		const when = "attested again"
		if err := c.answers(when, map[*Release]int{c.before: 200, c.after: 200, c.forged: 403}); err != nil {
			return false, "", err
		}
		return true, "v3  is served and let in again; the forged v5 is not", c.doors(when, map[*Release]bool{c.after: true, c.forged: false})
	})
}
