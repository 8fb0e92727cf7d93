package keyfile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"regexp"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"golang.org/x/mod/sumdb/note"
)

// Public is the content of a public file.
type Public struct {
	Keys   []attest.Key // the first is the newest; none only where all were revoked and Ledger is set
	Ledger string       // the ledger's C2SP verifier line ("name+id+key"), "" if the file has none
}

// MarshalPublic writes the public file: the keys as standard PEM, so that
// cosign and openssl read the first, then the ledger's verifier line.
func MarshalPublic(p Public) ([]byte, error) {
	if len(p.Keys) == 0 && p.Ledger == "" || len(p.Keys) > MaxPublicKeys {
		return nil, assay.Errorf(assay.CodeInvalid, "public file has %d keys; expected 1 to %d", len(p.Keys), MaxPublicKeys)
	}
	var out bytes.Buffer
	for _, k := range p.Keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "public key cannot be encoded: %w", err)
		}
		_ = pem.Encode(&out, &pem.Block{Type: blockPublic, Bytes: der}) // a Buffer takes everything
	}
	if p.Ledger != "" {
		if err := checkNoteVerifier(p.Ledger); err != nil {
			return nil, err
		}
		_ = pem.Encode(&out, &pem.Block{Type: blockVerifier, Bytes: []byte(p.Ledger)})
	}
	return out.Bytes(), nil
}

// ParsePublic reads a public file, ours or cosign's. Private keys, other blocks
// and text between blocks are refused.
func ParsePublic(data []byte) (Public, error) {
	all, err := blocks(data)
	if err != nil {
		return Public{}, err
	}
	var p Public
	for _, b := range all {
		switch {
		case b.Type == blockPublic:
			if len(p.Keys) == MaxPublicKeys {
				return Public{}, assay.Errorf(assay.CodeTooLarge, "public file has more than %d keys", MaxPublicKeys)
			}
			k, err := attest.ParsePublicDER(b.Bytes)
			if err != nil {
				return Public{}, err
			}
			p.Keys = append(p.Keys, k)
		case b.Type == blockVerifier && p.Ledger == "":
			if err := checkNoteVerifier(string(b.Bytes)); err != nil {
				return Public{}, err
			}
			p.Ledger = string(b.Bytes)
		case b.Type == blockVerifier:
			return Public{}, assay.Errorf(assay.CodeInvalid, "public file has more than one ledger verifier")
		case strings.Contains(b.Type, "PRIVATE KEY") || b.Type == blockLedger:
			e := assay.Errorf(assay.CodeInvalid, "file holds a private key where a public one is expected")
			e.Hint = "give the .pub file, and keep this one to yourself"
			return Public{}, e
		default:
			return Public{}, assay.Errorf(assay.CodeInvalid, "public file has a PEM block %q; expected %q or %q", b.Type, blockPublic, blockVerifier)
		}
	}
	if len(p.Keys) == 0 && p.Ledger == "" {
		return Public{}, assay.Errorf(assay.CodeInvalid, "public file has no block %q", blockPublic)
	}
	return p, nil
}

// blocks splits a file into its PEM blocks and refuses anything between them.
func blocks(data []byte) ([]*pem.Block, error) {
	if len(data) > MaxFile {
		return nil, assay.Errorf(assay.CodeTooLarge, "key file has %d bytes; at most %d are accepted", len(data), MaxFile)
	}
	var all []*pem.Block
	for rest := bytes.TrimSpace(data); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, assay.Errorf(assay.CodeInvalid, "key file has text outside of PEM blocks")
		}
		// A damaged block would be skipped by the decoder; it must not be.
		end := bytes.Index(rest, []byte("\n-----END "))
		if end < 0 {
			return nil, assay.Errorf(assay.CodeInvalid, "key file is cut off: a PEM block has no end")
		}
		if stop := bytes.IndexByte(rest[end+1:], '\n'); stop < 0 {
			end = len(rest)
		} else {
			end += 1 + stop + 1
		}
		b, tail := pem.Decode(rest[:end])
		if b == nil || len(bytes.TrimSpace(tail)) > 0 {
			return nil, assay.Errorf(assay.CodeInvalid, "key file has a damaged PEM block")
		}
		if len(b.Headers) > 0 {
			return nil, assay.Errorf(assay.CodeInvalid, "key file has a PEM block with headers; expected none")
		}
		all = append(all, b)
		rest = rest[end:]
	}
	if len(all) == 0 {
		return nil, assay.Errorf(assay.CodeInvalid, "key file has no PEM block")
	}
	return all, nil
}

func onlyBlock(data []byte, types []string) (*pem.Block, error) {
	all, err := blocks(data)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 || !slices.Contains(types, all[0].Type) {
		e := assay.Errorf(assay.CodeInvalid, "key file has a PEM block %q; expected exactly one block %q", all[0].Type, types[0])
		switch {
		case all[0].Type == blockPublic:
			e.Hint = "this is the public file; give the .key file"
		case all[0].Type == blockLedger:
			e.Hint = "this is the ledger's key; give the signing key"
		}
		return nil, e
	}
	return all[0], nil
}

func checkNoteVerifier(vkey string) error {
	if _, err := note.NewVerifier(vkey); err != nil || len(vkey) > 1024 {
		return assay.Errorf(assay.CodeInvalid, "ledger verifier is not a C2SP verifier line (name+id+key)")
	}
	return nil
}

// noteSigner is the form of a signed note's secret key. Which algorithms are taken is
// for the reader of the line to say: ledgers and witnesses differ.
var noteSigner = regexp.MustCompile(`^PRIVATE\+KEY\+[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$`)

func checkNoteSigner(skey string) error {
	if !noteSigner.MatchString(strings.TrimSpace(skey)) {
		return assay.Errorf(assay.CodeInvalid, "ledger key is not a C2SP signer line (PRIVATE+KEY+name+id+key)")
	}
	return nil
}
