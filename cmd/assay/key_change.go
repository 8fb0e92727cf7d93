package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

// signingKeys is what the key commands need of a control plane.
type signingKeys interface {
	Keys(ctx context.Context) ([]api.Key, error)
	RotateKey(ctx context.Context, req api.KeyRotation) (api.KeyRotated, error)
	RevokeKey(ctx context.Context, req api.KeyRevocationRequest) (api.KeyRevoked, error)
}

// rotationFlags are the flags of key rotate.
type rotationFlags struct {
	algorithm string
	to        string // a key that lies elsewhere, instead of a new file
	overlap   time.Duration
}

func (a *app) keyRotateCmd() *cobra.Command {
	f := &a.rotation
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the key that signs attestations; the old one ends after an overlap",
		Long: `Replace the key that signs attestations; the old one ends after an overlap.

What the old key signed before its end stays valid. Makes a new key file in the
state directory (no other process may use it meanwhile), or on --server; with --to
the new key is one that exists elsewhere. Then it waits until the ledger
has published the change, writes DIR/keys/assay.trust.yaml and assay.pub anew, and
only then signs with the new key. Interrupted, it goes on when it is repeated. The
old private file stays beside the new one as assay.retired-….key.

Needs the role admin. Exit codes: 0 rotated · 1 error, the old key signs on · 2 usage.`,
		Example: `  assay key rotate --overlap 720h
  assay key rotate --to 'pkcs11:token=assay;object=release' --overlap 0s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(keyAlgorithms, f.algorithm) {
				return usageError{fmt.Errorf("--algorithm %s", strict.OneOf(f.algorithm, keyAlgorithms))}
			}
			if f.overlap < 0 || f.overlap.Seconds() > api.MaxKeyOverlap {
				return usageError{fmt.Errorf("--overlap is %s; expected 0s to 8784h", f.overlap)}
			}
			if (f.to != "" || cmd.Flags().Changed("algorithm")) && a.cfg.get("server") != "" {
				return usageError{fmt.Errorf("--to and --algorithm are for work on a local directory; a server makes the kind of key it has")}
			}
			done, err := ask(cmd.Context(), a, stateSigning, func(ops *operations) (api.KeyRotated, error) {
				return ops.RotateKey(cmd.Context(), api.KeyRotation{Overlap: int64(f.overlap.Seconds())})
			})
			if err != nil {
				return err
			}
			return a.print(done, func() { a.printRotation(done) })
		},
	}
	fs := cmd.Flags()
	fs.DurationVar(&f.overlap, "overlap", 720*time.Hour, "how long the old key goes on being valid")
	fs.StringVar(&f.algorithm, "algorithm", keyAlgorithms[0], "ecdsa-p256 or ed25519, for the new key")
	fs.StringVar(&f.to, "to", "", "sign with this key from now on, in the form of --key, instead of a new file")
	return cmd
}

func (a *app) printRotation(r api.KeyRotated) {
	if r.Resumed {
		fmt.Fprintln(a.out, "an earlier rotation was interrupted; it is complete now")
	}
	fmt.Fprintf(a.out, "signs from now on  %s\n", r.Key.ID)
	switch {
	case r.Old.Revoked != nil:
		fmt.Fprintf(a.out, "revoked            %s\n", r.Old.ID)
	case r.Old.ID != "":
		fmt.Fprintf(a.out, "valid until        %s  %s\n", r.Old.NotAfter.UTC().Format(time.RFC3339), r.Old.ID)
	}
	fmt.Fprintf(a.out, "fact               %s\n", r.Fact)
	if a.cfg.get("server") == "" {
		fmt.Fprintf(a.out, "give who verifies  %s\n", a.trustPath())
	}
	if a.rotation.to != "" {
		fmt.Fprintf(a.out, "next: put key: %q into assay.yaml, or set ASSAY_KEY\n", a.rotation.to)
	}
}

func (a *app) keyRevokeCmd() *cobra.Command {
	var req api.KeyRevocationRequest
	var since string
	cmd := &cobra.Command{
		Use:   "revoke KEY --compromised-since TIME --reason TEXT",
		Short: "Stop believing a key since a time; list what is affected and where it runs",
		Long: `Stop believing a key since a time; list what is affected and where it runs.

What the ledger recorded before TIME stays good, if it comes with its proof;
everything else that the key signed is refused: by verifiers with the new
DIR/keys/assay.trust.yaml, and by running enforcers, which load it again by themselves.
KEY is a key's id, the beginning of it, or its name. With --dry-run nothing changes.

Changes the state directory (no other process may use it meanwhile) or asks
--server, and waits until the ledger has published it. Affected attestations are
those of --namespace. A second revocation can only begin earlier. If the key
signed until now, make a new one: assay key rotate.

Needs the role admin. Exit codes: 0 revoked, or listed · 1 error · 2 usage.`,
		Example: `  assay key revoke SHA256:4Zk… --compromised-since 2026-11-02T09:00:00Z --reason "laptop stolen" --dry-run
  assay key revoke key-1 --compromised-since -36h --reason "passphrase in a build log"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			req.Key = args[0]
			if req.CompromisedSince, err = parseTime(since, a.now()); err != nil {
				return usageError{fmt.Errorf("--compromised-since: %w", err)}
			}
			done, err := ask(cmd.Context(), a, stateSigning, func(ops *operations) (api.KeyRevoked, error) {
				return ops.RevokeKey(cmd.Context(), req)
			})
			if err != nil {
				return err
			}
			return a.print(done, func() { a.printRevocation(done, req) })
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&since, "compromised-since", "", "when somebody else may have had the key first: a date, RFC 3339, or a duration such as -36h")
	fs.StringVar(&req.Reason, "reason", "", "what happened")
	fs.BoolVar(&req.DryRun, "dry-run", false, "only list what would be affected")
	for _, name := range []string{"compromised-since", "reason"} {
		_ = cmd.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return cmd
}

func (a *app) printRevocation(r api.KeyRevoked, req api.KeyRevocationRequest) {
	verb := a.out.Paint(term.Vermilion, "revoked")
	if req.DryRun {
		verb = "would be revoked"
	}
	fmt.Fprintf(a.out, "%s  %s %s, compromised since %s\n", verb, r.Key.Name, r.Key.ID, req.CompromisedSince.Format(time.RFC3339))
	fmt.Fprintf(a.out, "%s no longer good, %d recorded before and still good\n", plural(r.Total, "attestation"), r.Good)
	if len(r.Affected) > 0 {
		var rows [][]string
		for _, x := range r.Affected {
			rows = append(rows, []string{x.Time.UTC().Format(time.RFC3339), x.Name, x.Gate, shortest(string(x.Subject)), string(x.Bundle)})
		}
		a.out.Table([]string{"RECORDED", "NAME", "GATE", "ARTIFACT", "BUNDLE"}, rows)
	}
	if more := r.Total - len(r.Affected); more > 0 {
		fmt.Fprintf(a.out, "and %d more; the facts attest.signed have them all\n", more)
	}
	if len(r.Running) == 0 {
		fmt.Fprintln(a.out, "none of them runs, as far as inventory and enforcer know")
	} else {
		fmt.Fprintln(a.out, "running now:")
		var rows [][]string
		for _, x := range r.Running {
			rows = append(rows, []string{string(x.Digest), x.Where})
		}
		a.out.Table([]string{"ARTIFACT", "WHERE"}, rows)
	}
	if r.Fact != "" {
		fmt.Fprintf(a.out, "fact %s\n", r.Fact)
	}
}

// shortest keeps a digest recognisable in a table.
func shortest(digest string) string {
	if alg, value, ok := strings.Cut(digest, ":"); ok && len(value) > 12 {
		return alg + ":" + value[:12] + "…"
	}
	return digest
}
