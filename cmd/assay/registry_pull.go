package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/registry"
	"github.com/spf13/cobra"
)

func (a *app) attestationPullCmd() *cobra.Command {
	var f registryFlags
	var into string
	cmd := &cobra.Command{
		Use:   "pull REGISTRY/NAME@DIGEST -d FOLDER",
		Short: "Write the attestations of an image in a registry into a folder",
		Long: `Write the attestations of an image in a registry into a folder, one file each, named by digest.

Reads the registry and writes the files; nothing else is changed. The files hold
what their digests say and nothing in them is verified; that is for "attestation verify".

Exit codes: 0 all written · 1 error · 2 usage · 3 the registry's answers do not hold · 4 there is none, or an expected one is missing.`,
		Example: `  assay attestation pull registry.example/team/app@sha256:… --predicate-type vsa -d attestations`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, found, err := a.discover(cmd.Context(), f, args[0])
			if err != nil {
				return err
			}
			out := pulled{found: found, Files: []pulledFile{}}
			if err := a.pull(cmd.Context(), client, f, into, &out); err != nil {
				return err
			}
			if err := a.print(out, func() { a.printPulled(out) }); err != nil {
				return err
			}
			return out.exit()
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&into, "into", "d", "", "folder to write to; it is made if need be")
	f.choose(fs)
	f.demand(fs)
	f.reach(fs)
	_ = cmd.MarkFlagRequired("into") // fails only for a flag that does not exist
	return cmd
}

// pulledFile is a bundle that was written, or why it was not.
type pulledFile struct {
	Bundle        assay.Digest `json:"bundle"`
	File          string       `json:"file,omitempty"`
	PredicateType string       `json:"predicate_type,omitempty"` // as the statement says
	Lie           string       `json:"lie,omitempty"`            // the predicate type that the annotation claims instead
	Problem       string       `json:"problem,omitempty"`        // why it was not written
}

type pulled struct {
	found
	Files []pulledFile `json:"files"`
}

func (p pulled) exit() error {
	wrote := slices.ContainsFunc(p.Files, func(f pulledFile) bool { return f.File != "" })
	switch {
	case slices.ContainsFunc(p.Files, func(f pulledFile) bool { return f.Problem != "" }):
		return exit(exitFailed)
	case !wrote || len(p.Missing) > 0:
		return exit(exitAbsent)
	}
	return nil
}

// pull writes the bundles that were found and are of the wanted types.
func (a *app) pull(ctx context.Context, client *registry.Client, f registryFlags, into string, out *pulled) error {
	for _, r := range out.Referrers {
		file := pulledFile{Bundle: r.Bundle}
		data, err := client.Pull(ctx, out.Reference, r)
		if err != nil {
			if assay.CodeOf(err) == assay.CodeUnavailable {
				return err
			}
			file.Problem = oneLine(err)
			out.Files = append(out.Files, file)
			continue
		}
		file.PredicateType, err = predicateTypeOf(data)
		switch {
		case err != nil:
			file.Problem = oneLine(err)
		case !wantedType(f.types, file.PredicateType):
			out.Excluded++
			continue
		default:
			if r.PredicateType != "" && r.PredicateType != file.PredicateType {
				file.Lie = r.PredicateType
			}
			name := r.Bundle.Hex() + ".sigstore.json"
			file.File = filepath.Join(into, name)
			if err := writeInto(into, name, data); err != nil {
				return err
			}
		}
		out.Files = append(out.Files, file)
	}
	return nil
}

// predicateTypeOf reads what a bundle's statement says it is, unverified.
func predicateTypeOf(bundle []byte) (string, error) {
	b, err := attest.ParseBundle(bundle)
	if err != nil {
		return "", err
	}
	st, err := attest.ParseStatement(b.Envelope.Payload)
	return st.PredicateType, err
}

// wantedType reports whether a predicate type is among those chosen; none chosen means all.
func wantedType(chosen []string, predicateType string) bool {
	return len(chosen) == 0 || slices.ContainsFunc(chosen, func(name string) bool {
		types, err := attest.PredicateTypes(name)
		return err == nil && (slices.Contains(types, predicateType) || slices.Contains(types, attest.TypeAny))
	})
}

func (a *app) printPulled(p pulled) {
	fmt.Fprintln(a.out, p.Reference)
	for _, f := range p.Files {
		if f.Problem != "" {
			fmt.Fprintf(a.out, "%s bundle %s is not written: %s\n", a.out.Paint(term.Vermilion, "✗"), f.Bundle, f.Problem)
			continue
		}
		fmt.Fprintf(a.out, "%s  %s\n", f.File, f.PredicateType)
		if f.Lie != "" {
			fmt.Fprintf(a.out, "%s it was pushed as %s, which is not what its statement says\n", a.out.Paint(term.Vermilion, "!"), f.Lie)
		}
	}
	if len(p.Files) == 0 {
		fmt.Fprintln(a.out, "no attestations")
	}
	a.printWrong(p.found)
}
