package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// ledgerReads is what the ledger commands need of a control plane.
type ledgerReads interface {
	Head(ctx context.Context) (api.Head, error)
	Publication(ctx context.Context, id assay.FactID) (api.Publication, error)
	Facts(ctx context.Context, kinds []string, subject assay.Digest, limit int) ([]assay.Fact, error)
}

func (a *app) ledgerCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "ledger", Short: "Look at the ledger, prove what is in it, and audit it"}
	cmd.AddCommand(a.ledgerHeadCmd(), a.ledgerFactsCmd(), a.ledgerProveCmd(), a.ledgerVerifyCmd(), a.ledgerAuditCmd(), a.ledgerRestoreCmd(), a.ledgerWitnessCmd())
	return cmd
}

func (a *app) ledgerHeadCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "head",
		Short: "Print the newest signed checkpoint",
		Long: `Print the newest signed checkpoint.

Reads the state directory (no other process may use it meanwhile) or asks
--server; changes nothing. The note itself, as C2SP defines it, is in -o json.

Exit codes: 0 printed · 1 error, or nothing is published yet · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (api.Head, error) {
				return ops.Head(cmd.Context())
			})
			if err != nil {
				return err
			}
			return a.print(h, func() {
				fmt.Fprintf(a.out, "origin    %s\nsize      %d\nroot      %s\nverifier  %s\n", h.Origin, h.Size, h.RootHash, h.Verifier)
				if w := h.Witnessed; w != nil {
					fmt.Fprintf(a.out, "witnessed size %d by %s\n", w.Size, orDash(strings.Join(w.Witnesses, ", ")))
					fmt.Fprintf(a.out, "quorum    %s\n", map[bool]string{true: "met", false: "not met"}[w.Quorum])
				}
			})
		},
	}
}

func (a *app) ledgerProveCmd() *cobra.Command {
	var out, format string
	var system bool
	cmd := &cobra.Command{
		Use:   "prove FACT",
		Short: "Write the proof that a fact is in the ledger; waits until it is published",
		Long: `Write the proof that a fact is in the ledger; waits until it is published.

The proof of an attestation (fact kind attest.signed) holds the attestation too.
It needs no network and no server to be verified: see assay ledger verify. The
proof is a file format of its own, whatever --output says. --format tlog-proof writes
the leaf and its inclusion as C2SP tlog-proof, without the fact: for other tools, and
for who may not see what the fact says. With --witnesses, the proof's head carries
the cosignatures that there are.

Reads the state directory (no other process may use it meanwhile) or asks
--server. Changes the ledger only if the fact waits for publication and no server
publishes it; that needs the passphrase.

Exit codes: 0 written · 1 error · 2 usage.`,
		Example: `  assay ledger facts --kind exception.approved
  assay ledger prove 0197f2c1-… -f approval.proof.json
  assay ledger facts --system --kind key.created`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != formatAssay && format != formatTlog {
				return usageError{fmt.Errorf("--format %s", strict.OneOf(format, []string{formatAssay, formatTlog}))}
			}
			if err := writable("--file", out); err != nil {
				return err
			}
			p, err := a.prove(cmd.Context(), assay.FactID(args[0]), system)
			if err == nil && format == formatTlog {
				p, err = artifact.TlogProofFile(p)
			}
			if err != nil {
				return err
			}
			if out == "" {
				_, err = a.out.Write(p)
				return err
			}
			return writeFile(out, p)
		},
	}
	cmd.Flags().StringVarP(&out, "file", "f", "", "write to this file instead of standard output")
	cmd.Flags().StringVar(&format, "format", formatAssay, "assay (with the fact) or tlog-proof (C2SP, leaf and inclusion only)")
	cmd.Flags().BoolVar(&system, "system", false, systemUsage)
	return cmd
}

// The formats of a proof file.
const (
	formatAssay = "assay"
	formatTlog  = "tlog-proof"
)

// prove returns the proof of a fact. Nobody publishes facts of a local directory
// while no server runs on it, so a sequencer is run if the fact waits for one.
func (a *app) prove(ctx context.Context, id assay.FactID, system bool) ([]byte, error) {
	ops, err := a.connect(ctx, stateNeeded)
	if err != nil {
		return nil, err
	}
	p, err := ops.facts(system).Publication(ctx, id)
	noLedger := assay.CodeOf(err) == assay.CodeUnavailable
	if err != nil && !noLedger || p.Published || a.cfg.get("server") != "" {
		defer ops.close()
		if err != nil && !noLedger {
			return nil, err
		}
		return ops.facts(system).Proof(ctx, id)
	}
	ops.close()
	if ops, err = a.connect(ctx, stateSigning); err != nil {
		return nil, err
	}
	defer ops.close()
	return ops.facts(system).Proof(ctx, id)
}

func (a *app) ledgerVerifyCmd() *cobra.Command {
	var key string
	var payloads bool
	cmd := &cobra.Command{
		Use:   "verify PROOF --pub FILE",
		Short: "Verify a proof file with a public key and nothing else",
		Long: `Verify that the ledger holds the fact in a proof file. The proof of an exception's
approval may hold a signed statement; it must be of this very exception, and signed
by a key of the public file. A C2SP .tlog-proof file is taken too. With --witnesses,
the head must also have the cosignatures that the policy file asks for. With --payloads,
who has the state directory sees what became of the payloads that the fact names: kept,
expired under their retention, or lost.

Reads the proof file and the public file; needs no network, no server and, without
--payloads, no state directory. Changes nothing.

Exit codes: 0 holds · 1 error · 2 usage · 3 the proof does not hold, or a payload is lost.`,
		Example: `  assay ledger verify app.proof.json --pub assay.pub`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			public, err := loadPublic(key)
			if err != nil {
				return err
			}
			data, err := readFile(args[0], attest.MaxProof)
			if err != nil {
				return err
			}
			if ledger.IsProofFile(data) {
				return inFile(a.verifyTlogProof(data, public.ledger), args[0])
			}
			return a.verifyFactProof(cmd.Context(), data, args[0], public, payloads)
		},
	}
	cmd.Flags().BoolVar(&payloads, "payloads", false, "also say what became of the payloads that the fact names, from the state directory")
	cmd.Flags().StringVar(&key, "pub", "", "public file of the signer (assay.pub)")
	_ = cmd.MarkFlagRequired("pub") // fails only for a flag that does not exist
	return cmd
}

// verifyFactProof verifies a proof file, and says what became of what its fact names.
func (a *app) verifyFactProof(ctx context.Context, data []byte, path string, public publicKeys, payloads bool) error {
	v := struct {
		artifact.ProvenFact
		Payloads []payloadShown `json:"payloads,omitempty"`
	}{}
	var err error
	if v.ProvenFact, err = artifact.VerifyFactProof(data, public.ledger, public.keys...); err != nil {
		return inFile(err, path)
	}
	fact := v.ProvenFact
	quorum, err := a.requireQuorum([]byte(fact.Head))
	if err != nil {
		return inFile(err, path)
	}
	var failed error // of the state directory: the proof holds without it
	if payloads {
		v.Payloads, failed = a.payloadsOf(ctx, assay.Fact{ID: fact.ID, Kind: fact.Kind, Namespace: fact.Namespace, Payload: fact.Payload})
	}
	err = a.print(v, func() {
		fmt.Fprintf(a.out, "%s %s holds fact %s: %s by %s\n",
			a.out.Paint(term.Green, "✓"), fact.Origin, fact.ID, fact.Kind, fact.Actor)
		for _, key := range fact.SignedBy {
			fmt.Fprintf(a.out, "%s its statement is signed by key %s\n", a.out.Paint(term.Green, "✓"), key)
		}
		a.printQuorum(quorum)
		a.printPayloads(v.Payloads)
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if slices.ContainsFunc(v.Payloads, func(p payloadShown) bool { return !p.there() }) {
		return exit(exitFailed)
	}
	return nil
}

// verifyTlogProof verifies a .tlog-proof file.
func (a *app) verifyTlogProof(data []byte, vkey string) error {
	leaf, head, err := ledger.VerifyProofFile(data, vkey)
	if err != nil {
		return assay.Errorf(assay.CodeUnverified, "%w", err)
	}
	quorum, err := a.requireQuorum(head.Raw)
	if err != nil {
		return err
	}
	v := struct {
		Origin string      `json:"origin"`
		Leaf   ledger.Leaf `json:"leaf"`
		Head   string      `json:"head"`
	}{head.Origin, leaf, string(head.Raw)}
	return a.print(v, func() {
		fmt.Fprintf(a.out, "%s %s holds fact %s: %s, digest %s\n", a.out.Paint(term.Green, "✓"), head.Origin, leaf.Fact, leaf.Kind, leaf.Digest)
		a.printQuorum(quorum)
	})
}

func (a *app) printQuorum(q *ledger.Quorum) {
	if q == nil {
		return
	}
	fmt.Fprintf(a.out, "%s the quorum of witnesses is met\n", a.out.Paint(term.Green, "✓"))
	for _, c := range q.Cosignatures {
		fmt.Fprintf(a.out, "  witness %s saw the head at %s\n", c.Witness, c.Time.Format(time.RFC3339))
	}
}

func (a *app) ledgerAuditCmd() *cobra.Command {
	var fsck bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Compare the whole ledger with the store, entry by entry",
		Long: `Compare the whole ledger with the store, entry by entry.

Reads the state directory, which no other process may use meanwhile, and changes
nothing.

Exit codes: 0 they agree · 1 error · 2 usage · 3 they disagree, or a signature does not hold.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := a.open(cmd.Context(), false, prometheus.NewRegistry())
			if err != nil {
				return err
			}
			defer in.close()
			if in.ledger == nil {
				return assay.Errorf(assay.CodeNotFound, "%s has no ledger yet", a.cfg.get("dir"))
			}
			o, err := a.auditOptions(cmd.Context(), in, fsck)
			if err != nil {
				return err
			}
			r, err := in.ledger.Audit(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := a.print(r, func() { a.printAudit(r) }); err != nil {
				return err
			}
			if !r.OK {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&fsck, "fsck", false, "also read every tile again with an independent checker")
	return cmd
}

func (a *app) printAudit(r ledger.Report) {
	for _, p := range r.Problems {
		fmt.Fprintf(a.out, "%s %s\n", a.out.Paint(term.Vermilion, "✗"), p)
	}
	if r.Omitted > 0 {
		fmt.Fprintf(a.out, "… and %s\n", plural(r.Omitted, "more problem"))
	}
	if r.OK {
		fmt.Fprintf(a.out, "%s %s, %d not published yet; store and ledger agree\n", a.out.Paint(term.Green, "✓"), plural(r.Entries, "fact"), r.Unpublished)
		fmt.Fprintf(a.out, "%s payloads: %d kept, %d expired\n", a.out.Paint(term.Green, "✓"), r.Payloads.Kept, r.Payloads.Expired)
	}
}

// refuseNeedlessEpoch keeps a healthy ledger from being cut: everybody who follows
// it would have to find out why.
func (in *installation) refuseNeedlessEpoch(ctx context.Context, data string) error {
	newest := in.epochs[len(in.epochs)-1]
	signed, err := ledger.LastHead(ctx, newest.Reader, ledger.HeadPath(ledger.EpochDir(data, newest.Number)), newest.Verifier)
	if err != nil {
		return nil // it is not healthy
	}
	published, err := in.ledger.Head(ctx)
	if err != nil || published.Size != signed.Size || published.Root != signed.Root {
		return nil // older than what was signed
	}
	r, err := in.ledger.Audit(ctx, ledger.AuditOptions{})
	if err != nil || !r.OK {
		return err
	}
	e := assay.Errorf(assay.CodeConflict, "store and ledger agree: there is nothing to restore")
	e.Hint = "give the newer checkpoint that somebody has with --head, if that is the reason"
	return e
}

// recordHalt keeps the fact that the sequencer stopped; the log has it too.
func (in *installation) recordHalt(ctx context.Context, h ledger.Halt) {
	_ = in.store.Update(ctx, func(tx store.Tx) error { // a store that fails is why it halted
		_, err := tx.Append(haltFact(h))
		return err
	})
}
func haltFact(h ledger.Halt) assay.Fact {
	// Two plain fields always encode.
	payload, _ := json.Marshal(struct {
		Error string `json:"error"`
		Final bool   `json:"final"`
	}{h.Err.Error(), h.Final})
	return assay.Fact{
		Kind: assay.FactLedgerHalted, Version: 1, Namespace: systemNamespace, Actor: "ledger.sequencer",
		Retention: assay.RetainOperational, Payload: payload,
	}
}

func (a *app) ledgerRestoreCmd() *cobra.Command {
	var head string
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Open a new epoch of the ledger after a restore from backup",
		Long: `Open a new epoch of the ledger after store or ledger came back from a backup.

When one of them is older than the other the sequencer refuses to sign: a fork is
worse than a stop. This opens a new tree under a new origin (…/epoch-N) whose first
leaf commits to the old head, so that everybody can see that and where it happened.
Give the newest checkpoint that anybody still has with --head if it is newer than
the one in the state directory.

Reads the state directory, which no other process may use meanwhile, and adds the
new epoch to it; nothing in the old one changes.

Exit codes: 0 opened · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := a.restoreLedger(cmd.Context(), head)
			if err != nil {
				return err
			}
			v := struct {
				Epoch int `json:"epoch"`
			}{n}
			return a.print(v, func() {
				fmt.Fprintf(a.out, "%s the ledger goes on in epoch %d\n", a.out.Paint(term.Green, "✓"), n)
			})
		},
	}
	cmd.Flags().StringVar(&head, "head", "", "file with the newest known checkpoint of the old epoch")
	return cmd
}
