package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/enforce"
)

// trustEvery is how often a running enforcer looks whether its trust changed.
const trustEvery = time.Second

// trustSource is where it stands who is believed: a trust file, or a public file
// whose keys are then believed without an end.
type trustSource struct {
	path      string // "" means those of the state directory
	verifiers []string
}

// trust reads a source.
func (a *app) trust(s trustSource) (attest.Trust, error) {
	t, _, err := a.readTrust(s)
	return t, err
}

// readTrust also returns the digest of what was read, to see changes by.
func (a *app) readTrust(s trustSource) (attest.Trust, [sha256.Size]byte, error) {
	path := s.path
	if path == "" {
		if path = a.trustPath(); !exists(path) {
			path = a.publicKeyPath()
		}
	}
	data, err := readFile(path, attest.MaxTrust)
	if errors.Is(err, fs.ErrNotExist) {
		err = &assay.Error{
			Code: assay.CodeNotFound, File: path, Msg: "does not exist",
			Hint: "assay key create makes one; an auditor asks the signer for it", Err: err,
		}
	}
	sum := sha256.Sum256(data)
	if err != nil {
		return attest.Trust{}, sum, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN ")) {
		public, err := parsePublic(data)
		verifiers := s.verifiers
		if len(verifiers) == 0 {
			verifiers = []string{a.cfg.get("verifier-id")}
		}
		return trustOf(public, verifiers), sum, inFile(err, path)
	}
	t, err := attest.ParseTrust(data)
	if err == nil && len(s.verifiers) > 0 {
		err = usageError{fmt.Errorf("--allow-verifier: the trust file %s says itself what each key may sign", path)}
	}
	return t, sum, inFile(err, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// followTrust reads the source again and again, and hands on what changed. A source
// that cannot be read or is wrong changes nothing and is reported once.
func (a *app) followTrust(ctx context.Context, s trustSource, believe func(attest.Trust) error) {
	var last [sha256.Size]byte // so that what changed since the start is not missed
	tick := time.NewTicker(trustEvery)
	defer tick.Stop()
	reported := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t, sum, err := a.readTrust(s)
		if err == nil && sum == last {
			continue
		}
		if err == nil {
			err = believe(t)
		}
		if err != nil {
			if reported != err.Error() {
				a.log.Error("trust refused; the old one stays in force", "error", err)
			}
			reported = err.Error()
			continue
		}
		last, reported = sum, ""
		a.log.Info("trust loaded", "name", t.Name, "keys", len(t.Policy.Keys))
	}
}

// verifyAny verifies bundles, envelopes and, with the ledger's key, proof files.
func verifyAny(ledgerKey string) enforce.Verify {
	return func(data []byte, trust attest.TrustPolicy, want attest.Expect, now time.Time) attest.Report {
		var head struct {
			MediaType string `json:"mediaType"`
		}
		if json.Unmarshal(data, &head) == nil && head.MediaType == assay.ProofMediaType {
			return artifact.VerifyProof(data, trust, want, ledgerKey, now)
		}
		return attest.Verify(data, trust, want, now)
	}
}
