package main

import (
	"context"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/gate"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

// attestationFlags say what an attestation is expected to be.
type attestationFlags struct {
	believe       believeFlags
	bundle, proof string
	digest        string
	kind          string // of the document; "" is a verification summary
	resource      string
	levels        []string
	maxAge        time.Duration
	evidence      []string
	unenforced    bool
	registry      registryFlags
}

func (a *app) attestationCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "attestation", Short: "Verify attestations, ours and others', and keep them in registries"}
	cmd.AddCommand(a.attestationVerifyCmd(), a.attestationCreateCmd(), a.attestationPushCmd(), a.attestationDiscoverCmd(), a.attestationPullCmd())
	return cmd
}

func (a *app) attestationVerifyCmd() *cobra.Command {
	var f attestationFlags
	cmd := &cobra.Command{
		Use:   "verify [ARTIFACT]",
		Short: "Verify an attestation: a SLSA verification summary in the seven steps of the specification, or any other",
		Long: `Verify an attestation: a SLSA verification summary in the seven steps of the specification, or any other.

Whoever signed is believed by a key (--pub) or by the identity that a certificate
was issued to (--certificate-identity and --certificate-oidc-issuer, checked with a
pinned --trusted-root). What is no summary is asked for with --type: a predicate
type, a short name of one (test-result, vulns, spdx, cyclonedx, slsaprovenance1 …),
any, or signature for a plain signature of the file.

With a trusted root, a log entry, an instant of signing that a log or timestamp
authority vouches for and, of certificates, a place in a certificate log are
demanded; --insecure-ignore-tlog and --insecure-ignore-sct take that away.

Reads the artifact, the bundle or proof file and the public file. Needs no
network, no server and no state directory, and changes nothing; with --registry it
reads the attestations of an image from there. With --proof the ledger entry is
verified as well; with --policy and --evidence the files must be the very ones
that the gate used.

Exit codes: 0 verified · 1 error · 2 usage · 3 not verified · 4 with --registry: there is none, or an expected one is missing.`,
		Example: `  assay attestation verify bin/app --proof app.proof.json --pub assay.pub --resource pkg:generic/app
  assay attestation verify bin/app --bundle app.sigstore.json --pub cosign.pub --resource pkg:generic/app --level SLSA_BUILD_LEVEL_3 --allow-verifier https://example.com/verifier
  assay attestation verify bin/app --bundle app.sigstore.json --trusted-root trusted_root.json --certificate-identity https://github.com/acme/app/.github/workflows/ci.yml@refs/tags/v1 --certificate-oidc-issuer https://token.actions.githubusercontent.com --type slsaprovenance1
  assay attestation verify --registry registry.example/team/app@sha256:… --pub assay.pub --resource pkg:oci/team/app`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.registry.image != "" {
				return a.verifyInRegistry(cmd.Context(), f, args)
			}
			report, err := a.verifyAttestation(cmd.Context(), f, args)
			if err != nil {
				return err
			}
			if err := a.print(report, func() { a.printSteps(report) }); err != nil {
				return err
			}
			if !report.OK() {
				return exit(exitFailed)
			}
			return nil
		},
	}
	fs := cmd.Flags()
	f.believe.add(fs)
	fs.StringVar(&f.bundle, "bundle", "", "Sigstore bundle or DSSE envelope to verify")
	fs.StringVar(&f.proof, "proof", "", "proof file to verify: attestation and ledger entry")
	fs.StringVar(&f.digest, "digest", "", "digest of the artifact, instead of a file")
	fs.StringVar(&f.kind, "type", "", "what it must be, if not a verification summary: a predicate type or short name, any, or signature")
	fs.StringVar(&f.resource, "resource", "", "resource URI that the summary must be for")
	fs.StringArrayVar(&f.levels, "level", nil, "level that must be granted; may be repeated")
	fs.DurationVar(&f.maxAge, "max-age", 0, "refuse attestations older than this")
	fs.StringArrayVar(&f.evidence, "evidence", nil, "report that must be among the inputs; may be repeated")
	f.registry.verify(fs)
	fs.BoolVar(&f.unenforced, "allow-unenforced", false, "accept the verdict of a gate in dry-run or warn mode")
	return cmd
}

func (a *app) verifyAttestation(ctx context.Context, f attestationFlags, args []string) (attest.Report, error) {
	if (f.bundle == "") == (f.proof == "") {
		return attest.Report{}, usageError{fmt.Errorf("give one of --bundle, --proof and --registry")}
	}
	trust, err := a.believed(f.believe)
	if err != nil {
		return attest.Report{}, err
	}
	want, err := a.expected(ctx, f, args)
	if err != nil {
		return attest.Report{}, err
	}
	if f.proof != "" {
		data, err := readFile(f.proof, attest.MaxProof)
		if err != nil {
			return attest.Report{}, err
		}
		return artifact.VerifyProof(data, trust.Policy, want, trust.Ledger, a.now()), nil
	}
	data, err := readFile(f.bundle, attest.MaxBundle)
	if err != nil {
		return attest.Report{}, err
	}
	return attest.Verify(data, trust.Policy, want, a.now()), nil
}

func (a *app) expected(ctx context.Context, f attestationFlags, args []string) (attest.Expect, error) {
	subject, err := gateFlags{digest: f.digest}.subject(args)
	if err != nil {
		return attest.Expect{}, err
	}
	if err := f.checkType(); err != nil {
		return attest.Expect{}, err
	}
	want := attest.Expect{
		Subject: string(subject.Digest), Type: f.kind, ResourceURI: f.resource, Levels: f.levels,
		MaxAge: f.maxAge, AllowUnenforced: f.unenforced,
	}
	if a.cfg.chosen("policy") {
		rev, err := loadRevision(ctx, a.cfg.get("policy"))
		if err != nil {
			return want, err
		}
		want.PolicyDigest = rev.Digest()
	}
	for _, path := range f.evidence {
		d, err := digestFile(path)
		if err != nil {
			return want, err
		}
		want.Evidence = append(want.Evidence, d)
	}
	return want, nil
}

// checkType refuses what does not go together. What is asked of summaries would
// be silently left unchecked of anything else.
func (f *attestationFlags) checkType() error {
	if f.kind == "vsa" || f.kind == assay.VSAPredicateType {
		f.kind = ""
	}
	summary := f.kind == ""
	switch {
	case summary && f.resource == "":
		return usageError{fmt.Errorf("--resource is needed: a summary for something else proves nothing")}
	case summary:
		return nil
	case f.resource != "" || len(f.levels) > 0 || len(f.evidence) > 0 || f.unenforced:
		return usageError{fmt.Errorf("--resource, --level, --evidence and --allow-unenforced are about verification summaries; leave --type away")}
	}
	if _, err := attest.PredicateTypes(f.kind); err != nil {
		return usageError{fmt.Errorf("--type: %w", err)}
	}
	return nil
}

func (a *app) printSteps(r attest.Report) {
	for _, s := range r.Steps {
		sign := a.out.Paint(term.Green, "✓")
		switch {
		case !s.Reached:
			sign = a.out.Paint(term.Grey, "-")
		case !s.OK:
			sign = a.out.Paint(term.Vermilion, "✗")
		}
		fmt.Fprintf(a.out, "%s %2d %-16s %s\n", sign, s.N, s.Name, s.Detail)
	}
	for _, x := range r.Exceptions {
		sign := a.out.Paint(term.Grey, "·")
		if !a.now().Before(x.ValidUntil) {
			sign = a.out.Paint(term.Vermilion, "!")
		}
		fmt.Fprintf(a.out, "%s rests on %s\n", sign, gate.RestsOn(x, a.now()))
	}
	if r.OK() {
		fmt.Fprintln(a.out, a.out.Paint(term.Green, "verified"))
	} else {
		fmt.Fprintln(a.out, a.out.Paint(term.Vermilion, "NOT verified"))
	}
}
