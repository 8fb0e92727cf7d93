package control

import (
	"context"
	"io"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/evidence"
	"assay.dev/assay/store"
)

// evidenceBucket remembers which namespace uploaded which report. Blobs know no
// tenants, and digests are no secrets: attestations list them. So a report is
// read only for a namespace that once showed that it has the bytes.
const evidenceBucket = "evidence"

// PutEvidence keeps one report, up to api.MaxEvidence bytes, and returns its digest.
func (s *Session) PutEvidence(ctx context.Context, r io.Reader) (assay.Digest, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return "", err
	}
	d, err := s.p.cfg.Blobs.Put(ctx, r, api.MaxEvidence)
	if err != nil {
		return "", err
	}
	if known, err := s.hasEvidence(ctx, d); known || err != nil {
		return d, err
	}
	return d, s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Put(s.evidenceKey(d), []byte(`{}`), store.AnyVersion)
		return err
	})
}

func (s *Session) evidenceKey(d assay.Digest) store.Key {
	return store.Key{Namespace: s.caller.Namespace, Bucket: evidenceBucket, Name: string(d)}
}

// hasEvidence reports whether the caller's namespace uploaded a report.
func (s *Session) hasEvidence(ctx context.Context, d assay.Digest) (bool, error) {
	err := s.p.cfg.Store.View(ctx, func(r store.Reader) error {
		_, err := r.Get(s.evidenceKey(d))
		return err
	})
	if assay.CodeOf(err) == assay.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

func (s *Session) readReport(ctx context.Context, r api.Report) (assay.Evidence, error) {
	known, err := s.hasEvidence(ctx, r.Digest)
	if err != nil {
		return assay.Evidence{}, err
	}
	if !known {
		return assay.Evidence{}, assay.Errorf(assay.CodeNotFound, "report %s (%s) was not uploaded; upload it first", r.Source, r.Digest)
	}
	f, err := s.p.cfg.Blobs.Open(ctx, r.Digest)
	if err != nil {
		return assay.Evidence{}, err
	}
	defer f.Close()
	if r.Origin == "" {
		r.Origin = assay.OriginLive
	}
	ev, err := evidence.Read(f, r.Source, evidence.Options{Origin: r.Origin, Collected: s.p.cfg.Now().UTC()})
	if err != nil {
		return ev, err
	}
	if ev.Digest != r.Digest {
		return ev, assay.Errorf(assay.CodeUnverified, "report %s was read with digest %s, but is kept as %s", r.Source, ev.Digest, r.Digest)
	}
	return ev, nil
}
