package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/registry"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// registryFlags say how a registry is reached, which attestations of an image
// are looked for there, and which must be there.
type registryFlags struct {
	image             string // whose attestations to verify, REGISTRY/NAME@DIGEST
	insecure, helpers bool
	types             []string
	expect            []string
	recorded          bool
}

// reach adds the flags of every command that talks to a registry.
func (f *registryFlags) reach(fs *pflag.FlagSet) {
	fs.BoolVar(&f.insecure, "insecure", false, "allow plain HTTP to other machines")
	fs.BoolVar(&f.helpers, "credential-helpers", false, "run the credential helpers that the docker config.json names")
}

// demand adds the flags that say what must be there.
func (f *registryFlags) demand(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.expect, "expect", nil, "digest of a bundle that the registry must have; may be repeated")
	fs.BoolVar(&f.recorded, "recorded", false, "expect every attestation of the image that the state directory or --server recorded")
}

// verify adds the flags of the command that verifies what an image has.
func (f *registryFlags) verify(fs *pflag.FlagSet) {
	fs.StringVar(&f.image, "registry", "", "image REGISTRY/NAME@DIGEST whose attestations to pull and verify, every one; one must hold")
	f.demand(fs)
	f.reach(fs)
}

// choose adds the flag that picks attestations.
func (f *registryFlags) choose(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.types, "predicate-type", nil, "only attestations of this type; may be repeated")
}

// registryClient returns a client for any registry, with the credentials that docker login wrote.
func (a *app) registryClient(f registryFlags) (*registry.Client, error) {
	cfg := registry.Config{PlainHTTP: f.insecure, Helpers: f.helpers, UserAgent: "assay/" + version()}
	if dir := a.env("DOCKER_CONFIG"); dir != "" {
		cfg.DockerConfig = filepath.Join(dir, "config.json")
	} else if home := a.env("HOME"); home != "" {
		cfg.DockerConfig = filepath.Join(home, ".docker", "config.json")
	}
	if path := a.cfg.get("registry-ca"); path != "" {
		var err error
		if cfg.CA, err = readFile(path, maxCA); err != nil {
			return nil, err
		}
	}
	c, err := registry.New(cfg)
	return c, inFile(err, a.cfg.get("registry-ca")) // an error about credentials names its own
}

// expectedBundles returns the bundles that must be there: those named, and those that
// were recorded of the image.
func (a *app) expectedBundles(ctx context.Context, f registryFlags, image assay.Digest) ([]assay.Digest, error) {
	var want []assay.Digest
	for _, s := range f.expect {
		d, err := assay.ParseDigest(s)
		if err != nil {
			return nil, usageError{fmt.Errorf("--expect: %w", err)}
		}
		want = append(want, d)
	}
	if !f.recorded {
		return want, nil
	}
	ops, err := a.connect(ctx, stateNeeded)
	if err != nil {
		return nil, err
	}
	defer ops.close()
	facts, err := ops.Facts(ctx, []string{assay.FactAttested}, image, registry.MaxReferrers)
	if err != nil {
		return nil, err
	}
	for _, fact := range facts {
		var said artifact.AttestedPayload
		if err := json.Unmarshal(fact.Payload, &said); err != nil {
			return nil, assay.Errorf(assay.CodeInternal, "fact %s is not readable: %w", fact.ID, err)
		}
		if !slices.Contains(want, said.BundleDigest) {
			want = append(want, said.BundleDigest)
		}
	}
	return want, nil
}

func (a *app) attestationPushCmd() *cobra.Command {
	var f registryFlags
	var to string
	cmd := &cobra.Command{
		Use:   "push BUNDLE --to REGISTRY/NAME@DIGEST",
		Short: "Hang an attestation on an image in a registry",
		Long: `Hang an attestation on an image in a registry, where cosign and everybody else finds it.

Reads the bundle and changes the registry: it writes the bundle as an OCI
referrer of the image, whose digest the bundle must be about, and returns once
the registry lists it. A bundle that is there already is not written again.
Credentials are those of docker login.

Exit codes: 0 it is there · 1 refused or error · 2 usage · 3 the registry's answers do not hold.`,
		Example: `  assay attestation push app.sigstore.json --to registry.example/team/app@sha256:…`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			bundle, err := readFile(args[0], attest.MaxBundle)
			if err != nil {
				return err
			}
			client, err := a.registryClient(f)
			if err != nil {
				return err
			}
			pushed, err := client.Push(cmd.Context(), to, bundle, a.now())
			if err != nil {
				return err
			}
			return a.print(pushed, func() {
				did := "pushed    "
				if pushed.Existed {
					did = "was there "
				}
				fmt.Fprintf(a.out, "%s %s\nreferrer   %s\nimage      %s\n", did, pushed.Referrer.Bundle, pushed.Referrer.Digest, pushed.Reference)
				if pushed.Fallback {
					fmt.Fprintln(a.out, "listed by  the index tag: this registry has no referrers API")
				}
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&to, "to", "", "the image: REGISTRY/NAME@DIGEST")
	f.reach(fs)
	_ = cmd.MarkFlagRequired("to") // fails only for a flag that does not exist
	return cmd
}

func (a *app) attestationDiscoverCmd() *cobra.Command {
	var f registryFlags
	cmd := &cobra.Command{
		Use:   "discover REGISTRY/NAME@DIGEST",
		Short: "List the attestations of an image in a registry",
		Long: `List the attestations of an image in a registry.

Reads the registry and changes nothing. What is listed is what whoever pushed an
attestation wrote beside it: nothing is verified. A registry can leave out what
it likes; --expect and --recorded say what must be there.

Exit codes: 0 listed · 1 error · 2 usage · 3 the registry's answers do not hold · 4 there is none, or an expected one is missing.`,
		Example: `  assay attestation discover registry.example/team/app@sha256:… --predicate-type vsa
  assay attestation discover registry.example/team/app:v1 --recorded -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, found, err := a.discover(cmd.Context(), f, args[0])
			if err != nil {
				return err
			}
			if err := a.print(found, func() { a.printFound(found) }); err != nil {
				return err
			}
			return found.exit()
		},
	}
	f.choose(cmd.Flags())
	f.demand(cmd.Flags())
	f.reach(cmd.Flags())
	return cmd
}

// found is what a registry shows of an image, and what it should show and does not.
type found struct {
	registry.Listing
	Missing []assay.Digest `json:"missing,omitempty"`
}

// exit is never 0 where there is nothing.
func (f found) exit() error {
	if len(f.Referrers) == 0 || len(f.Missing) > 0 {
		return exit(exitAbsent)
	}
	return nil
}

func (a *app) discover(ctx context.Context, f registryFlags, reference string) (*registry.Client, found, error) {
	var filter registry.Filter
	for _, name := range f.types {
		types, err := attest.PredicateTypes(name)
		if err != nil {
			return nil, found{}, usageError{fmt.Errorf("--predicate-type: %w", err)}
		}
		if !slices.Contains(types, attest.TypeAny) {
			filter.PredicateTypes = append(filter.PredicateTypes, types...)
		}
	}
	client, err := a.registryClient(f)
	if err != nil {
		return nil, found{}, err
	}
	// Without the filter, because what is expected may be of any type.
	l, err := client.Discover(ctx, reference, registry.Filter{})
	if err != nil {
		return nil, found{}, err
	}
	want, err := a.expectedBundles(ctx, f, l.Subject)
	if err != nil {
		return nil, found{}, err
	}
	return client, found{Listing: l.Only(filter), Missing: l.Missing(want)}, nil
}

func (a *app) printFound(f found) {
	fmt.Fprintln(a.out, f.Reference)
	if len(f.Referrers) == 0 {
		fmt.Fprintln(a.out, "no attestations")
	} else {
		var rows [][]string
		for _, r := range f.Referrers {
			rows = append(rows, []string{string(r.Bundle), orUnknown(r.PredicateType), orUnknown(r.Created), strconv.FormatInt(r.Size, 10)})
		}
		a.out.Table([]string{"BUNDLE", "PREDICATE TYPE (NOT VERIFIED)", "CREATED", "BYTES"}, rows)
	}
	a.printWrong(f)
}

func orUnknown(s string) string {
	if s == "" {
		return "not stated"
	}
	return s
}

// printWrong says what is wrong with what a registry shows.
func (a *app) printWrong(f found) {
	for _, r := range f.Referrers {
		if r.Omitted {
			fmt.Fprintf(a.out, "%s bundle %s: the registry leaves it out of its list; the index tag names it\n", a.out.Paint(term.Vermilion, "!"), r.Bundle)
		}
	}
	for _, fault := range f.Faults {
		fmt.Fprintf(a.out, "%s referrer %s is ignored: %s\n", a.out.Paint(term.Vermilion, "!"), fault.Digest, fault.Reason)
	}
	if f.Foreign > 0 {
		fmt.Fprintf(a.out, "%s of another kind ignored\n", plural(f.Foreign, "referrer"))
	}
	if f.Excluded > 0 {
		fmt.Fprintf(a.out, "%s of another type not listed\n", plural(f.Excluded, "attestation"))
	}
	for _, d := range f.Missing {
		fmt.Fprintf(a.out, "%s bundle %s is missing: it should be there, and the registry does not show it\n", a.out.Paint(term.Vermilion, "✗"), d)
	}
}
