package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/control"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/policy"
	"assay.dev/assay/simulate"
	"github.com/spf13/cobra"
)

func (a *app) policyCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Lint, test and format policies"}
	cmd.AddCommand(a.policyLintCmd(), a.policyTestCmd(), a.policyFmtCmd(), a.policySchemaCmd())
	return cmd
}

// policyDir is the argument, or the configured directory.
func (a *app) policyDir(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	return a.cfg.get("policy")
}

func (a *app) policyLintCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "lint [DIR]",
		Short: "Check resources, Rego and OpenSLO files for mistakes, with the place and what to do",
		Long: `Check resources, Rego and OpenSLO files for mistakes, with the place and what to do.

Reads DIR (default: the configured policy directory) and changes nothing.

Exit codes: 0 no errors, warnings included · 1 DIR cannot be read or parsed · 2 usage · 3 errors found.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			problems, err := a.lintPolicy(cmd.Context(), a.policyDir(args))
			if err != nil {
				return err
			}
			return a.printProblems(problems)
		},
	}
}

// printProblems prints what a lint found, and fails if there are errors.
func (a *app) printProblems(problems []policyProblem) error {
	if problems == nil {
		problems = []policyProblem{} // a list in every format
	}
	err := a.print(problems, func() {
		for _, p := range problems {
			fmt.Fprintf(a.out, "%s: %s\n", p.Level, p.Err())
		}
		if len(problems) == 0 {
			fmt.Fprintf(a.out, "%s no problems\n", a.out.Paint(term.Green, "✓"))
		}
	})
	if err != nil {
		return err
	}
	if lintFailed(problems) {
		return exit(exitFailed)
	}
	return nil
}

func (a *app) policyTestCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "test [DIR]",
		Short: "Run the Rego unit tests and the scenarios of a policy directory",
		Long: `Run the Rego unit tests (rules named test_…) and the scenarios (*.scenario.yaml) of a
policy directory. A scenario is a test that passes when all its expectations hold; see
assay simulate.

Reads DIR (default: the configured policy directory) and changes nothing.

Exit codes: 0 all pass · 1 error · 2 usage · 3 a test fails · 4 there are no tests.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := testPolicy(cmd.Context(), a.policyDir(args))
			if err != nil {
				return err
			}
			if err := a.print(report, func() { a.printTests(report) }); err != nil {
				return err
			}
			switch {
			case len(report.Results) == 0:
				return exit(exitAbsent)
			case !report.OK():
				return exit(exitFailed)
			}
			return nil
		},
	}
}

func (a *app) printTests(report policyTests) {
	passed := 0
	for _, r := range report.Results {
		if r.Status == testPassed {
			passed++
			continue
		}
		line := r.Line
		if r.FailedLine > 0 {
			line = r.FailedLine
		}
		fmt.Fprintf(a.out, "%s %s:%d: %s %s\n", a.out.Paint(term.Vermilion, "✗"), r.File, line, r.Name, r.Message)
	}
	if len(report.Results) == 0 {
		fmt.Fprintln(a.out, "no tests; write rules named test_… in files named *_test.rego, or scenarios named *.scenario.yaml")
		return
	}
	sign := a.out.Paint(term.Green, "✓")
	if !report.OK() {
		sign = a.out.Paint(term.Vermilion, "✗")
	}
	fmt.Fprintf(a.out, "%s %d of %s passed, %.0f %% of lines covered\n", sign, passed, plural(len(report.Results), "test"), report.Coverage)
}

func (a *app) policyFmtCmd() *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use:   "fmt [DIR]",
		Short: "Format Rego files; without -w, list those that are not formatted",
		Long: `Format Rego files the way "opa fmt" does.

Reads DIR (default: the configured policy directory) and lists the files that are
not formatted. Changes nothing without -w; with it, those files are rewritten.

Exit codes: 0 all formatted, or written · 1 error · 2 usage · 3 some are not formatted.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.formatPolicy(cmd.Context(), a.policyDir(args), write)
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the formatted files back")
	return cmd
}

func (a *app) formatPolicy(ctx context.Context, root string, write bool) error {
	rev, err := loadRevision(ctx, root)
	if err != nil {
		return err
	}
	unformatted := []string{}
	for _, class := range []policy.Class{policy.ClassModule, policy.ClassTest} {
		for _, f := range rev.Files(class) {
			out, err := formatRego(root, f.Path, f.Content)
			if err != nil {
				return err
			}
			if bytes.Equal(out, f.Content) {
				continue
			}
			path := filepath.Join(root, filepath.FromSlash(f.Path))
			unformatted = append(unformatted, path)
			if !write {
				continue
			}
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if err := durable.WriteFile(path, out, info.Mode().Perm()); err != nil {
				return err
			}
		}
	}
	err = a.print(unformatted, func() {
		for _, path := range unformatted {
			fmt.Fprintln(a.out, path)
		}
	})
	if err != nil {
		return err
	}
	if len(unformatted) > 0 && !write {
		return exit(exitFailed)
	}
	return nil
}

func (a *app) policySchemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema KIND",
		Short: "Print the JSON Schema of a resource kind, for editors",
		Long: `Print the JSON Schema of a resource kind, for editors: one of a policy directory, or
Scenario, which assay simulate reads.

Reads and changes nothing.

Exit codes: 0 printed · 1 no such kind · 2 usage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := schemaOf(args[0])
			if err != nil {
				return err
			}
			_, err = a.out.Write(b)
			return err
		},
	}
}

// schemaOf finds the schema of what stands in a policy directory, or of a scenario.
func schemaOf(kind string) ([]byte, error) {
	switch known := append(slices.Clone(policy.Kinds), simulate.Kind); {
	case strings.EqualFold(kind, simulate.Kind):
		return simulate.Schema(), nil
	case !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, kind) }):
		return nil, assay.Errorf(assay.CodeNotFound, "kind %s", strict.OneOf(kind, known))
	}
	return control.Schema(kind)
}

// diagnosePolicy is the doctor's look at the policy directory.
func (a *app) diagnosePolicy(ctx context.Context) diagnosis {
	path := a.cfg.get("policy")
	if _, err := os.Stat(path); err != nil && !a.cfg.chosen("policy") {
		return diagnosis{"policy", "warn", "no policy directory " + path, "write a first gate; its form: assay policy schema Gate"}
	}
	problems, err := a.lintPolicy(ctx, path)
	switch {
	case err != nil:
		return diagnosis{"policy", "fail", oneLine(err), "assay policy lint " + path}
	case lintFailed(problems):
		return diagnosis{"policy", "fail", problems[0].Err().Error(), "assay policy lint " + path}
	case len(problems) > 0:
		return diagnosis{"policy", "warn", plural(len(problems), "warning"), "assay policy lint " + path}
	}
	return diagnosis{"policy", "ok", path + " compiles and lints clean", ""}
}

// policyURI names the policy repository in verdicts by its folder's name: a
// path of this machine would mean nothing to who reads the verdict elsewhere.
func policyURI(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return "dir:" + filepath.Base(path)
}

// below completes the name of a policy file, which a revision knows only within its folder.
func below(err error, folder string) error {
	if e, ok := errors.AsType[*assay.Error](err); ok && e.File != "" {
		return e.In(filepath.Join(folder, e.File))
	}
	return err
}
