package main

import (
	"fmt"
	"os"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"github.com/spf13/cobra"
)

func (a *app) evidenceCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "evidence", Short: "Look at the reports that gates judge"}
	cmd.AddCommand(&cobra.Command{
		Use:   "inspect FILE...",
		Short: "Show what is recognised in a report: format, tool, counts, findings",
		Long: `Show what is recognised in a report: format, tool, counts, findings.

Reads the files and changes nothing.

Exit codes: 0 understood · 1 a file is not understood · 2 usage.`,
		Example: `  assay evidence inspect tests.json lint.sarif sbom.json -o json`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var list []assay.Evidence
			for _, path := range args {
				ev, err := a.readEvidence(path)
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
	})
	return cmd
}

func (a *app) readEvidence(path string) (assay.Evidence, error) {
	f, err := os.Open(path)
	if err != nil {
		return assay.Evidence{}, err
	}
	defer f.Close()
	return evidence.Read(f, path, evidence.Options{Origin: assay.OriginLive, Collected: a.now().UTC()})
}

// shownFindings is how many findings the table shows; -o json has all.
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
		if ev.Subject != "" {
			fmt.Fprintf(a.out, "  about    %s\n", ev.Subject)
		}
		fmt.Fprintf(a.out, "  summary  %s\n", evidence.Summary(ev))
		for _, n := range ev.Notes {
			fmt.Fprintf(a.out, "  note     %s\n", n)
		}
		for j, f := range ev.Findings {
			if j == shownFindings {
				fmt.Fprintf(a.out, "  … and %d more; see them all with -o json\n", len(ev.Findings)-j)
				break
			}
			fmt.Fprintf(a.out, "  %-8s %s  %s%s\n", f.Severity, f.Rule, place(f.Location), f.Message)
		}
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
