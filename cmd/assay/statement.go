package main

import (
	"context"
	"fmt"

	"assay.dev/assay/api"
	"github.com/spf13/cobra"
)

// statements is what attestation create needs of a control plane.
type statements interface {
	SignStatement(ctx context.Context, req api.StatementRequest) (api.SignedStatement, error)
}

func (a *app) attestationCreateCmd() *cobra.Command {
	var f gateFlags
	var kind, bundle string
	cmd := &cobra.Command{
		Use:   "create [ARTIFACT]",
		Short: "Sign what a report says about an artifact: an in-toto test result or vulnerability scan",
		Long: `Sign what a report says about an artifact: an in-toto test result or vulnerability scan.

No gate judges the report: the statement says what was found, good or bad, in
the words of in-toto, for tools that read those. For a verdict of a gate use
assay attest.

Reads the artifact (only its digest is used) and the reports. Changes the state
directory, which must have keys (see: assay key create), or asks --server. The
statement is recorded, and the ledger proves that it was.

Exit codes: 0 signed · 1 error · 2 usage.`,
		Example: `  assay attestation create bin/app --type test-result --evidence tests.json --commit "$(git rev-parse HEAD)" --bundle tests.sigstore.json
  assay attestation create bin/app --type vulns --evidence grype.json --bundle scan.sigstore.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(f.evidence) == 0 {
				return usageError{fmt.Errorf("a statement is made of reports: give --evidence")}
			}
			if err := writable("--bundle", bundle); err != nil {
				return err
			}
			ops, err := a.connect(cmd.Context(), stateSigning)
			if err != nil {
				return err
			}
			defer ops.close()
			check, err := a.checkRequest(cmd.Context(), ops, f, args)
			if err != nil {
				return err
			}
			st, err := ops.SignStatement(cmd.Context(), api.StatementRequest{Type: kind, Subject: check.Subject, Reports: check.Reports})
			if err != nil {
				return err
			}
			return a.stated(st, bundle)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&kind, "type", "", "what to state: "+api.StatementTestResult+" or "+api.StatementVulns)
	fs.StringArrayVar(&f.evidence, "evidence", nil, "report that the statement is made of; test reports may be several")
	fs.StringVar(&f.name, "name", "", "name of the artifact in the statement (default: its file name)")
	fs.StringVar(&f.digest, "digest", "", "digest of the artifact, instead of a file: sha256:…")
	fs.StringVar(&f.commit, "commit", "", "source revision the artifact was built from; a full Git id becomes a subject too")
	fs.StringVar(&bundle, "bundle", "", "write the Sigstore bundle to this file")
	for _, name := range []string{"type", "bundle"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}

// stated writes the bundle and says what it holds.
func (a *app) stated(st api.SignedStatement, bundle string) error {
	if err := writeFile(bundle, st.Bundle); err != nil {
		return fmt.Errorf("the statement is recorded as fact %s, but was not written: %w", st.Fact, err)
	}
	return a.print(st, func() {
		fmt.Fprintf(a.out, "states     %s\n           %s\nattested   %s\nfact       %s\nbundle     %s\n", st.PredicateType, st.Says, st.BundleDigest, st.Fact, bundle)
	})
}
