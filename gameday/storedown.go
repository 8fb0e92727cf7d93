package gameday

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/ledger"
)

// outage is a play under way in which the ledger's files cannot be written.
type outage struct {
	*drama
	release *Release
	reports []api.Report
	tiles   string         // the folder that breaks
	kept    []api.Attested // acknowledged while it was broken
	names   []string       // of their subjects
}

const (
	// outageAttestations are recorded while nothing can be published, half of them
	// before the control plane is killed.
	outageAttestations = 10
	// lagTime is how soon a control plane says that it does not get on with publishing.
	lagTime = 10 * time.Second
	// catchUpTime is how soon all is published when the ledger can be written again.
	catchUpTime = 20 * time.Second
)

func attestationStoreDown(d *drama) error {
	o := &outage{drama: d}
	return acts(d.openPage, o.before, o.breaks, func() error { return o.records("while the ledger cannot be written") }, o.says, o.earlier,
		o.killed, func() error { return o.records("after a restart, the ledger still broken") }, o.remains, o.repaired, o.proves, o.audited)
}

// before is an attestation of the good days.
func (o *outage) before() (err error) {
	var a api.Attested
	if o.release, a, err = o.judged("v1"); err != nil {
		return err
	}
	o.check("v1 passes the gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	o.reports, err = o.evidence(o.release)
	return err
}

// breaks puts a file where the tree's folder is: nobody can write below it, whoever asks.
func (o *outage) breaks() error {
	return o.step("break", "the ledger's folder", func() (bool, string, error) {
		o.tiles = filepath.Join(ledger.EpochDir(o.path("state"), 0), "tile")
		if err := os.Rename(o.tiles, o.tiles+".away"); err != nil {
			return false, "", err
		}
		return false, "nothing can be written below " + filepath.Join(o.shown, "state") + ": the ledger's tiles are gone", os.WriteFile(o.tiles, nil, 0o600)
	})
}

// repairs gives the folder back.
func (o *outage) repairs() error {
	if err := os.Remove(o.tiles); err != nil {
		return err
	}
	return os.Rename(o.tiles+".away", o.tiles)
}

// records has the gate judge and sign for artifacts that nobody knew, each a name's digest.
func (o *outage) records(when string) error {
	return o.step("record", when, func() (bool, string, error) {
		began, signed := time.Now(), 0
		for range outageAttestations / 2 {
			name := fmt.Sprintf("shop-plugin-%d", len(o.kept)+1)
			a, err := o.ci.Attest(o.ctx, api.CheckRequest{
				Gate: gateName, Subject: assay.Subject{Name: name, Digest: assay.DigestOf(sha256.Sum256([]byte(name)))}, Reports: o.reports,
			})
			if err != nil {
				return false, "", fmt.Errorf("%s, an attestation is not recorded: %w", when, err)
			}
			o.kept, o.names = append(o.kept, a), append(o.names, name)
			if a.Verdict.Outcome == assay.OutcomePass && a.Fact != "" && len(a.Bundle) > 0 {
				signed++
			}
		}
		took := time.Since(began)
		o.check(when+", attestations are signed and acknowledged", signed == outageAttestations/2, "%d in %.1f s", signed, took.Seconds())
		return true, fmt.Sprintf("%d attestations signed, recorded and acknowledged in %.1f s, %s", outageAttestations/2, took.Seconds(), when), nil
	})
}

// readiness is what /readyz says.
func (w *World) readiness() (int, string, error) {
	status, data, err := w.request(http.MethodGet, w.url+"/readyz", "", "", nil)
	return status, strings.Join(strings.Fields(string(data)), " "), err
}

// says asserts that the control plane tells what is wrong, and serves all the same.
func (o *outage) says() error {
	return o.step("lagging", "/readyz", func() (bool, string, error) {
		began := time.Now()
		status, text, err := o.untilReady(true, lagTime)
		if err != nil {
			return false, "", err
		}
		took := time.Since(began)
		o.check("/readyz says that publishing lags, and that requests are served", status == http.StatusOK && lags(text), "%d %s", status, text)
		lag, err := o.series("assay_ledger_lagging_state")
		if err != nil {
			return false, "", err
		}
		o.check("the metric for the alert is set", lag == 1, "%v", lag)
		published, err := o.published(o.ctx)
		if err != nil {
			return false, "", err
		}
		o.check("what cannot be published is not said to be", published == 0, "%d of %d", published, len(o.kept))
		return false, fmt.Sprintf("/readyz: %s   after %.1f s", text, took.Seconds()), nil
	})
}

func lags(text string) bool { return strings.Contains(text, "published=lagging") }

// untilReady asks /readyz until it lags, or no longer does.
func (w *World) untilReady(lagging bool, limit time.Duration) (status int, text string, err error) {
	for deadline := time.Now().Add(limit); ; {
		status, text, err = w.readiness()
		if err != nil || lags(text) == lagging || time.Now().After(deadline) {
			return status, text, err
		}
		if err := w.pause(look); err != nil {
			return status, text, err
		}
	}
}

// published counts the acknowledged attestations that a signed head covers; all of
// them must be recorded.
func (o *outage) published(ctx context.Context) (n int, err error) {
	for i, a := range o.kept {
		p, err := o.ci.Publication(ctx, a.Fact)
		if err != nil {
			return n, fmt.Errorf("the acknowledged attestation of %s is lost: %w", o.names[i], err)
		}
		if !p.Recorded {
			return n, assay.Errorf(assay.CodeInternal, "the acknowledged attestation of %s is not recorded", o.names[i])
		}
		if p.Published {
			n++
		}
	}
	return n, nil
}

// earlier asserts that what was published before the outage is proved as ever.
func (o *outage) earlier() error {
	return o.step("earlier", "v1", func() (bool, string, error) {
		p, err := o.ci.Publication(o.ctx, o.release.Fact)
		o.check("what was published before the outage still is", err == nil && p.Published, "%+v %v", p, err)
		return true, "v1  is published as before", nil
	})
}

// killed takes the control plane away in the middle of the outage.
func (o *outage) killed() error {
	return o.step("kill", "the control plane", func() (bool, string, error) {
		old := o.server
		old.kill()
		if err := o.startServer(); err != nil {
			return false, "", fmt.Errorf("the control plane does not start while its ledger cannot be written: %w", err)
		}
		o.check("the control plane starts although its ledger cannot be written", o.server.PID != old.PID, "%d after %d", o.server.PID, old.PID)
		return true, fmt.Sprintf("kill -9 %d, started again as %d; the ledger is still broken", old.PID, o.server.PID), nil
	})
}

// remains asserts that all that was acknowledged is there, read through the API.
func (o *outage) remains() error {
	return o.step("remain", "all of them", func() (bool, string, error) {
		there := 0
		for i, a := range o.kept {
			f, err := o.ci.Fact(o.ctx, a.Fact)
			if err != nil {
				return false, "", fmt.Errorf("the acknowledged attestation of %s is lost: %w", o.names[i], err)
			}
			bundle, err := o.ci.Bundle(o.ctx, a.BundleDigest)
			if err != nil {
				return false, "", err
			}
			if f.Kind == assay.FactAttested && bytes.Equal(bundle, a.Bundle) {
				there++
			}
		}
		n, err := o.published(o.ctx)
		if err != nil {
			return false, "", err
		}
		o.check("everything acknowledged is recorded, its bundle byte for byte", there == outageAttestations, "%d of %d", there, outageAttestations)
		o.check("nothing is published before the repair", n == 0, "%d", n)
		return true, fmt.Sprintf("%d of %d acknowledged attestations are recorded, none is published", there, len(o.kept)), nil
	})
}

// repaired gives the folder back and waits.
func (o *outage) repaired() error {
	return o.step("repair", "the ledger's folder", func() (bool, string, error) {
		if err := o.repairs(); err != nil {
			return false, "", err
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(o.ctx, catchUpTime)
		defer cancel()
		n := 0
		for n < len(o.kept) {
			var err error
			if n, err = o.published(ctx); err != nil {
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					break
				}
				return false, "", err
			}
			if err := o.pause(look); err != nil {
				return false, "", err
			}
		}
		took := time.Since(began)
		o.check("everything acknowledged is published after the repair", n == outageAttestations, "%d of %d after %.1f s", n, len(o.kept), took.Seconds())
		status, text, err := o.untilReady(false, lagTime)
		if err != nil {
			return false, "", err
		}
		o.check("/readyz says so", status == http.StatusOK && !lags(text), "%d %s", status, text)
		return true, fmt.Sprintf("%d of %d are published %.1f s after the repair", n, len(o.kept), took.Seconds()), nil
	})
}

// proves saves the proof of each and verifies it as an auditor would: no network, no server.
func (o *outage) proves() error {
	return o.step("prove", "all of them", func() (bool, string, error) {
		held := 0
		for i, a := range o.kept {
			proof, err := o.ci.Proof(o.ctx, a.Fact)
			if err != nil {
				return false, "", err
			}
			file := o.path("proofs", o.names[i]+".proof.json")
			if err := os.WriteFile(file, proof, 0o600); err != nil {
				return false, "", err
			}
			_, err = o.assay(o.ctx, "attestation", "verify", "--digest", string(a.Verdict.Subject.Digest), "--proof", file,
				"--pub", o.path("state", "keys", "assay.pub"), "--resource", resourceURI)
			if err != nil {
				o.cfg.Log.Say(fmt.Sprintf("%s does not verify: %v", o.names[i], err))
				continue
			}
			held++
		}
		o.check("every acknowledged attestation is proved offline", held == outageAttestations, "%d of %d", held, outageAttestations)
		return held == len(o.kept), fmt.Sprintf("%d of %d proofs verify with the public file alone", held, len(o.kept)), nil
	})
}

// audited compares the whole ledger with the store, once nobody writes there.
func (w *World) audited() error {
	return w.step("audit", "ledger against store", func() (bool, string, error) {
		w.server.stop()
		_, err := w.assay(w.ctx, "ledger", "audit", "--fsck")
		w.check("ledger and store agree, entry by entry, and an independent checker finds every tile whole", err == nil, "%v", err)
		return err == nil, "ledger and store agree, entry by entry", nil
	})
}
