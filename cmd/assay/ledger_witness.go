package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

func (a *app) witnessKeyPath() string    { return filepath.Join(a.keysDir(), keyName+".witness.key") }
func (a *app) witnessPublicPath() string { return filepath.Join(a.keysDir(), keyName+".witness.pub") }

func (a *app) ledgerWitnessCmd() *cobra.Command {
	var name, algorithm string
	cmd := &cobra.Command{
		Use:   "witness",
		Short: "Print the key with which this installation witnesses other logs; makes it the first time",
		Long: `Print the key with which this installation witnesses other logs; makes it the first time.

A witness cosigns the heads of other people's logs, and only what extends the head
it cosigned before, so that a log cannot show two histories to two readers. Give the
printed line to who runs the log. Then name the logs in a file with lines "log VKEY"
and "quorum none", and start: assay serve --witness-logs FILE. It answers C2SP
tlog-witness at /witness/add-checkpoint.

Writes DIR/keys/assay.witness.key, encrypted with the passphrase, and
DIR/keys/assay.witness.pub, if they do not exist.

Exit codes: 0 printed · 1 error · 2 usage.`,
		Example: `  assay ledger witness --name witness.example/eu-1`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			vkey, err := a.witnessKey(name, ledger.Algorithm(algorithm))
			if err != nil {
				return err
			}
			v := struct {
				VKey string `json:"vkey"`
			}{vkey}
			return a.print(v, func() { fmt.Fprintln(a.out, vkey) })
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the witness, a URL without scheme (default ORIGIN/witness)")
	cmd.Flags().StringVar(&algorithm, "algorithm", string(ledger.Ed25519), "how a new key signs: ed25519, or ml-dsa-44 against quantum computers")
	return cmd
}

// witnessKey returns the witness's public line, and makes the key if there is none.
func (a *app) witnessKey(name string, algorithm ledger.Algorithm) (string, error) {
	line, err := readFile(a.witnessPublicPath(), ledger.MaxCheckpoint)
	if err == nil {
		vkey := strings.TrimSpace(string(line))
		if name != "" && !strings.HasPrefix(vkey, name+"+") {
			return "", &assay.Error{Code: assay.CodeConflict, File: a.witnessPublicPath(), Msg: "is the key of a witness of another name; it is never replaced"}
		}
		return vkey, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if name == "" {
		name = a.cfg.get("origin") + "/witness"
	}
	pass, err := a.newPassphrase()
	if err != nil {
		return "", err
	}
	if err := durable.MkdirAll(a.keysDir(), 0o700); err != nil {
		return "", err
	}
	skey, err := ledger.GenerateWitnessKey(rand.Reader, name, algorithm)
	if err != nil {
		return "", err
	}
	cosigner, err := ledger.NewCosigner(skey, a.now)
	if err != nil {
		return "", err
	}
	sealed, err := sealLedgerKey(skey, pass)
	if err != nil {
		return "", err
	}
	if err := durable.WriteFile(a.witnessKeyPath(), sealed, 0o600); err != nil {
		return "", err
	}
	return cosigner.VKey(), durable.WriteFile(a.witnessPublicPath(), []byte(cosigner.VKey()+"\n"), 0o644)
}

// witnessPolicy reads the policy file that is configured, nil if none is.
func (a *app) witnessPolicy() (*ledger.WitnessPolicy, error) {
	return readWitnessPolicy(a.cfg.get("witnesses"))
}

func readWitnessPolicy(path string) (*ledger.WitnessPolicy, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := readFile(path, ledger.MaxWitnessPolicy)
	if err != nil {
		return nil, err
	}
	p, err := ledger.ParseWitnessPolicy(raw)
	return p, inFile(err, path)
}

// requireQuorum refuses a head that the configured policy does not hold for.
func (a *app) requireQuorum(head []byte) (*ledger.Quorum, error) {
	p, err := a.witnessPolicy()
	if p == nil || err != nil {
		return nil, err
	}
	q, err := p.Check(head, a.now())
	if err != nil {
		return nil, err
	}
	if !q.Met {
		return nil, &assay.Error{
			Code: assay.CodeUnverified, Msg: fmt.Sprintf("the ledger's head has %d cosignatures of the policy's witnesses, which is no quorum", len(q.Cosignatures)),
			Hint: "a proof that was made later may have more: assay ledger prove",
		}
	}
	return &q, nil
}

// openWitness is the handler that cosigns other logs, nil if none is configured.
func (a *app) openWitness(in *installation, reg prometheus.Registerer) (http.Handler, error) {
	p, err := readWitnessPolicy(a.cfg.get("witness-logs"))
	if p == nil || err != nil {
		return nil, err
	}
	skey, err := a.loadSecret(a.witnessKeyPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &assay.Error{Code: assay.CodeNotFound, File: a.witnessKeyPath(), Msg: "does not exist: there is no key to witness with", Hint: "make it with: assay ledger witness"}
	}
	if err != nil {
		return nil, err
	}
	cosigner, err := ledger.NewCosigner(skey, a.now)
	if err != nil {
		return nil, err
	}
	return ledger.NewWitnessHandler(ledger.WitnessConfig{Store: in.store, Cosigner: cosigner, Logs: p.Logs, Log: a.log, Metrics: reg})
}

// openWitnessing prepares to have our heads cosigned, nil if no policy is configured.
func (a *app) openWitnessing(in *installation, reg prometheus.Registerer) (*ledger.Witnessing, error) {
	epoch := in.epochs[len(in.epochs)-1]
	if epoch.Witnesses == nil {
		return nil, nil
	}
	path := ledger.CosignedPath(ledger.EpochDir(a.cfg.get("dir"), epoch.Number))
	return ledger.NewWitnessing(ledger.WitnessingConfig{
		Policy: epoch.Witnesses, Epoch: epoch, Client: noRedirects(), Now: a.now, Log: a.log, Metrics: reg,
		Save: func(head []byte) error { return durable.WriteFile(path, head, 0o644) },
	})
}

// witnessing asks our witnesses until ctx ends.
func witnessing(w *ledger.Witnessing) func(context.Context) error {
	return func(ctx context.Context) error {
		if w == nil {
			<-ctx.Done()
			return nil
		}
		return w.Run(ctx)
	}
}
