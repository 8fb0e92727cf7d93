package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"github.com/spf13/cobra"
)

// keyRow is one line of key list.
type keyRow struct {
	Use   string `json:"use"`
	Name  string `json:"name,omitempty"`
	ID    string `json:"id"`
	State string `json:"state"`
	Until string `json:"until,omitempty"` // RFC 3339
	Note  string `json:"note,omitempty"`
}

func (a *app) keyListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the public keys of a state directory or server, and what became of them",
		Long: `List the public keys of a state directory or server, and what became of them.

Reads DIR/keys/assay.trust.yaml and DIR/keys/assay.pub, or asks --server. Needs no
passphrase, and changes nothing.

Exit codes: 0 listed · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := a.keyRows(cmd.Context())
			if err != nil {
				return err
			}
			var table [][]string
			for _, r := range rows {
				table = append(table, []string{r.Use, r.ID, r.State, cmp.Or(r.Until, "-"), cmp.Or(r.Note, "-")})
			}
			return a.print(rows, func() { a.out.Table([]string{"USE", "ID", "STATE", "UNTIL", "NOTE"}, table) })
		},
	}
}

func (a *app) keyRows(ctx context.Context) ([]keyRow, error) {
	if a.cfg.get("server") != "" {
		ops, err := a.connect(ctx, stateNeeded)
		if err != nil {
			return nil, err
		}
		defer ops.close()
		list, err := ops.Keys(ctx)
		if err != nil {
			return nil, err
		}
		return keyRows(list, a.now()), nil
	}
	public, err := loadPublic(a.publicKeyPath())
	if err != nil {
		return nil, err
	}
	trust, err := loadTrust(a.trustPath())
	if errors.Is(err, fs.ErrNotExist) {
		trust, err = trustOf(public, []string{a.cfg.get("verifier-id")}), nil
	}
	if err != nil {
		return nil, err
	}
	var list []api.Key
	for _, k := range trust.Policy.Keys {
		row := api.Key{ID: k.Key.KeyID(), Name: k.Name, NotBefore: k.NotBefore, NotAfter: k.NotAfter}
		if k.Revoked != nil {
			row.Revoked = &api.KeyRevocation{CompromisedSince: k.Revoked.CompromisedSince, Reason: k.Revoked.Reason}
		}
		list = append(list, row)
	}
	rows := keyRows(list, a.now())
	if public.ledger != "" {
		rows = append(rows, keyRow{Use: "ledger", ID: public.ledger, State: "valid"})
	}
	return rows, nil
}

func keyRows(list []api.Key, now time.Time) []keyRow {
	var rows []keyRow
	for _, k := range list {
		r := keyRow{Use: "attestations", Name: k.Name, ID: k.ID, State: k.State(now)}
		if !k.NotAfter.IsZero() {
			r.Until = k.NotAfter.UTC().Format(time.RFC3339)
		}
		if k.Revoked != nil {
			r.Note = "compromised since " + k.Revoked.CompromisedSince.UTC().Format(time.RFC3339) + ": " + k.Revoked.Reason
		}
		rows = append(rows, r)
	}
	return rows
}

// loadTrust reads a trust file.
func loadTrust(path string) (attest.Trust, error) {
	data, err := readFile(path, attest.MaxTrust)
	if err != nil {
		return attest.Trust{}, err
	}
	t, err := attest.ParseTrust(data)
	return t, inFile(err, path)
}

// trustOf believes the keys of a public file for some verifiers, without an end.
func trustOf(public publicKeys, verifiers []string) attest.Trust {
	t := attest.Trust{Name: "public-file", Ledger: public.ledger}
	for _, k := range public.keys {
		t.Policy.Keys = append(t.Policy.Keys, attest.TrustedKey{Key: k, VerifierIDs: verifiers})
	}
	return t
}
