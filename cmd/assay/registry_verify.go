package main

import (
	"cmp"
	"context"
	"fmt"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/registry"
)

// shown is one attestation that a registry showed, and what its verification found.
type shown struct {
	Bundle  assay.Digest   `json:"bundle"`
	Problem string         `json:"problem,omitempty"` // why it could not be pulled
	Report  *attest.Report `json:"report,omitempty"`
	// Overruled says that a later summary by the same gate, as trusted, is FAILED.
	Overruled assay.Digest `json:"overruled,omitempty"`
}

func (s shown) holds() bool { return s.Report != nil && s.Report.OK() && s.Overruled == "" }

// shownAll is every attestation of the wanted type that a registry showed.
type shownAll struct {
	found
	Attestations []shown `json:"attestations"`
	Verified     bool    `json:"verified"` // one holds, and nothing expected is missing
}

// exit tells attestations that are not there from those that do not hold.
func (s shownAll) exit() error {
	switch {
	case len(s.Missing) > 0 || len(s.Attestations) == 0:
		return exit(exitAbsent)
	case !s.Verified:
		return exit(exitFailed)
	}
	return nil
}

// verifyInRegistry verifies every attestation of an image that its registry shows.
func (a *app) verifyInRegistry(ctx context.Context, f attestationFlags, args []string) error {
	if f.bundle != "" || f.proof != "" {
		return usageError{fmt.Errorf("give one of --registry, --bundle and --proof")}
	}
	trust, err := a.believed(f.believe)
	if err != nil {
		return err
	}
	all, err := a.verifyShown(ctx, f.registry, f.kind, func(image assay.Digest) (func([]byte) attest.Report, error) {
		if len(args) == 0 && f.digest == "" {
			f.digest = string(image)
		}
		want, err := a.expected(ctx, f, args)
		return func(bundle []byte) attest.Report { return attest.Verify(bundle, trust.Policy, want, a.now()) }, err
	})
	if err != nil {
		return err
	}
	if err := a.print(all, func() { a.printShown(all) }); err != nil {
		return err
	}
	return all.exit()
}

// verifyShown pulls every attestation of a type from a registry and verifies it
// with what verifier returns for the image. One that holds is enough: anybody
// may push others. What is expected and not there outweighs it.
func (a *app) verifyShown(ctx context.Context, f registryFlags, kind string, verifier func(image assay.Digest) (func([]byte) attest.Report, error)) (shownAll, error) {
	f.types = []string{cmp.Or(kind, assay.VSAPredicateType)}
	client, there, err := a.discover(ctx, f, f.image)
	if err != nil {
		return shownAll{}, err
	}
	verify, err := verifier(there.Subject)
	if err != nil {
		return shownAll{}, err
	}
	out := shownAll{found: there, Attestations: []shown{}}
	for _, r := range there.Referrers {
		s, wanted, err := verifyOne(ctx, client, f, there, r, verify)
		if err != nil {
			return out, err
		}
		if !wanted {
			out.Excluded++
			continue
		}
		out.Attestations = append(out.Attestations, s)
	}
	overrule(out.Attestations)
	for _, s := range out.Attestations {
		out.Verified = out.Verified || s.holds() && len(out.Missing) == 0
	}
	return out, nil
}

func verifyOne(ctx context.Context, client *registry.Client, f registryFlags, there found, r registry.Referrer, verify func([]byte) attest.Report) (shown, bool, error) {
	data, err := client.Pull(ctx, there.Reference, r)
	if err != nil {
		if assay.CodeOf(err) == assay.CodeUnavailable {
			return shown{}, false, err
		}
		return shown{Bundle: r.Bundle, Problem: oneLine(err)}, true, nil
	}
	// One that does not say beside it what it is may be of another type, which
	// its statement tells. Only Verify decides.
	if is, err := predicateTypeOf(data); r.PredicateType == "" && err == nil && !wantedType(f.types, is) {
		return shown{}, false, nil
	}
	report := verify(data)
	return shown{Bundle: r.Bundle, Report: &report}, true, nil
}

// overrule marks summaries that hold but are older than a FAILED of the same
// gate, which a trusted key signed: a registry keeps both, and the newer one
// counts.
func overrule(list []shown) {
	for i, s := range list {
		if !s.holds() || s.Report.Summary == nil {
			continue
		}
		for _, other := range list {
			if failed(other) && sameGate(other.Report.Summary, s.Report.Summary) &&
				other.Report.Summary.TimeVerified.After(s.Report.Summary.TimeVerified) {
				list[i].Overruled = other.Bundle
			}
		}
	}
}

// failed reports whether everything holds up to the result, which is FAILED.
func failed(s shown) bool {
	if s.Report == nil || s.Report.Summary == nil || s.Report.Summary.VerificationResult != attest.ResultFailed {
		return false
	}
	for _, step := range s.Report.Steps {
		if !step.OK {
			return step.Name == "result"
		}
	}
	return false
}

func sameGate(a, b *attest.Summary) bool {
	gate := func(s *attest.Summary) [2]string {
		if s.Gate == nil {
			return [2]string{}
		}
		return [2]string{s.Gate.Gate, s.Gate.Environment}
	}
	return a.Verifier.ID == b.Verifier.ID && a.ResourceURI == b.ResourceURI && a.Policy.URI == b.Policy.URI && gate(a) == gate(b)
}

func (a *app) printShown(s shownAll) {
	fmt.Fprintln(a.out, s.Reference)
	for _, one := range s.Attestations {
		fmt.Fprintf(a.out, "\nbundle %s\n", one.Bundle)
		if one.Problem != "" {
			fmt.Fprintf(a.out, "%s it could not be pulled: %s\n", a.out.Paint(term.Vermilion, "✗"), one.Problem)
			continue
		}
		a.printSteps(*one.Report)
		if one.Overruled != "" {
			fmt.Fprintf(a.out, "%s overruled: the later verdict of the same gate, bundle %s, is FAILED\n", a.out.Paint(term.Vermilion, "✗"), one.Overruled)
		}
	}
	fmt.Fprintln(a.out)
	a.printWrong(s.found)
	switch {
	case s.Verified:
		fmt.Fprintln(a.out, a.out.Paint(term.Green, "an attestation holds"))
	case len(s.Missing) > 0 || len(s.Attestations) == 0:
		fmt.Fprintln(a.out, a.out.Paint(term.Vermilion, "ABSENT: what must be attested is not"))
	default:
		fmt.Fprintln(a.out, a.out.Paint(term.Vermilion, "NO attestation holds"))
	}
}
