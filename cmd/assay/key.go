package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/internal/strict"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// keyName is the name of an installation's key files below DIR/keys.
const keyName = "assay"

func (a *app) keysDir() string { return filepath.Join(a.cfg.get("dir"), "keys") }

func (a *app) attestKeyPath() string {
	if k := a.cfg.get("key"); k != "" {
		return k
	}
	return filepath.Join(a.keysDir(), keyName+".key")
}

func (a *app) ledgerKeyPath() string { return filepath.Join(a.keysDir(), keyName+".ledger.key") }
func (a *app) publicKeyPath() string { return filepath.Join(a.keysDir(), keyName+".pub") }
func (a *app) trustPath() string     { return filepath.Join(a.keysDir(), keyName+".trust.yaml") }
func (a *app) saltPath() string      { return filepath.Join(a.keysDir(), "ledger.salt") }

// keyPaths are the private files; a key that another program holds is none of them.
func (a *app) keyPaths() []string {
	if signerProgram(a.attestKeyPath()) != "" {
		return []string{a.ledgerKeyPath()}
	}
	return []string{a.attestKeyPath(), a.ledgerKeyPath()}
}

// signerProgram is the program that holds a key which is no file, "" for a file.
func signerProgram(key string) string {
	switch {
	case strings.HasPrefix(key, "pkcs11:"):
		return "assay-signer-pkcs11"
	case strings.HasPrefix(key, "hashivault://"), strings.HasPrefix(key, "openbao://"):
		return "assay-signer-kms"
	}
	return ""
}

func (a *app) keyCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Create, rotate, revoke and list signing keys"}
	cmd.AddCommand(a.keyCreateCmd(), a.keyRotateCmd(), a.keyRevokeCmd(), a.keyListCmd())
	return cmd
}

func (a *app) keyCreateCmd() *cobra.Command {
	var algorithm string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Create the keys of a state directory: one signs attestations, one the ledger",
		Long: `Create the keys of a state directory: one signs attestations, one the ledger.

Writes into DIR, which it makes: keys/assay.key and keys/assay.ledger.key, encrypted with a
passphrase, and keys/assay.pub, which is all that an auditor needs. assay.key has
the format of cosign. Existing keys are never replaced.

The passphrase comes from ASSAY_PASSPHRASE, --passphrase-file or a prompt.

Exit codes: 0 created · 1 error, nothing was replaced · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(keyAlgorithms, algorithm) {
				return usageError{fmt.Errorf("--algorithm %s", strict.OneOf(algorithm, keyAlgorithms))}
			}
			pass, err := a.newPassphrase()
			if err != nil {
				return err
			}
			public, err := a.createKeys(algorithm, pass)
			if err != nil {
				return err
			}
			if err := a.recordKeys(cmd.Context(), public); err != nil {
				return err
			}
			info := struct {
				KeyID  string `json:"key_id"`
				Ledger string `json:"ledger"`
				Public string `json:"public_file"`
			}{public.keys[0].KeyID(), public.ledger, a.publicKeyPath()}
			return a.print(info, func() {
				fmt.Fprintf(a.out, "key id      %s\nledger      %s\npublic file %s\n", info.KeyID, info.Ledger, info.Public)
				fmt.Fprintln(a.out, "give the public file to who verifies; keep the others and the passphrase to yourself")
				fmt.Fprintln(a.out, "next: assay attest ARTIFACT --evidence REPORT signs a verdict and publishes it")
			})
		},
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", keyAlgorithms[0], "ecdsa-p256 or ed25519, for attestations")
	return cmd
}

// createKeys makes the state directory, the keys and the ledger's salt.
func (a *app) createKeys(algorithm string, pass []byte) (publicKeys, error) {
	if err := durable.MkdirAll(a.keysDir(), 0o700); err != nil {
		return publicKeys{}, err
	}
	public, err := createKeyFiles(a.keysDir(), algorithm, pass, a.cfg.get("origin"))
	if err != nil {
		return public, err
	}
	if _, err := os.Stat(a.saltPath()); err == nil {
		return public, nil // the salt never changes in the life of a ledger
	}
	salt := make([]byte, 32)
	if _, err := rand.Read(salt); err != nil {
		return public, err
	}
	return public, durable.WriteFile(a.saltPath(), salt, 0o600)
}

// passphrase returns the configured passphrase, or asks for it.
func (a *app) passphrase() ([]byte, error) {
	if p := a.cfg.get("passphrase"); p != "" {
		return []byte(p), nil
	}
	if path := a.cfg.get("passphrase-file"); path != "" {
		data, err := readFile(path, 4096)
		if err != nil {
			return nil, err
		}
		return []byte(strings.TrimRight(string(data), "\r\n")), nil
	}
	if a.typed == nil {
		typed, err := a.prompt("passphrase of the private keys: ")
		if err != nil {
			return nil, err
		}
		a.typed = typed // a server that rotates its key later has nobody to ask
	}
	return a.typed, nil
}

// newPassphrase is passphrase, asked for twice when typed.
func (a *app) newPassphrase() ([]byte, error) {
	first, err := a.passphrase()
	if err != nil || a.cfg.get("passphrase") != "" || a.cfg.get("passphrase-file") != "" {
		return first, err
	}
	second, err := a.prompt("the same again: ")
	if err == nil && string(first) != string(second) {
		err = errors.New("the two passphrases differ; nothing was created")
	}
	return first, err
}

func (a *app) prompt(text string) ([]byte, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, &assay.Error{
			Code: assay.CodeInvalid, Msg: "no passphrase: there is no terminal to ask on",
			Hint: "set ASSAY_PASSPHRASE or --passphrase-file",
		}
	}
	fmt.Fprint(a.err, text)
	pass, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.err)
	return pass, err
}

// publicKeys is what an auditor needs.
type publicKeys struct {
	keys   []attest.Key
	ledger string // C2SP vkey, "" if the file has none
}

// recordKeys appends the fact that keys were created. The store is made if it does not exist.
func (a *app) recordKeys(ctx context.Context, k publicKeys) error {
	in, err := a.open(ctx, false, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer in.close()
	return in.plane.As(a.localCaller()).RecordKey(ctx, k.keys[0].KeyID(), k.ledger)
}
