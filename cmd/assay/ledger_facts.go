package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/client"
	"assay.dev/assay/control"
	"github.com/spf13/cobra"
)

// maxFacts is how many facts one listing shows at most, as on a server.
const maxFacts = 1000

// listedFact is a fact and how far it has come on its way into the ledger.
type listedFact struct {
	assay.Fact
	State string `json:"state"` // recorded, published, or kept: not meant for the ledger
	Index string `json:"index,omitempty"`
}

const systemUsage = "facts of the installation instead of a namespace's; needs the role operator or admin"

// factReads is what commands ask about facts.
type factReads interface {
	Facts(ctx context.Context, kinds []string, subject assay.Digest, limit int) ([]assay.Fact, error)
	Publication(ctx context.Context, id assay.FactID) (api.Publication, error)
	Proof(ctx context.Context, id assay.FactID) ([]byte, error)
}

// facts are the facts of the caller's namespace, or those of the installation.
func (o *operations) facts(system bool) factReads {
	if !system {
		return o
	}
	if remote, ok := o.ledgerReads.(*client.Client); ok {
		return remote.System()
	}
	return o.ledgerReads.(*control.Session).System() // a plane is one or the other
}

func (a *app) ledgerFactsCmd() *cobra.Command {
	var kinds []string
	var subject string
	var limit int
	var system bool
	cmd := &cobra.Command{
		Use:   "facts",
		Short: "List what happened, newest first, and what of it the ledger holds",
		Long: `List what happened in the namespace, newest first, and what of it the ledger holds.

A fact is recorded first and published when a signed checkpoint covers it; facts
that are only kept never enter the ledger. With --system what happened to the
installation itself is listed (keys, tokens, a ledger that stopped); that needs the
role operator or admin, and tokens are those of your namespace. Reads the state
directory (no other process may use it meanwhile) or asks --server; changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Example: `  assay ledger facts --kind exception.approved --limit 5`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > maxFacts {
				return usageError{fmt.Errorf("--limit %d is not from 1 to %d", limit, maxFacts)}
			}
			if subject != "" {
				if _, err := assay.ParseDigest(subject); err != nil {
					return usageError{fmt.Errorf("--subject: %w", err)}
				}
			}
			ops, err := a.connect(cmd.Context(), stateNeeded)
			if err != nil {
				return err
			}
			defer ops.close()
			list, err := listFacts(cmd.Context(), ops.facts(system), kinds, assay.Digest(subject), limit)
			if err != nil {
				return err
			}
			return a.print(list, func() { a.factTable(list) })
		},
	}
	cmd.Flags().StringArrayVar(&kinds, "kind", nil, "only facts of this kind, for example attest.signed; may be repeated")
	cmd.Flags().StringVar(&subject, "subject", "", "only facts about the artifact with this digest")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most")
	cmd.Flags().BoolVar(&system, "system", false, systemUsage)
	return cmd
}

func listFacts(ctx context.Context, ops factReads, kinds []string, subject assay.Digest, limit int) ([]listedFact, error) {
	facts, err := ops.Facts(ctx, kinds, subject, limit)
	if err != nil {
		return nil, err
	}
	list := make([]listedFact, 0, len(facts))
	for _, f := range facts {
		l := listedFact{Fact: f, State: "kept"}
		if f.Retention == assay.RetainAudit {
			l.State = "recorded"
			p, err := ops.Publication(ctx, f.ID)
			if err != nil && assay.CodeOf(err) != assay.CodeUnavailable { // no ledger yet
				return nil, err
			}
			if p.Published {
				l.State, l.Index = "published", strconv.FormatUint(p.Index, 10)
			}
		}
		list = append(list, l)
	}
	return list, nil
}

func (a *app) factTable(list []listedFact) {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "no facts")
		return
	}
	var rows [][]string
	for _, f := range list {
		about := "-"
		if f.Subject != "" {
			about = f.Subject.Short()
		}
		rows = append(rows, []string{string(f.ID), f.Time.Format(time.RFC3339), f.Kind, f.Actor, about, f.State, orDash(f.Index)})
	}
	a.out.Table([]string{"FACT", "TIME", "KIND", "BY", "ABOUT", "STATE", "INDEX"}, rows)
}
