package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"github.com/spf13/cobra"
)

// readFlags say of reports what they cannot say of themselves.
type readFlags struct{ format, kind, mapping string }

// options are what evidence.Read is told.
func (f readFlags) options(now time.Time) (evidence.Options, error) {
	opts := evidence.Options{Format: f.format, Origin: assay.OriginLive, Collected: now.UTC()}
	var err error
	if f.kind != "" {
		if opts.Kind, err = kindOf(f.kind); err != nil {
			return opts, usageError{fmt.Errorf("--kind: %w", err)}
		}
	}
	if f.mapping != "" {
		opts.Mapping, err = readMapping(f.mapping)
	}
	return opts, err
}

// readMapping reads a mapping file.
func readMapping(path string) (*evidence.Mapping, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, err := evidence.ParseMapping(file)
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return nil, e.In(path)
	}
	return m, err
}

func (a *app) evidenceCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "evidence", Short: "Look at the reports that gates judge"}
	var f readFlags
	inspect := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Show what is recognised in a report: format, tool, counts, findings",
		Long: `Show what is recognised in a report: format, tool, counts, findings, measures.

Reads the files and changes nothing. The format is recognised by the content;
--format names it where the content does not say (an empty list of findings), and
--kind says what to read of a report that holds several kinds of evidence.
--mapping says where the findings of a JSON report of an unknown tool are.

Exit codes: 0 understood · 1 a file is not understood · 2 usage.`,
		Example: `  assay evidence inspect tests.json lint.sarif sbom.json -o json
  assay evidence inspect trivy.json --kind secrets
  assay evidence inspect acme.json --mapping acme-mapping.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			opts, err := f.options(a.now())
			if err != nil {
				return err
			}
			var list []assay.Evidence
			for _, path := range args {
				ev, err := readEvidence(path, opts)
				if err != nil {
					return err
				}
				list = append(list, ev)
			}
			if len(list) == 1 {
				return a.print(list[0], func() { a.printEvidence(list) })
			}
			return a.print(list, func() { a.printEvidence(list) })
		},
	}
	inspect.Flags().StringVar(&f.format, "format", "", "format of the files (default: recognised)")
	inspect.Flags().StringVar(&f.kind, "kind", "", "kind of evidence to read them as (default: the usual one of the format)")
	inspect.Flags().StringVar(&f.mapping, "mapping", "", "file that says where the findings of a JSON report are")
	cmd.AddCommand(inspect)
	return cmd
}

func readEvidence(path string, opts evidence.Options) (assay.Evidence, error) {
	f, err := os.Open(path)
	if err != nil {
		return assay.Evidence{}, err
	}
	defer f.Close()
	return evidence.Read(f, path, opts)
}

// shownFindings is how many findings, measures or statements the table shows; -o json has all.
const shownFindings = 20

func (a *app) printEvidence(list []assay.Evidence) {
	for i, ev := range list {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		fmt.Fprintf(a.out, "%s\n", a.out.Bold(ev.Source))
		fmt.Fprintf(a.out, "  kind     %s (%s)\n", ev.Kind, ev.Format)
		fmt.Fprintf(a.out, "  tool     %s %s\n", orDash(ev.Tool.Name), ev.Tool.Version)
		fmt.Fprintf(a.out, "  digest   %s, %d bytes\n", ev.Digest, ev.Size)
		if !ev.Produced.IsZero() {
			fmt.Fprintf(a.out, "  produced %s\n", ev.Produced.Format(time.RFC3339))
		}
		if ev.Predicate != "" {
			fmt.Fprintf(a.out, "  claims   %s\n", ev.Predicate)
		}
		if ev.Subject != "" {
			fmt.Fprintf(a.out, "  about    %s\n", ev.Subject)
		}
		fmt.Fprintf(a.out, "  summary  %s\n", evidence.Summary(ev))
		for _, n := range ev.Notes {
			fmt.Fprintf(a.out, "  note     %s\n", n)
		}
		a.printMeasures(ev)
		for j, f := range ev.Findings {
			if j == shownFindings {
				fmt.Fprintf(a.out, "  … and %d more; see them all with -o json\n", len(ev.Findings)-j)
				break
			}
			fmt.Fprintf(a.out, "  %-8s %s  %s%s\n", f.Severity, f.Rule, place(f.Location), f.Message)
		}
	}
}

// printMeasures shows the numbers and VEX statements of a report.
func (a *app) printMeasures(ev assay.Evidence) {
	for i, m := range ev.Measures {
		if i == shownFindings {
			fmt.Fprintf(a.out, "  … and %d more; see them all with -o json\n", len(ev.Measures)-i)
			break
		}
		fmt.Fprintf(a.out, "  measure  %s %.6g %s\n", m.Name, m.Value, m.Unit)
	}
	for i, s := range ev.VEX {
		if i == shownFindings {
			fmt.Fprintf(a.out, "  … and %d more; see them all with -o json\n", len(ev.VEX)-i)
			break
		}
		of := strings.Join(s.Products, ", ")
		if len(s.Components) > 0 {
			of = strings.Join(s.Components, ", ") + " in " + of
		}
		why := ""
		if s.Justification != "" {
			why = " (" + s.Justification + ")"
		}
		fmt.Fprintf(a.out, "  vex      %s %s%s: %s\n", s.Vulnerability, s.Status, why, of)
	}
}

func place(l assay.Location) string {
	switch {
	case l.File == "":
		return ""
	case l.Line == 0:
		return l.File + ": "
	}
	return fmt.Sprintf("%s:%d: ", l.File, l.Line)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
