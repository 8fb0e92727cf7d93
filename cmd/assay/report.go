package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/report"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

// reports is what the report commands need of a control plane.
type reports interface {
	Compliance(ctx context.Context, req api.ComplianceRequest) (report.Report, error)
	Verification(ctx context.Context, req api.VerificationRequest) (report.Verification, error)
	Operations(ctx context.Context, req api.OperationsRequest) (report.Operations, error)
}

func (a *app) reportCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "report", Short: "Coverage of what runs, how many checks pass, whether actions help, and evidence for auditors"}
	cmd.AddCommand(a.coverageCmd(), a.verificationCmd(), a.operationsCmd(), a.complianceCmd(), a.reportVerifyCmd())
	return cmd
}

// reportFormats are the forms of a compliance report.
var reportFormats = []string{"text", "html", "json", "oscal"}

// complianceFlags are the flags of report compliance.
type complianceFlags struct {
	framework, from, to string
	format, file        string
	proofs              string
	lines               int
}

func (a *app) complianceCmd() *cobra.Command {
	var f complianceFlags
	cmd := &cobra.Command{
		Use:   "compliance --framework NAME --from TIME",
		Short: "Evidence for the controls of a framework, every line with a ledger proof",
		Long: `Evidence for the controls of a framework in a period, every line with a ledger
proof: ` + strings.Join(report.Frameworks(), ", ") + `.

For each control it says what is evidenced, what should be and is not (a gap), or
that Assay does not cover it. Whether a control is met is the auditor's to say. The
JSON form holds the proofs and is what assay report verify checks; html is one page
to read and print; oscal is an OSCAL assessment-results document. --proofs DIR also
writes each proof as a file for assay ledger verify.

Reads the state directory (no other process may use it meanwhile) or asks
--server. What is not published yet is published first if the passphrase is there.

Exit codes: 0 made, gaps included · 1 error · 2 usage.`,
		Example: `  assay report compliance --framework soc2 --from 2026-07-01 --to 2026-10-01 --format html -f soc2-q3.html
  assay report compliance --framework ssdf --from 720h --format json -f ssdf.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.compliance(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.framework, "framework", "", strings.Join(report.Frameworks(), ", "))
	fs.StringVar(&f.from, "from", "", "begin: a date, RFC 3339, or a duration back from now such as 720h")
	fs.StringVar(&f.to, "to", "", "end, exclusive, likewise (default now)")
	fs.StringVar(&f.format, "format", "text", strings.Join(reportFormats, ", "))
	fs.StringVarP(&f.file, "file", "f", "", "write to this file instead of standard output")
	fs.StringVar(&f.proofs, "proofs", "", "also write each proof into this folder")
	fs.IntVar(&f.lines, "lines", report.DefaultLines, "facts shown of each query, the newest")
	for _, name := range []string{"framework", "from"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}

// request reads the flags.
func (f complianceFlags) request(a *app) (api.ComplianceRequest, error) {
	now := a.now()
	req := api.ComplianceRequest{Framework: f.framework, Lines: f.lines}
	if !slices.Contains(reportFormats, f.format) {
		return req, usageError{fmt.Errorf("--format %s", strict.OneOf(f.format, reportFormats))}
	}
	if !slices.Contains(report.Frameworks(), f.framework) {
		return req, usageError{fmt.Errorf("--framework %s", strict.OneOf(f.framework, report.Frameworks()))}
	}
	var err error
	if req.From, req.To, err = parseBetween(f.from, f.to, now); req.To.IsZero() {
		req.To = now
	}
	return req, err
}

// parseBetween reads --from and --to; without --to the end is zero.
func parseBetween(from, to string, now time.Time) (start, end time.Time, err error) {
	if start, err = parsePast(from, now); err != nil {
		return start, end, usageError{fmt.Errorf("--from: %w", err)}
	}
	if to != "" {
		if end, err = parsePast(to, now); err != nil {
			return start, end, usageError{fmt.Errorf("--to: %w", err)}
		}
	}
	return start, end, nil
}

func (a *app) compliance(ctx context.Context, f complianceFlags) error {
	req, err := f.request(a)
	if err != nil {
		return err
	}
	if err := writable("--file", f.file); err != nil {
		return err
	}
	r, err := ask(ctx, a, a.canSign(), func(ops *operations) (report.Report, error) {
		return ops.Compliance(ctx, req)
	})
	if err != nil {
		return err
	}
	if err := writeProofs(f.proofs, r); err != nil {
		return err
	}
	var out bytes.Buffer
	switch f.format {
	case "html":
		err = report.HTML(&out, r)
	case "oscal":
		err = report.OSCAL(&out, r)
	case "json":
		enc := json.NewEncoder(&out)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	default:
		if f.file == "" {
			return a.print(r, func() { a.printCompliance(r) })
		}
		return usageError{fmt.Errorf("--file needs --format html, json or oscal")}
	}
	if err != nil {
		return err
	}
	if f.file != "" {
		return writeFile(f.file, out.Bytes())
	}
	_, err = a.out.Write(out.Bytes())
	return err
}

// writeProofs writes the proof of every line into a folder, "" for none.
func writeProofs(folder string, r report.Report) error {
	if folder == "" {
		return nil
	}
	for _, c := range r.Controls {
		for _, f := range c.Found {
			for _, l := range f.Lines {
				if !l.Proved {
					continue
				}
				if err := writeInto(folder, string(l.Fact)+".proof.json", l.Proof); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *app) printCompliance(r report.Report) {
	fmt.Fprintf(a.out, "%s %s, namespace %s, %s to %s\n", a.out.Bold(r.Title), r.Version, r.Namespace, r.From.Format("2006-01-02"), r.To.Format("2006-01-02"))
	fmt.Fprintf(a.out, "%d evidenced, %d with gaps, %d not covered by Assay; ledger %s of %d leaves\n",
		r.Counts[string(report.Evidenced)], r.Counts[string(report.Gap)], r.Counts[string(report.NotCovered)], r.Head.Origin, r.Head.Size)
	for _, c := range r.Controls {
		sign := map[report.State]string{
			report.Evidenced: a.out.Paint(term.Green, "✓"), report.Gap: a.out.Paint(term.Vermilion, "✗"), report.NotCovered: a.out.Paint(term.Amber, "–"),
		}[c.State]
		fmt.Fprintf(a.out, "%s %-28s %s\n", sign, c.ID, c.Title)
		if c.State != report.Evidenced {
			fmt.Fprintf(a.out, "      %s: %s\n", c.State, c.Reason)
		}
		for _, f := range c.Found {
			if f.Coverage {
				for _, e := range r.Coverage {
					fmt.Fprintf(a.out, "      %s: %s %d of %s\n", f.Title, e.Environment, e.Attested, plural(e.Running, "artifact"))
				}
				continue
			}
			fmt.Fprintf(a.out, "      %s: %d, %d of the %d shown are proved\n", f.Title, f.Total, len(f.Lines)-f.Unproved, len(f.Lines))
		}
		if c.Limits != "" {
			fmt.Fprintf(a.out, "      but: %s\n", c.Limits)
		}
	}
}

func (a *app) reportVerifyCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "verify FILE --pub FILE",
		Short: "Verify every line of a report with a public key and nothing else",
		Long: `Verify every line of a compliance report, in its JSON form: that the ledger of the
public file holds the fact, and that it is the fact the line names. Whether the
report shows all there is cannot be seen from it.

Reads the report and the public file; needs no network, no server and no state
directory, and changes nothing.

Exit codes: 0 every line holds · 1 error · 2 usage · 3 a line does not hold · 4 there
is no line to verify, or one without a proof.`,
		Example: `  assay report verify ssdf.json --pub assay.pub`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			public, err := loadPublic(key)
			if err != nil {
				return err
			}
			data, err := readFile(args[0], report.MaxReport)
			if err != nil {
				return err
			}
			r, err := report.ParseReport(data)
			if err != nil {
				return inFile(err, args[0])
			}
			checked, err := report.Verify(r, public.ledger)
			if err != nil {
				return inFile(err, args[0])
			}
			if err := a.print(checked, func() {
				fmt.Fprintf(a.out, "%s %s in the ledger, as the report says\n", a.out.Paint(term.Green, "✓"), plural(checked.Lines-checked.Unproved, "fact"))
				if checked.Unproved > 0 {
					fmt.Fprintf(a.out, "%s %s without a proof\n", a.out.Paint(term.Amber, "!"), plural(checked.Unproved, "fact"))
				}
			}); err != nil {
				return err
			}
			if checked.Unproved > 0 || checked.Lines == 0 {
				return exit(exitAbsent)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "pub", "", "public file of the signer (assay.pub)")
	_ = cmd.MarkFlagRequired("pub") // fails only for a flag that does not exist
	return cmd
}

// parsePast reads RFC 3339, a date (its start, UTC) or a duration back from now, also in
// days and weeks.
func parsePast(s string, now time.Time) (time.Time, error) {
	if d, err := model.ParseDuration(s); err == nil {
		return now.Add(-time.Duration(d)).UTC(), nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d.Abs()).UTC(), nil
	}
	return parseTime(s, now)
}
