package main

import (
	"context"
	"fmt"
	"time"

	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

// attestationFlags say what an attestation is expected to be.
type attestationFlags struct {
	pub, bundle, proof string
	digest             string
	resource           string
	levels, verifiers  []string
	maxAge             time.Duration
	evidence           []string
	unenforced         bool
}

func (a *app) attestationCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "attestation", Short: "Verify attestations: ours and others'"}
	cmd.AddCommand(a.attestationVerifyCmd())
	return cmd
}

func (a *app) attestationVerifyCmd() *cobra.Command {
	var f attestationFlags
	cmd := &cobra.Command{
		Use:   "verify [ARTIFACT]",
		Short: "Verify a SLSA verification summary in the seven steps of the specification",
		Long: `Verify a SLSA verification summary in the seven steps of the specification.

Reads the artifact, the bundle or proof file and the public file. Needs no
network, no server and no state directory, and changes nothing. With --proof the ledger entry is
verified as well; with --policy and --evidence the files must be the very ones
that the gate used.

Exit codes: 0 verified · 1 error · 2 usage · 3 not verified.`,
		Example: `  assay attestation verify bin/app --proof app.proof.json --pub assay.pub --resource pkg:generic/app
  assay attestation verify bin/app --bundle app.sigstore.json --pub cosign.pub --resource pkg:generic/app --level SLSA_BUILD_LEVEL_3 --allow-verifier https://example.com/verifier`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
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
	fs.StringVar(&f.pub, "pub", "", "public file of the signer (assay.pub, or cosign's)")
	fs.StringVar(&f.bundle, "bundle", "", "Sigstore bundle or DSSE envelope to verify")
	fs.StringVar(&f.proof, "proof", "", "proof file to verify: attestation and ledger entry")
	fs.StringVar(&f.digest, "digest", "", "digest of the artifact, instead of a file")
	fs.StringVar(&f.resource, "resource", "", "resource URI that the attestation must be for")
	fs.StringArrayVar(&f.levels, "level", nil, "level that must be granted; may be repeated")
	fs.StringArrayVar(&f.verifiers, "allow-verifier", nil, "verifier.id that the key may sign (default --verifier-id); may be repeated")
	fs.DurationVar(&f.maxAge, "max-age", 0, "refuse attestations older than this")
	fs.StringArrayVar(&f.evidence, "evidence", nil, "report that must be among the inputs; may be repeated")
	fs.BoolVar(&f.unenforced, "allow-unenforced", false, "accept the verdict of a gate in dry-run or warn mode")
	for _, name := range []string{"pub", "resource"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}

func (a *app) verifyAttestation(ctx context.Context, f attestationFlags, args []string) (attest.Report, error) {
	if (f.bundle == "") == (f.proof == "") {
		return attest.Report{}, usageError{fmt.Errorf("give either --bundle or --proof")}
	}
	public, err := loadPublic(f.pub)
	if err != nil {
		return attest.Report{}, err
	}
	want, err := a.expected(ctx, f, args)
	if err != nil {
		return attest.Report{}, err
	}
	trust := trustPolicy(public, f.verifiers, a.cfg.get("verifier-id"))
	if f.proof != "" {
		data, err := readFile(f.proof, attest.MaxProof)
		if err != nil {
			return attest.Report{}, err
		}
		return artifact.VerifyProof(data, trust, want, public.ledger, a.now()), nil
	}
	data, err := readFile(f.bundle, attest.MaxBundle)
	if err != nil {
		return attest.Report{}, err
	}
	return attest.Verify(data, trust, want, a.now()), nil
}

func (a *app) expected(ctx context.Context, f attestationFlags, args []string) (attest.Expect, error) {
	subject, err := gateFlags{digest: f.digest}.subject(args)
	if err != nil {
		return attest.Expect{}, err
	}
	want := attest.Expect{
		Subject: string(subject.Digest), ResourceURI: f.resource, Levels: f.levels,
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

func trustPolicy(public publicKeys, verifiers []string, def string) attest.TrustPolicy {
	if len(verifiers) == 0 {
		verifiers = []string{def}
	}
	var trust attest.TrustPolicy
	for _, k := range public.keys {
		trust.Keys = append(trust.Keys, attest.TrustedKey{Key: k, VerifierIDs: verifiers})
	}
	return trust
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
	if r.OK() {
		fmt.Fprintln(a.out, a.out.Paint(term.Green, "verified"))
	} else {
		fmt.Fprintln(a.out, a.out.Paint(term.Vermilion, "NOT verified"))
	}
}
