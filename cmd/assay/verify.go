package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/gate"
	"assay.dev/assay/internal/codeowners"
	"github.com/spf13/cobra"
)

// checks is what the gate commands need of a control plane.
type checks interface {
	PutEvidence(ctx context.Context, r io.Reader) (assay.Digest, error)
	Check(ctx context.Context, req api.CheckRequest) (assay.Verdict, error)
	Attest(ctx context.Context, req api.CheckRequest) (api.Attested, error)
	Proof(ctx context.Context, id assay.FactID) ([]byte, error)
}

// gateFlags are shared by verify and attest.
type gateFlags struct {
	gate, environment string
	name, digest      string
	commit            string
	evidence          []string
	recorded          []string
	baseline          []string
	owners            string
	markdown, json    string
	reports           []string
	as, mappings      []string
}

func (f *gateFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.gate, "gate", "", "gate to run (default: the only one of the policy)")
	fs.StringVar(&f.environment, "environment", "", "environment the artifact is to enter")
	fs.StringVar(&f.name, "name", "", "name of the artifact in reports (default: its file name)")
	fs.StringVar(&f.digest, "digest", "", "digest of the artifact, instead of a file: sha256:…")
	fs.StringVar(&f.commit, "commit", "", "source revision the artifact was built from")
	fs.StringArrayVar(&f.evidence, "evidence", nil, "report made for this run; may be repeated")
	fs.StringArrayVar(&f.recorded, "recorded", nil, "report kept from an earlier run, pinned as FILE@sha256:…; may be repeated")
	fs.StringArrayVar(&f.as, "as", nil, "read a report as a format or as a kind of evidence, FILE=FORMAT or FILE=KIND; may be repeated")
	fs.StringArrayVar(&f.mappings, "mapping", nil, "read a JSON report by a mapping, FILE=MAPPING; may be repeated")
	fs.StringArrayVar(&f.baseline, "baseline", nil, "earlier report that measures are compared with; may be repeated")
	fs.StringVar(&f.owners, "owners", "", "CODEOWNERS file: whose the flaky tests are")
	fs.StringArrayVar(&f.reports, "report", nil, "also write the report as FORMAT=FILE, - for standard output: "+strings.Join(gate.Formats, ", ")+", or summary, which adds Markdown to the file; may be repeated")
	fs.StringVar(&f.markdown, "markdown", "", "also write the report as Markdown to this file")
	fs.StringVar(&f.json, "json", "", "also write the verdict as JSON to this file")
}

func (a *app) verifyCmd() *cobra.Command {
	var f gateFlags
	cmd := &cobra.Command{
		Use:   "verify [ARTIFACT]",
		Short: "Run a gate over an artifact: may it ship, and if not, why and what to do",
		Long: `Run a gate over an artifact: may it ship, and if not, why and what to do.

Reads the artifact (only its digest is used), the policy directory and the
reports. With --dir or --server the exceptions kept there count; without, none
do, and nothing is read or written besides the named files.

A report that cannot be read counts as absent evidence: exit code 4, and 1 from a
gate that does not enforce or needs nothing that it could be. Never 0.

Exit codes: 0 pass, or the gate does not enforce · 1 error · 2 usage · 3 fail · 4 absent evidence.`,
		Example: `  assay verify bin/app --evidence tests.json --evidence lint.sarif
  assay verify --name app --digest sha256:… --evidence sbom.json --markdown report.md`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ops, err := a.connect(cmd.Context(), stateOptional)
			if err != nil {
				return err
			}
			defer ops.close()
			req, err := a.checkRequest(cmd.Context(), ops, f, args)
			if err != nil {
				return err
			}
			v, err := ops.Check(cmd.Context(), req)
			if err != nil {
				return err
			}
			if err := a.report(v, f); err != nil {
				return err
			}
			return verdictExit(v)
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) attestCmd() *cobra.Command {
	var f gateFlags
	var bundle, proof string
	cmd := &cobra.Command{
		Use:   "attest [ARTIFACT]",
		Short: "Run a gate, sign its verdict, and publish it in the ledger",
		Long: `Run a gate, sign its verdict as a SLSA verification summary, and publish it in the ledger.

Reads the artifact (only its digest is used), the policy directory and the
reports. Changes the state directory, which must have keys (see: assay key
create), or asks --server. A failed verdict is signed and published too: it
proves that the gate said no.

Exit codes: 0 pass · 1 error · 2 usage · 3 fail · 4 absent evidence.`,
		Example: `  assay attest bin/app --evidence tests.json --bundle app.sigstore.json --proof app.proof.json`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(writable("--bundle", bundle), writable("--proof", proof)); err != nil {
				return err
			}
			ops, err := a.connect(cmd.Context(), stateSigning)
			if err != nil {
				return err
			}
			defer ops.close()
			req, err := a.checkRequest(cmd.Context(), ops, f, args)
			if err != nil {
				return err
			}
			att, err := ops.Attest(cmd.Context(), req)
			if err != nil {
				return err
			}
			if err := a.attested(cmd.Context(), ops, att, f, bundle, proof); err != nil {
				return fmt.Errorf("the attestation is recorded as fact %s (assay ledger prove has its proof), but not everything was written: %w", att.Fact, err)
			}
			return verdictExit(att.Verdict)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&bundle, "bundle", "", "write the Sigstore bundle to this file")
	cmd.Flags().StringVar(&proof, "proof", "", "write the portable proof to this file: attestation and ledger entry")
	return cmd
}

func (a *app) attested(ctx context.Context, ops *operations, att api.Attested, f gateFlags, bundle, proof string) error {
	if bundle != "" {
		if err := writeFile(bundle, att.Bundle); err != nil {
			return err
		}
	}
	// Whoever is told that it is attested can prove it: wait for the ledger.
	p, err := ops.Proof(ctx, att.Fact)
	if err != nil {
		return err
	}
	if proof != "" {
		if err := writeFile(proof, p); err != nil {
			return err
		}
	}
	if a.format != "table" {
		if err := a.reportFiles(att.Verdict, f); err != nil {
			return err
		}
		return a.print(att, nil)
	}
	if err := a.report(att.Verdict, f); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "attested   %s\nfact       %s\n", att.BundleDigest, att.Fact)
	if proof != "" {
		fmt.Fprintf(a.out, "proof      %s\n", proof)
	}
	return nil
}

// checkRequest uploads the reports and says what is asked.
func (a *app) checkRequest(ctx context.Context, ops checks, f gateFlags, args []string) (api.CheckRequest, error) {
	subject, err := f.subject(args)
	if err != nil {
		return api.CheckRequest{}, err
	}
	if err := f.writable(); err != nil {
		return api.CheckRequest{}, err
	}
	req := api.CheckRequest{Gate: f.gate, Environment: f.environment, Subject: subject}
	if req.Owners, err = readOwners(f.owners); err != nil {
		return req, err
	}
	for _, path := range f.baseline {
		d, err := upload(ctx, ops, path)
		if err != nil {
			return req, err
		}
		req.Reports = append(req.Reports, api.Report{Digest: d, Source: path, Origin: assay.OriginRecorded, Baseline: true})
	}
	for _, path := range f.evidence {
		d, err := upload(ctx, ops, path)
		if err != nil {
			return req, err
		}
		req.Reports = append(req.Reports, api.Report{Digest: d, Source: path, Origin: assay.OriginLive})
	}
	for _, pinned := range f.recorded {
		i := strings.LastIndex(pinned, "@")
		if i < 0 {
			return req, usageError{fmt.Errorf("--recorded %q has no pin; write FILE@sha256:…", pinned)}
		}
		path := pinned[:i]
		want, err := assay.ParseDigest(pinned[i+1:])
		if err != nil {
			return req, usageError{fmt.Errorf("--recorded %q: %w", pinned, err)}
		}
		got, err := upload(ctx, ops, path)
		if err != nil {
			return req, err
		}
		if got != want {
			return req, &assay.Error{
				Code: assay.CodeUnverified, File: path,
				Msg: fmt.Sprintf("has digest %s, but is pinned as %s", got, want), Hint: "the recorded report was changed",
			}
		}
		req.Reports = append(req.Reports, api.Report{Digest: got, Source: path, Origin: assay.OriginRecorded})
	}
	req.Reports, err = f.readAs(req.Reports)
	return req, err
}

// readOwners reads and checks a file of owners here, where its name is known.
func readOwners(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := readFile(path, api.MaxOwners)
	if err == nil {
		_, err = codeowners.Parse(path, data)
	}
	return string(data), err
}

func upload(ctx context.Context, ops checks, path string) (assay.Digest, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	d, err := ops.PutEvidence(ctx, file)
	switch assay.CodeOf(err) {
	case assay.CodeUnauthenticated, assay.CodeDenied, assay.CodeUnavailable:
		return "", err // whatever the file holds
	}
	return d, inFile(err, path)
}

func (f gateFlags) subject(args []string) (assay.Subject, error) {
	s := assay.Subject{Name: f.name, Commit: f.commit}
	switch {
	case len(args) == 1 && f.digest != "":
		return s, usageError{fmt.Errorf("give either an artifact file or --digest, not both")}
	case len(args) == 0 && f.digest == "":
		return s, usageError{fmt.Errorf("no artifact: name a file, or its digest with --digest sha256:…")}
	case f.digest != "":
		d, err := assay.ParseDigest(f.digest)
		if err != nil {
			return s, usageError{err}
		}
		s.Digest = d
		if s.Name == "" {
			s.Name = d.Short()
		}
		return s, nil
	}
	d, err := digestFile(args[0])
	if err != nil {
		return s, err
	}
	s.Digest = d
	if s.Name == "" {
		s.Name = filepath.Base(args[0])
	}
	return s, nil
}

func digestFile(path string) (assay.Digest, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return assay.DigestOf([32]byte(h.Sum(nil))), nil
}

// report writes the verdict to the terminal and to the files that were asked for.
func (a *app) report(v assay.Verdict, f gateFlags) error {
	if err := a.reportFiles(v, f); err != nil {
		return err
	}
	if a.format != "table" {
		return a.print(v, nil)
	}
	return gate.Text(a.out, v, a.out.Renderer())
}

func (a *app) reportFiles(v assay.Verdict, f gateFlags) error {
	files, err := f.files()
	if err != nil {
		return err
	}
	for _, r := range files {
		if err := r.write(a.out, v); err != nil {
			return err
		}
	}
	return nil
}

// verdictExit turns a verdict into the exit code of the contract. A report that
// could not be read never ends well: where the gate does not block, it is an error
// of whoever presented it.
func verdictExit(v assay.Verdict) error {
	switch {
	case !v.Blocks() && len(v.Refused) > 0:
		f := v.Refused[0]
		return &assay.Error{
			Code: assay.CodeInvalid, File: f.Location.File, Line: f.Location.Line, Column: f.Location.Column,
			Msg: "could not be read: " + f.Reason,
		}
	case !v.Blocks():
		return nil
	case v.Outcome == assay.OutcomeAbsent:
		return exit(exitAbsent)
	default:
		return exit(exitFailed)
	}
}
