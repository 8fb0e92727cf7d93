package gameday

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
)

// The function's sources end in .txt, because they are a program of their own.
//
//go:embed payment/*.txt
var paymentFiles embed.FS

// Names that stand in doors/payment.yaml.
const (
	paymentImage = "registry.example/payment"
	paymentURI   = "pkg:generic/payment"
	paymentGate  = "payment"
	functions    = "functions" // the environment
)

var paymentEntry = enforce.Entry{ResourceURI: paymentURI, Levels: []string{"PAYMENT_RELEASE_GATE"}}

// payment is a play under way in which a function is deployed.
type payment struct {
	*drama
	fn       *Release // as it was built
	tampered *Release // with one byte more
}

func serverlessPayment(d *drama) error {
	p := &payment{drama: d}
	if err := d.declare("payment.yaml"); err != nil {
		return err
	}
	return acts(d.openPage, p.built, p.refusedDeploy, p.bypassedPlatform, p.attested, p.deployed, p.altered, p.recorded)
}

// built tests and builds the function, and a copy that somebody changed afterwards.
func (p *payment) built() error {
	return p.step("build", "the payment function", func() (bool, string, error) {
		dir := p.path("src", paymentGate)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return false, "", err
		}
		for _, name := range []string{"go.mod", "charge.go", "charge_test.go"} {
			text, err := paymentFiles.ReadFile("payment/" + name + ".txt")
			if err != nil {
				return false, "", err
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				return false, "", err
			}
		}
		p.fn = &Release{Version: Version{Name: "payment"}, Binary: p.path("bin", "payment"), Tests: p.path("evidence", "payment-tests.json")}
		if err := p.compile(p.fn, dir); err != nil {
			return false, "", err
		}
		program, err := os.ReadFile(p.fn.Binary)
		if err != nil {
			return false, "", err
		}
		p.tampered = &Release{Version: Version{Name: "payment-tampered"}, Binary: p.path("bin", "payment-tampered")}
		if err := os.WriteFile(p.tampered.Binary, append(program, '\n'), 0o700); err != nil {
			return false, "", err
		}
		return true, "payment: tested and built  " + short(p.fn.Digest), p.tampered.sum()
	})
}

// mayDeploy is what the platform asks before it starts anything: over the API, and
// as a pipeline does, with the command.
func (p *payment) mayDeploy(r *Release, want assay.Outcome, exit int) (string, error) {
	a, why, err := p.may(functions, paymentImage, r.Digest)
	if err != nil {
		return "", err
	}
	let := want == assay.OutcomePass
	p.check(fmt.Sprintf("the deployment of %s is answered with %s", r.Version.Name, want), a.Outcome == want && a.Allowed == let && len(a.Decisions) == 1, "%s", why)
	code := 0
	err = p.run(p.ctx, command{
		name: "assay admit check", path: p.cfg.Exe, env: p.assayEnv("ASSAY_TOKEN=" + p.secrets.platform),
		args: []string{"admit", "check", paymentImage + "@" + string(r.Digest), "--environment", functions, "--server", p.url},
	}, new(bytes.Buffer))
	if err != nil {
		code = exitCode(err)
	}
	p.check(fmt.Sprintf("assay admit check of %s exits %d", r.Version.Name, exit), code == exit, "%d", code)
	return why, nil
}

// refusedDeploy asks the platform to deploy what nobody attested.
func (p *payment) refusedDeploy() error {
	return p.step("deploy", "payment", func() (bool, string, error) {
		why, err := p.mayDeploy(p.fn, assay.OutcomeAbsent, 4)
		return false, "payment  is not deployed: " + why, err
	})
}

// begin runs a function as its platform does.
func (p *payment) begin(r *Release) error {
	ctx, cancel := context.WithTimeout(p.ctx, startTime)
	defer cancel()
	_, line, err := p.start(ctx, command{name: r.Version.Name, path: r.Binary, env: p.environment(), ready: "payment "})
	if err != nil {
		return err
	}
	_, address, _ := strings.Cut(line, " listening on ")
	r.Backend = "http://" + address
	return nil
}

// routes are those of the gateway with one digest behind it.
func (p *payment) routes(r *Release, attestations ...json.RawMessage) enforce.Config {
	return enforce.Config{Routes: []enforce.Route{{
		Name: "payment", Service: "payment", Entry: paymentEntry,
		Versions: []enforce.Version{{Name: "payment", Digest: r.Digest, Backend: r.Backend, Weight: 100, Attestations: attestations}},
	}}}
}

const chargePath = "/charge?order=4711&cents=1999"

// invocations is how often the function itself says it ran.
func (p *payment) invocations(r *Release) (string, error) {
	_, data, err := p.request(http.MethodGet, r.Backend+"/invocations", "", "", nil)
	return strings.TrimSpace(string(data)), err
}

// bypassedPlatform starts the function all the same, past the platform's question.
// The gateway does not let a request through to it.
func (p *payment) bypassedPlatform() error {
	return p.step("invoke", "payment, past the platform", func() (bool, string, error) {
		if err := p.begin(p.fn); err != nil {
			return false, "", err
		}
		if err := p.guard(p.routes(p.fn)); err != nil {
			return false, "", err
		}
		status, refusal, err := p.ask("", chargePath)
		if err != nil {
			return false, "", err
		}
		p.check("an invocation of what nobody attested is refused at the gateway", status == http.StatusForbidden && refusal != "", "%d %s", status, refusal)
		n, err := p.invocations(p.fn)
		p.check("the function did not run", n == "0", "%s invocations", n)
		return false, "payment  runs, and gets no request: " + refusal, err
	})
}

// attested takes the function through its gate.
func (p *payment) attested() error {
	return p.step("gate", "payment", func() (bool, string, error) {
		tests, err := os.Open(p.fn.Tests)
		if err != nil {
			return false, "", err
		}
		defer tests.Close()
		d, err := p.ci.PutEvidence(p.ctx, tests)
		if err != nil {
			return false, "", err
		}
		a, err := p.ci.Attest(p.ctx, api.CheckRequest{
			Gate: paymentGate, Subject: assay.Subject{Name: "payment", Digest: p.fn.Digest},
			Reports: []api.Report{{Digest: d, Source: "payment-tests.json", Origin: assay.OriginLive}},
		})
		if err != nil {
			return false, "", err
		}
		p.check("the function passes its gate", a.Verdict.Outcome == assay.OutcomePass, "%s", a.Verdict.Outcome)
		p.fn.Bundle, p.fn.Fact = a.Bundle, a.Fact
		index, err := p.position(a.Fact)
		return a.Verdict.Outcome == assay.OutcomePass, gateLine("payment", a.Verdict, a.BundleDigest, index), err
	})
}

// deployed asks again, and invokes.
func (p *payment) deployed() error {
	return p.step("deploy", "payment, attested", func() (bool, string, error) {
		why, err := p.mayDeploy(p.fn, assay.OutcomePass, 0)
		if err != nil {
			return false, "", err
		}
		if err := p.route(p.routes(p.fn, p.fn.Bundle), "attested"); err != nil {
			return false, "", err
		}
		if err := p.charged("the attested function"); err != nil {
			return false, "", err
		}
		n, err := p.invocations(p.fn)
		p.check("the function ran once", n == "1", "%s invocations", n)
		return true, "payment  is deployed and invoked: " + why, err
	})
}

// charged asserts that an order is charged through the gateway.
func (p *payment) charged(who string) error {
	status, data, err := p.request(http.MethodGet, p.proxyURL+chargePath, "", "", nil)
	if err != nil {
		return err
	}
	var answer struct{ Order, Authorization string }
	_ = json.Unmarshal(data, &answer) // another answer has no number
	p.check(who+" charges an order", status == http.StatusOK && answer.Order == "4711" && strings.HasPrefix(answer.Authorization, "A-"), "%d %s", status, bytes.TrimSpace(data))
	return nil
}

// altered tries to bring in the tampered copy with the attestation of the good one.
func (p *payment) altered() error {
	return p.step("tamper", "payment with one byte more", func() (bool, string, error) {
		why, err := p.mayDeploy(p.tampered, assay.OutcomeAbsent, 4)
		if err != nil {
			return false, "", err
		}
		if err := p.begin(p.tampered); err != nil {
			return false, "", err
		}
		err = p.route(p.routes(p.tampered, p.fn.Bundle), "tampered")
		p.check("the gateway does not take another digest under the same attestation", err != nil && strings.Contains(err.Error(), "subject"), "%v", err)
		n, err := p.invocations(p.tampered)
		if err != nil {
			return false, "", err
		}
		p.check("the tampered function did not run", n == "0", "%s invocations", n)
		return false, "payment with one byte more  is neither deployed nor routed: " + why, p.charged("what was attested still")
	})
}

// recordTime is how soon answers of the doors are facts; what they let in is
// recorded as a tally every few seconds.
const recordTime = 15 * time.Second

// recorded asserts that what was refused, attested and let in is a fact, and verifies
// the proofs of what decided with the public file alone.
func (p *payment) recorded() error {
	return p.step("ledger", "what happened", func() (bool, string, error) {
		var told []string
		for _, want := range []struct {
			kind   string
			digest assay.Digest
			ledger bool // what was let in for an attestation is operational: the attestation is what is proved
		}{
			{assay.FactAdmissionDenied, p.fn.Digest, true}, {assay.FactAttested, p.fn.Digest, true},
			{assay.FactAdmissionAllowed, p.fn.Digest, false}, {assay.FactAdmissionDenied, p.tampered.Digest, true},
		} {
			f, err := p.factAbout(want.kind, want.digest)
			if err != nil {
				return false, "", err
			}
			p.check(fmt.Sprintf("%s of %s is a fact", want.kind, want.digest.Short()), f.ID != "", "fact %q", f.ID)
			if f.ID == "" || !want.ledger {
				continue
			}
			index, err := p.provedFact(f)
			if err != nil {
				return false, "", err
			}
			told = append(told, fmt.Sprintf("%s #%d", want.kind, index))
		}
		return len(told) == 3, strings.Join(told, " · ") + "   each proved offline", nil
	})
}

// factAbout waits for a fact of a kind that names a digest. An empty one means there is none.
func (w *World) factAbout(kind string, digest assay.Digest) (assay.Fact, error) {
	for deadline := time.Now().Add(recordTime); ; {
		list, err := w.ci.Facts(w.ctx, []string{kind}, "", maxDecisions)
		if err != nil {
			return assay.Fact{}, err
		}
		for _, f := range list {
			if f.Subject == digest || bytes.Contains(f.Payload, []byte(digest)) {
				return f, nil
			}
		}
		if time.Now().After(deadline) {
			return assay.Fact{}, nil
		}
		if err := w.pause(look); err != nil {
			return assay.Fact{}, err
		}
	}
}

// provedFact saves a fact's proof, verifies it as an auditor would, and returns its
// place in the ledger.
func (w *World) provedFact(f assay.Fact) (uint64, error) {
	index, err := w.position(f.ID)
	if err != nil {
		return 0, err
	}
	proof, err := w.ci.Proof(w.ctx, f.ID)
	if err != nil {
		return 0, err
	}
	file := w.path("proofs", string(f.ID)+".proof.json")
	if err := os.WriteFile(file, proof, 0o600); err != nil {
		return 0, err
	}
	_, err = w.assay(w.ctx, "ledger", "verify", file, "--pub", w.path("state", "keys", "assay.pub"))
	w.check(fmt.Sprintf("the proof of %s %s verifies offline", f.Kind, f.ID), err == nil, "%v", err)
	return index, nil
}
