package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/advisory"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/evidence"
	"assay.dev/assay/inventory"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/sqlite"
)

// Sizes of late discovery: everything that runs, and a database that is new to it.
const (
	discoveryArtifacts  = 5000
	discoveryPackages   = 200 // of each bill of materials
	discoveryDistinct   = 8000
	discoveryAdvisories = 20_000
	discoveryTarget     = 10 // seconds
)

// benchDiscovery measures how long it takes from a new database of advisories to open
// findings for what runs: reading the database and every stored bill of materials,
// matching, and recording.
func benchDiscovery(ctx context.Context, b *run.Bench) (err error) {
	dir, err := b.Folder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "assay.db")})
	if err != nil {
		return err
	}
	blobs, err := files.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		return errors.Join(err, s.Close())
	}
	defer func() { err = errors.Join(err, s.Close(), blobs.Close()) }()
	if err := discoverySettle(ctx, s, blobs); err != nil {
		return err
	}
	archive, err := discoveryDatabase()
	if err != nil {
		return err
	}
	database := func(ctx context.Context, each func(advisory.Advisory) error) (advisory.Report, error) {
		return advisory.ReadArchive(ctx, bytes.NewReader(archive), int64(len(archive)), each)
	}
	var first, again []float64
	for n := range 1 + b.Rounds {
		start := time.Now()
		d, err := inventory.Discover(ctx, inventory.Search{Store: s, Blobs: blobs, Namespace: "default", Actor: "bench", TTL: 24 * time.Hour}, database, time.Now())
		if err != nil {
			return err
		}
		took := time.Since(start).Seconds()
		if d.Artifacts != discoveryArtifacts || d.Components != discoveryArtifacts*discoveryPackages || len(d.Open) == 0 || len(d.Unexamined) > 0 {
			return fmt.Errorf("the search examined %d artifacts with %d components and has %d findings", d.Artifacts, d.Components, len(d.Open))
		}
		if n == 0 {
			first = append(first, took)
		} else {
			again = append(again, took)
		}
		b.Say("discovery %d/%d: %.2f s, %d findings opened, %d open", n, b.Rounds, took, d.Opened, len(d.Open))
	}
	b.Rows = append(b.Rows,
		result.New(fmt.Sprintf("late discovery, %d artifacts of %d packages, %d advisories", discoveryArtifacts, discoveryPackages, discoveryAdvisories), "s", first).Want("<", discoveryTarget),
		result.New("the same again", "s", again).Want("<", discoveryTarget),
	)
	return nil
}

// discoverySettle attests every artifact with its bill of materials and has it run.
func discoverySettle(ctx context.Context, s *sqlite.Store, blobs *files.Blobs) error {
	signer, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		return err
	}
	errs := make([]error, 8*runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := w; i < discoveryArtifacts && errs[w] == nil; i += len(errs) {
				errs[w] = discoveryRecord(ctx, s, blobs, signer, i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for from := 0; from < discoveryArtifacts; from += 1000 {
		r := inventory.Report{Namespace: "default", Source: "bench", Actor: "bench", Environment: "prod"}
		for i := range 1000 {
			r.Sightings = append(r.Sightings, inventory.Sighting{Service: fmt.Sprintf("service-%d", (from+i)%500), Digest: discoveryDigest(from + i)})
		}
		if _, err := inventory.Push(ctx, s, r, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func discoveryDigest(i int) assay.Digest {
	return assay.DigestOf(sha256.Sum256(fmt.Appendf(nil, "artifact %d", i)))
}

func discoveryRecord(ctx context.Context, s *sqlite.Store, blobs *files.Blobs, signer attest.Signer, i int) error {
	var bom strings.Builder
	bom.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`)
	for j := range discoveryPackages {
		if j > 0 {
			bom.WriteByte(',')
		}
		n, v := (i*37+j*41)%discoveryDistinct, (i+j)%40
		fmt.Fprintf(&bom, `{"bom-ref":"p%d","type":"library","name":"package-%d","version":"1.%d.0","scope":"required","purl":"pkg:npm/package-%d@1.%d.0","licenses":[{"license":{"id":"MIT"}}]}`, j, n, v, n, v)
	}
	bom.WriteString(`]}`)
	d, err := blobs.Put(ctx, strings.NewReader(bom.String()), 1<<20)
	if err != nil {
		return err
	}
	ev, err := evidence.Read(strings.NewReader(bom.String()), "bom.json", evidence.Options{})
	if err != nil {
		return err
	}
	v := assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Environment: "prod", Outcome: assay.OutcomePass, Time: time.Now(),
		Subject:  assay.Subject{Name: fmt.Sprintf("service-%d", i), Digest: discoveryDigest(i), URI: "pkg:generic/service"},
		Policy:   assay.PolicyRef{URI: "bench", Digest: d},
		Evidence: []assay.EvidenceRef{{Kind: ev.Kind, Format: ev.Format, Source: "bom.json", Digest: d, Origin: assay.OriginLive}},
	}
	statement, err := attest.VSA(v, attest.VSAOptions{})
	if err != nil {
		return err
	}
	bundle, err := attest.Sign(ctx, signer, statement)
	if err != nil {
		return err
	}
	_, err = artifact.Record(ctx, s, blobs, artifact.Entry{Namespace: "default", Actor: "bench", Verdict: v, Bundle: bundle})
	return err
}

// discoveryDatabase is a zip file of OSV records; a few of them are about versions that run.
func discoveryDatabase() ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for i := range discoveryAdvisories {
		fixed := "1.0.0" // before everything that runs
		if i%200 == 0 {
			fixed = "1.5.0"
		}
		record, err := json.Marshal(map[string]any{
			"schema_version": "1.6.0", "id": fmt.Sprintf("BENCH-%d", i), "modified": "2026-01-02T03:04:05Z", "summary": "an invented flaw",
			"details": strings.Repeat("what happens, and why. ", 40), "database_specific": map[string]string{"severity": "HIGH"},
			"affected": []any{map[string]any{
				"package": map[string]string{"ecosystem": "npm", "name": fmt.Sprintf("package-%d", i)},
				"ranges":  []any{map[string]any{"type": "SEMVER", "events": []any{map[string]string{"introduced": "0"}, map[string]string{"fixed": fixed}}}},
			}},
		})
		if err != nil {
			return nil, err
		}
		f, err := z.Create(fmt.Sprintf("BENCH-%d.json", i))
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(record); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}
