package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

// inventories is what the inventory and coverage commands need of a control plane.
type inventories interface {
	Report(ctx context.Context, r api.InventoryReport) (api.InventoryChange, error)
	Inventory(ctx context.Context, environment string, digest assay.Digest) ([]api.Running, error)
	Coverage(ctx context.Context, environment string) ([]api.Coverage, error)
}

// inventorySearches is the part about vulnerabilities and upkeep.
type inventorySearches interface {
	Scan(ctx context.Context) (api.Scan, error)
	Findings(ctx context.Context, closed bool) ([]api.Finding, error)
	RebuildIndex(ctx context.Context) (api.Rebuilt, error)
}

func (a *app) inventoryCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "What runs where, and what was found in it since",
		Long: `What runs where, and what was found in it since.

Agents report what they see with "inventory push"; an enforcer that the server
drives (serve --proxy) is asked by itself. What nobody reports for an hour counts
as gone.`,
	}
	cmd.AddCommand(a.inventoryPushCmd(), a.inventoryListCmd(), a.inventoryScanCmd(), a.inventoryFindingsCmd(), a.inventoryRebuildCmd())
	return cmd
}

func (a *app) inventoryPushCmd() *cobra.Command {
	var r api.InventoryReport
	var from inventorySource
	cmd := &cobra.Command{
		Use:   "push [FILE]",
		Short: "Report what runs",
		Long: `Report what runs: FILE, or - for standard input, is a JSON list of

  {"service": "checkout", "namespace": "shop", "image": "registry.example/checkout:1.4",
   "digest": "sha256:…", "instances": 3, "seen": "2026-11-02T09:30:00Z"}

Only service and one of image and digest are mandatory; an image that is pinned
(…@sha256:…) needs no digest. Report again and again: only changes become facts.
With --complete everything that --source reported in --environment before, and is
not in the list, is gone at once. For who is no operator, --source is a part of who
they are: NAME/SOURCE.

--from-kubernetes asks a cluster instead: every container of its pods, init and
ephemeral ones included, under the digest that its node pulled. It names a kubeconfig
file, or in-cluster; the account must be able to list pods. --from-registry asks a
registry which tags it has, below HOST or HOST/REPOSITORY: what lies there does not
run, so give it an environment of its own. Both are complete by themselves, unless it
takes several reports to say it all (5000 entries each, or 1 MiB for a server): what is
gone then ends after an hour.

Reads FILE, the cluster or the registry; writes into the state directory (no other
process may use it meanwhile) or sends it to --server. Needs the role agent or operator.

Exit codes: 0 taken · 1 refused or error · 2 usage.`,
		Example: `  assay inventory push running.json --environment prod
  my-agent | assay inventory push - --environment prod --source cluster-1 --complete
  assay inventory push --from-kubernetes ~/.kube/config --environment prod
  assay inventory push --from-registry registry.example/team --environment registry`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reports, err := a.sightings(cmd.Context(), r, from, args)
			if err != nil {
				return err
			}
			out, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (api.InventoryChange, error) {
				return reportAll(cmd.Context(), ops, reports)
			})
			if err != nil {
				return err
			}
			return a.print(out, func() {
				fmt.Fprintf(a.out, "%d appeared, %d refreshed, %d outdated, %d gone\n", out.Appeared, out.Refreshed, out.Outdated, out.Gone)
			})
		},
	}
	cmd.Flags().StringVar(&r.Environment, "environment", "", "where it runs, of every entry that does not say it")
	cmd.Flags().StringVar(&r.Source, "source", "", "who sees it (default: who you are)")
	cmd.Flags().BoolVar(&r.Complete, "complete", false, "the list is all that runs there")
	from.add(cmd)
	return cmd
}

// readSightings reads a JSON list of what runs.
func (a *app) readSightings(path string) ([]api.Sighting, error) {
	in := a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := readAll(in, api.MaxBody)
	if err != nil {
		return nil, inFile(err, path)
	}
	var list []api.Sighting
	if err := strict.JSON(data, &list); err != nil {
		return nil, inFile(err, path)
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("null")) {
		return nil, inFile(assay.Errorf(assay.CodeInvalid, "is null; expected a list, [] if nothing runs"), path)
	}
	return list, nil
}

func (a *app) inventoryListCmd() *cobra.Command {
	var environment, digest string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what runs, and who saw it last",
		Long: `List what runs, and who saw it last.

Reads the state directory (no other process may use it meanwhile) or asks
--server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) ([]api.Running, error) {
				return ops.Inventory(cmd.Context(), environment, assay.Digest(digest))
			})
			if err != nil {
				return err
			}
			return a.print(list, func() { a.runningTable(list) })
		},
	}
	cmd.Flags().StringVar(&environment, "environment", "", "only what runs there")
	cmd.Flags().StringVar(&digest, "digest", "", "only this artifact")
	return cmd
}

func (a *app) runningTable(list []api.Running) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "nothing is known to run; report it with: assay inventory push FILE --environment …")
		return
	}
	now := a.now()
	var rows [][]string
	for _, v := range list {
		rows = append(rows, []string{
			v.Environment, v.Service, orDash(v.Place), orDash(v.Digest.Short()), orDash(v.Image), fmt.Sprint(v.Instances), v.Source,
			now.Sub(v.Last).Round(time.Second).String() + " ago",
		})
	}
	a.out.Table([]string{"ENVIRONMENT", "SERVICE", "NAMESPACE", "DIGEST", "IMAGE", "INSTANCES", "SOURCE", "SEEN"}, rows)
}

func (a *app) inventoryScanCmd() *cobra.Command {
	var path, vex string
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Hold what runs against newly published advisories",
		Long: `Hold the bills of materials of everything that runs against newly published
advisories: what is found becomes a finding, with the services concerned.

--advisories is a folder of OSV records (JSON) or a zip file of them, as osv.dev
publishes them for each ecosystem; nothing is fetched from a network. A --server
uses the database it was started with. A finding is closed when its artifact no
longer runs or its advisory was withdrawn or corrected; a database that does not
have an advisory closes nothing. The bills of materials are those that gates were
given as evidence.

What a VEX document says is not affected, with a justification, or fixed is listed as
such and not counted as open: of --vex (a file, or a folder of OpenVEX and CSAF
documents that you vouch for), and of the documents that a gate was given and trusts.
So is what an exception covers wherever it runs: one for the rule
inventory/late-finding, or one that names the advisory.

Reads the database; changes the state directory (no other process may use it
meanwhile), or what --server keeps. Needs the role operator.

Exit codes: 0 nothing is open · 1 error · 2 usage · 3 findings are open · 4 none are,
but something that runs could not be examined, or nothing is known to run.`,
		Example: `  assay inventory scan --advisories osv-npm.zip`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.cfg.get("server") != "" && path+vex != "" {
				return usageError{fmt.Errorf("--advisories and --vex are read by who keeps the state: give them to assay serve, or leave --server out")}
			}
			a.advisories, a.vex = path, vex
			s, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (api.Scan, error) {
				return ops.Scan(cmd.Context())
			})
			if err != nil {
				return err
			}
			if err := a.print(s, func() { a.printScan(s) }); err != nil {
				return err
			}
			switch {
			case s.Open > 0:
				return exit(exitFailed)
			case len(s.Unexamined) > 0 || s.Artifacts == 0:
				return exit(exitAbsent)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "advisories", "", "folder or zip file of OSV records")
	cmd.Flags().StringVar(&vex, "vex", "", "VEX document, or folder of them, that you vouch for")
	return cmd
}

func (a *app) printScan(s api.Scan) {
	running := plural(s.Artifacts, "artifact") + " that run"
	if s.Artifacts == 1 {
		running += "s"
	}
	fmt.Fprintf(a.out, "%s against %s of %s: %s opened, %d closed, %d open",
		plural(s.Database.Advisories, "advisory"), plural(s.Components, "component"), running, plural(s.Opened, "finding"), s.Closed, s.Open)
	if s.Dismissed > 0 {
		fmt.Fprintf(a.out, ", %d not affected", s.Dismissed)
	}
	if s.Excused > 0 {
		fmt.Fprintf(a.out, ", %d excused", s.Excused)
	}
	fmt.Fprintln(a.out)
	warn := a.out.Paint(term.Amber, "!")
	if s.Artifacts == 0 {
		fmt.Fprintf(a.out, "%s nothing is known to run; report it with: assay inventory push FILE --environment …\n", warn)
	}
	if n := s.Database.Malformed; n > 0 {
		fmt.Fprintf(a.out, "%s %s of the database: no OSV record, and left out\n", warn, plural(n, "entry"))
		for _, p := range s.Database.Problems {
			fmt.Fprintf(a.out, "    %s\n", p)
		}
	}
	for _, p := range s.Problems {
		fmt.Fprintf(a.out, "%s no VEX document, and applied to nothing: %s\n", warn, p)
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Skipped)) {
		fmt.Fprintf(a.out, "%s %s: %s\n", warn, plural(s.Skipped[reason], "component"), reason)
	}
	for _, d := range s.Doubts {
		fmt.Fprintf(a.out, "%s %s\n", warn, d)
	}
	for _, u := range s.Unexamined {
		fmt.Fprintf(a.out, "%s %s (%s) was not examined: %s\n", warn, short(u.Artifact), places(u.Places), u.Reason)
	}
	a.findingTable(s.Findings)
}

func (a *app) inventoryFindingsCmd() *cobra.Command {
	var closed bool
	cmd := &cobra.Command{
		Use:   "findings",
		Short: "List the vulnerabilities found in what runs",
		Long: `List the vulnerabilities found in what runs, the most severe first.

Reads the state directory (no other process may use it meanwhile) or asks
--server; changes nothing. To look for new ones: assay inventory scan.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) ([]api.Finding, error) {
				return ops.Findings(cmd.Context(), closed)
			})
			if err != nil {
				return err
			}
			return a.print(list, func() {
				if len(list) == 0 {
					fmt.Fprintln(a.out, "no findings; look for some with: assay inventory scan --advisories …")
				}
				a.findingTable(list)
			})
		},
	}
	cmd.Flags().BoolVar(&closed, "closed", false, "also those that are closed, with the reason")
	return cmd
}

func (a *app) findingTable(list []api.Finding) {
	var rows [][]string
	for _, f := range list {
		fixed := orDash(strings.Join(f.Fixed, ", "))
		rows = append(rows, []string{string(f.Severity), f.Advisory, f.Package.PURL, fixed, f.Name, places(f.Places), standing(f)})
	}
	if len(rows) > 0 {
		a.out.Table([]string{"SEVERITY", "ADVISORY", "PACKAGE", "FIXED IN", "ARTIFACT", "RUNS AS", "STATE"}, rows)
	}
}

// standing says in words what becomes of a finding.
func standing(f api.Finding) string {
	switch {
	case !f.Closed.IsZero():
		return f.ClosedFor
	case f.VEX != nil:
		return f.VEX.Words + "; says " + f.VEX.By
	case len(f.Excused) > 0:
		var by []string
		for _, e := range f.Excused {
			by = append(by, fmt.Sprintf("%s in %s until %s", e.Exception, e.Environment, e.Until.UTC().Format(time.DateOnly)))
		}
		return "excused by " + strings.Join(by, ", ")
	}
	return "open"
}

func places(list []api.Place) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Service+" in "+p.Environment)
	}
	return strings.Join(out, ", ")
}

// short shortens a digest for people, and leaves an image as it is.
func short(artifact string) string {
	if d, err := assay.ParseDigest(artifact); err == nil {
		return d.Short()
	}
	return artifact
}

func (a *app) inventoryRebuildCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild",
		Short: "Make the index of artifacts again from the facts",
		Long: `Make the index of artifacts again from the facts: what is known of each digest, its
attestations, and which names stood for it. Nothing differs unless the state was
damaged, or was written by a version that kept less.

Changes the state directory (no other process may use it meanwhile), or what
--server keeps. Needs the role operator.

Exit codes: 0 made · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (api.Rebuilt, error) {
				return ops.RebuildIndex(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(r, func() {
				fmt.Fprintf(a.out, "%s, %s, %s; %s differed\n", plural(r.Artifacts, "artifact"), plural(r.Attestations, "attestation"), plural(r.References, "name"), plural(r.Differed, "value"))
			})
		},
	}
}

func (a *app) coverageCmd() *cobra.Command {
	var environment string
	var require float64
	cmd := &cobra.Command{
		Use:   "coverage",
		Short: "How much of what runs is attested, by environment",
		Long: `How much of what runs is attested, by environment: different artifacts with an
attestation that is valid now, of all artifacts that run. Valid means signed by a
trusted key, of the newest verdict, which passed an enforcing gate for this
environment, with exceptions that still hold. What nobody registered is listed by
name and counts against it.

Reads the state directory (no other process may use it meanwhile) or asks
--server; changes nothing.

Exit codes: 0 measured · 1 error · 2 usage · 3 below --require · 4 nothing is known to run.`,
		Example: `  assay report coverage --environment prod --require 1`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if require < 0 || require > 1 {
				return usageError{fmt.Errorf("--require %v is not a share from 0 to 1", require)}
			}
			list, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) ([]api.Coverage, error) {
				return ops.Coverage(cmd.Context(), environment)
			})
			if err != nil {
				return err
			}
			if err := a.print(list, func() { a.coverageTable(list) }); err != nil {
				return err
			}
			if len(list) == 0 {
				return exit(exitAbsent)
			}
			if slices.ContainsFunc(list, func(c api.Coverage) bool { return c.Ratio < require }) {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&environment, "environment", "", "only this one")
	cmd.Flags().Float64Var(&require, "require", 0, "smallest share that is good enough in every environment, 0 to 1")
	return cmd
}

func (a *app) coverageTable(list []api.Coverage) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "nothing is known to run; report it with: assay inventory push FILE --environment …")
	}
	for _, c := range list {
		fmt.Fprintf(a.out, "%s  %d of %s attested (%.1f %%)\n", a.out.Bold(c.Environment), c.Attested, plural(c.Running, "artifact"), 100*c.Ratio)
		for _, v := range c.Artifacts {
			sign := a.out.Paint(term.Green, "✓")
			if v.State != "attested" {
				sign = a.out.Paint(term.Vermilion, "✗")
			}
			fmt.Fprintf(a.out, "  %s %-12s %s  %s: %s\n", sign, v.State, cmp.Or(v.Name, short(v.Artifact)), strings.Join(v.Services, ", "), v.Reason)
		}
	}
}
