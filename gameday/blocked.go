package gameday

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// blocked is a play under way in which the gate lets nobody through.
type blocked struct {
	*drama
	release   *Release
	asked     api.CheckRequest // of the release, with its evidence
	rule      string           // that refuses everything
	emergency assay.Exception
	fact      assay.Fact // of the bypass
	proof     string     // file
}

// frozen is the mistake: a rule that was meant for another service refuses every
// release of this one.
const frozen = `
# METADATA
# title: Nothing is released during the freeze
deny contains violation if {
	count(input.evidence) > 0
	violation := {
		"rule": "freeze",
		"severity": "high",
		"kind": "sbom",
		"msg": "releases are frozen until the audit has ended",
		"remedy": "wait for the end of the freeze",
	}
}
`

// mistaken is no policy at all.
const mistaken = "package shop\n\ndeny contains violation if {\n"

const (
	// bypassReason is looked for in the store when somebody tries to alter it.
	bypassReason = "INC-42: the checkout is down and the fix is ready"
	// alteredReason has as many bytes.
	alteredReason = "INC-42: everybody agreed that this was not urgent"
	// reloadTime is how soon a control plane takes a policy over that it is told of.
	reloadTime = 10 * time.Second
)

func gateBlocked(d *drama) error {
	b := &blocked{drama: d}
	d.noProxy = true
	if err := d.declare("exceptions.yaml"); err != nil {
		return err
	}
	return acts(d.openPage, b.open, b.noPolicy, b.freeze, b.counted, b.twoPeople, b.bypass, b.unalterable, b.ended, b.alteredStore)
}

// open is the gate as it was: v1 passes.
func (b *blocked) open() error {
	r, a, err := b.judged("v1")
	if err != nil {
		return err
	}
	b.release = r
	b.check("v1 passes the gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
	reports, err := b.evidence(r)
	b.asked = api.CheckRequest{Gate: gateName, Subject: assay.Subject{Name: "shop-v1", Digest: r.Digest}, Reports: reports}
	return err
}

// reload writes the shop's policy and tells the control plane.
func (b *blocked) reload(text []byte) error {
	if err := os.WriteFile(b.path("policies", "shop.rego"), text, 0o600); err != nil {
		return err
	}
	return syscall.Kill(b.server.PID, syscall.SIGHUP)
}

// until asks the gate, without a record, until its verdict is as wanted.
func (b *blocked) until(want assay.Outcome) (v assay.Verdict, err error) {
	for deadline := time.Now().Add(reloadTime); ; {
		v, err = b.ci.Check(b.ctx, b.asked)
		if err != nil || v.Outcome == want || time.Now().After(deadline) {
			return v, err
		}
		if err := b.pause(look); err != nil {
			return v, err
		}
	}
}

// noPolicy is a revision that does not compile: it is refused, and the gate goes on.
func (b *blocked) noPolicy() error {
	return b.step("mistake", "a policy that is none", func() (bool, string, error) {
		if err := b.reload([]byte(mistaken)); err != nil {
			return false, "", err
		}
		said := false
		for deadline := time.Now().Add(reloadTime); !said && time.Now().Before(deadline); {
			log, err := os.ReadFile(b.path("logs", "serve.log"))
			if err != nil {
				return false, "", err
			}
			said = bytes.Contains(log, []byte("the old one stays in force"))
			if err := b.pause(look); err != nil {
				return false, "", err
			}
		}
		v, err := b.ci.Check(b.ctx, b.asked)
		if err != nil {
			return false, "", err
		}
		b.check("a policy that does not compile is refused, and the old one judges", said && v.Outcome == assay.OutcomePass, "said so: %v, v1 %s", said, v.Outcome)
		return true, "a policy that does not compile changes nothing: v1 would pass", nil
	})
}

// freeze is a revision that compiles and refuses everything.
func (b *blocked) freeze() error {
	return b.step("blocked", "every release", func() (bool, string, error) {
		text, err := fs.ReadFile(policyFiles, "policies/shop.rego")
		if err != nil {
			return false, "", err
		}
		if err := b.reload(append(text, frozen...)); err != nil {
			return false, "", err
		}
		v, err := b.until(assay.OutcomeFail)
		if err != nil {
			return false, "", err
		}
		b.check("the gate refuses v1, with one reason and its remedy", v.Outcome == assay.OutcomeFail && v.Blocks() && len(v.Violations) == 1 && v.Violations[0].Remedy != "", "%s, %d violations", v.Outcome, len(v.Violations))
		if len(v.Violations) == 0 {
			return false, "", assay.Errorf(assay.CodeInternal, "the frozen gate gives no reason")
		}
		b.rule = v.Violations[0].Rule
		return false, "v1  " + b.rule + ": " + v.Violations[0].Message, nil
	})
}

// refusals is what /metrics counts of an outcome that stopped somebody.
func (b *blocked) refusals(o assay.Outcome) (float64, error) {
	return b.series(fmt.Sprintf("assay_gate_verdicts_total{blocks=%q,outcome=%q}", "yes", o))
}

// counted asserts that whoever watches the gate sees that it refuses everybody.
func (b *blocked) counted() error {
	return b.step("metrics", "/metrics", func() (bool, string, error) {
		const runs = 5
		failed, err := b.refusals(assay.OutcomeFail)
		if err != nil {
			return false, "", err
		}
		absent, err := b.refusals(assay.OutcomeAbsent)
		if err != nil {
			return false, "", err
		}
		bare := b.asked
		bare.Reports = nil
		for range runs {
			if _, err := b.ci.Attest(b.ctx, b.asked); err != nil {
				return false, "", err
			}
		}
		v, err := b.ci.Attest(b.ctx, bare)
		if err != nil {
			return false, "", err
		}
		b.check("without evidence the gate says absent, not refused", v.Verdict.Outcome == assay.OutcomeAbsent && v.Verdict.Blocks(), "%s", v.Verdict.Outcome)
		failedNow, err := b.refusals(assay.OutcomeFail)
		if err != nil {
			return false, "", err
		}
		absentNow, err := b.refusals(assay.OutcomeAbsent)
		if err != nil {
			return false, "", err
		}
		b.check("/metrics counts each refusal", failedNow-failed == runs && absentNow-absent == 1, "%v refused and %v absent more", failedNow-failed, absentNow-absent)
		return true, fmt.Sprintf("assay_gate_verdicts_total: %v verdicts refused, %v without evidence", failedNow, absentNow), nil
	})
}

// outcome asks the gate for a signed verdict.
func (b *blocked) outcome(when string, want assay.Outcome) (assay.Verdict, error) {
	a, err := b.ci.Attest(b.ctx, b.asked)
	if err != nil {
		return assay.Verdict{}, err
	}
	b.check("v1 "+when+": "+string(want), a.Verdict.Outcome == want, "%s", a.Verdict.Outcome)
	return a.Verdict, nil
}

// excused asserts that a verdict names the exception that it rests on.
func (b *blocked) excused(v assay.Verdict, id string) bool {
	return len(v.Violations) == 1 && v.Violations[0].Exception == id
}

// twoPeople is the way in good order: one asks, another approves.
func (b *blocked) twoPeople() error {
	return b.step("exception", "of two people", func() (bool, string, error) {
		e, err := b.excuse(b.release, b.rule)
		if err != nil {
			return false, "", err
		}
		b.check("two different people excuse it", e.Requester != "" && e.Approver != "" && e.Requester != e.Approver, "%s and %s", e.Requester, e.Approver)
		v, err := b.outcome("under an exception of two people", assay.OutcomePass)
		if err != nil {
			return false, "", err
		}
		b.check("the verdict names the exception", b.excused(v, e.ID), "%+v", v.Violations)
		if _, err := b.manager.RevokeException(b.ctx, e.ID, "the release is out"); err != nil {
			return false, "", err
		}
		_, err = b.outcome("after the exception was revoked", assay.OutcomeFail)
		return true, fmt.Sprintf("v1  asked for by %s, approved by %s: let through, and refused again when it is revoked", e.Requester, e.Approver), err
	})
}

// bypass is the emergency: one person, at once, for at most four hours.
func (b *blocked) bypass() error {
	return b.step("bypass", "in an emergency", func() (bool, string, error) {
		ask := func(end time.Duration) api.BypassRequest {
			return api.BypassRequest{
				Scope: assay.ExceptionScope{Rules: []string{b.rule}, Subjects: []assay.Digest{b.release.Digest}}, Reason: bypassReason, Ticket: "INC-42", NotAfter: time.Now().Add(end),
			}
		}
		_, err := b.platform.BypassException(b.ctx, ask(assay.MaxBypass+time.Minute))
		b.check("a bypass of more than four hours is refused", assay.CodeOf(err) == assay.CodeInvalid, "%v", err)
		_, err = b.ci.BypassException(b.ctx, ask(time.Hour))
		b.check("who only builds cannot bypass", assay.CodeOf(err) == assay.CodeDenied, "%v", err)
		began := time.Now()
		if b.emergency, err = b.platform.BypassException(b.ctx, ask(time.Hour)); err != nil {
			return false, "", err
		}
		v, err := b.outcome("under a bypass", assay.OutcomePass)
		if err != nil {
			return false, "", err
		}
		took := time.Since(began)
		b.check("the bypass is in force at once", b.excused(v, b.emergency.ID) && took < 5*time.Second, "%.2f s from the request to the verdict", took.Seconds())
		b.check("the bypass has an end within four hours, and says what it is", b.emergency.Emergency && !b.emergency.NotAfter.After(time.Now().Add(assay.MaxBypass)), "%+v", b.emergency)
		return true, fmt.Sprintf("v1  let through %.2f s after %s asked, until %s", took.Seconds(), b.emergency.Requester, b.emergency.NotAfter.Format("15:04")), nil
	})
}

// unalterable asserts that the bypass is in the ledger, with who is to be paged, and
// that nobody can make it another one.
func (b *blocked) unalterable() error {
	return b.step("ledger", "the bypass", func() (ok bool, _ string, err error) {
		if b.fact, err = b.factAbout(assay.FactExceptionBypassed, assay.Digest(b.emergency.ID)); err != nil {
			return false, "", err
		}
		b.check("the bypass names who did it, why, and who is to be paged",
			b.fact.Actor == "platform" && bytes.Contains(b.fact.Payload, []byte(bypassReason)) && bytes.Contains(b.fact.Payload, []byte("release-on-call")), "%s: %s", b.fact.Actor, b.fact.Payload)
		index, err := b.provedFact(b.fact)
		if err != nil {
			return false, "", err
		}
		b.proof = b.path("proofs", string(b.fact.ID)+".proof.json")
		_, err = b.manager.ApproveException(b.ctx, b.emergency.ID)
		b.check("nobody can approve it afterwards", err != nil, "%v", err)
		for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
			status, _, err := b.request(method, b.url+"/v1/exceptions/"+b.emergency.ID, "", b.secrets.manager, nil)
			if err != nil {
				return false, "", err
			}
			b.check(method+" of an exception is not offered", status == http.StatusNotFound || status == http.StatusMethodNotAllowed, "%d", status)
		}
		return true, fmt.Sprintf("exception.bypassed #%d by %s, pages release-on-call, proved offline", index, b.fact.Actor), nil
	})
}

// ended revokes the bypass. That is another fact: the first one stays as it was.
func (b *blocked) ended() error {
	return b.step("end", "the bypass", func() (bool, string, error) {
		if _, err := b.manager.RevokeException(b.ctx, b.emergency.ID, "the incident is over"); err != nil {
			return false, "", err
		}
		if _, err := b.outcome("after the bypass was ended", assay.OutcomeFail); err != nil {
			return false, "", err
		}
		again, err := b.ci.Fact(b.ctx, b.fact.ID)
		if err != nil {
			return false, "", err
		}
		b.check("the fact of the bypass is what it was", compact(again.Payload) != "" && compact(again.Payload) == compact(b.fact.Payload), "%s", again.Payload)
		_, err = b.assay(b.ctx, "ledger", "verify", b.proof, "--pub", b.path("state", "keys", "assay.pub"))
		b.check("its proof still holds", err == nil, "%v", err)
		bypassed, err := b.series(`assay_exception_steps_total{step="bypassed"}`)
		b.check("/metrics counts the bypass", bypassed == 1, "%v", bypassed)
		return true, "v1  is refused again; that somebody bypassed the gate stays in the ledger", err
	})
}

// compact is JSON without its white space, which differs between answers.
func compact(data []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, data) != nil {
		return ""
	}
	return out.String()
}

// alteredStore is what whoever owns the disk could try: another reason, in the store
// itself. An audit finds it.
func (b *blocked) alteredStore() error {
	if err := b.audited(); err != nil {
		return err
	}
	return b.step("alter", "the store itself", func() (bool, string, error) {
		changed := 0
		err := filepath.WalkDir(b.path("state"), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(data, []byte(bypassReason)) {
				return err
			}
			changed++
			return os.WriteFile(path, bytes.ReplaceAll(data, []byte(bypassReason), []byte(alteredReason)), 0o600)
		})
		if err != nil {
			return false, "", err
		}
		b.check("the reason could be altered on the disk", changed > 0, "%d files", changed)
		found, err := b.assay(b.ctx, "ledger", "audit")
		b.check("the audit finds the altered fact", exitCode(err) == 3 && strings.Contains(found, string(b.fact.ID)), "%v %s", err, found)
		for line := range strings.Lines(found) {
			b.cfg.Log.Say(strings.TrimSpace(line))
		}
		return false, fmt.Sprintf("the reason was altered in %s of the state directory: the audit finds it", count(changed, "file")), nil
	})
}
