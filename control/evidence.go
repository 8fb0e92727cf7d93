package control

import (
	"context"
	"errors"
	"io"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
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
	s.p.uploads.RLock() // what is there now is there when it is noted
	defer s.p.uploads.RUnlock()
	f, err := s.p.cfg.Blobs.Open(ctx, d)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return "", assay.Errorf(assay.CodeUnavailable, "report %s was removed under its retention while it was uploaded again; upload it once more", d.Short())
	}
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return d, s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		return artifact.NoteUpload(tx, s.caller.Namespace, d, s.p.cfg.Now())
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

// readReport reads an uploaded report. One that cannot be understood is refused
// with a reason, for the gate to judge; an error means that it could not be asked.
func (s *Session) readReport(ctx context.Context, r api.Report) (assay.Evidence, *assay.Refusal, error) {
	known, err := s.hasEvidence(ctx, r.Digest)
	if err != nil {
		return assay.Evidence{}, nil, err
	}
	if !known {
		return assay.Evidence{}, nil, assay.Errorf(assay.CodeNotFound, "report %s (%s) was not uploaded; upload it first", r.Source, r.Digest)
	}
	f, err := s.p.cfg.Blobs.Open(ctx, r.Digest)
	if err != nil {
		return assay.Evidence{}, nil, err
	}
	defer f.Close()
	if r.Origin == "" {
		r.Origin = assay.OriginLive
	}
	opts := evidence.Options{Kind: r.Kind, Format: r.Format, Origin: r.Origin, Collected: s.p.cfg.Now().UTC()}
	if r.Mapping != "" {
		if opts.Mapping, err = evidence.ParseMapping(strings.NewReader(r.Mapping)); err != nil {
			return assay.Evidence{}, nil, err
		}
	}
	ev, err := evidence.Read(f, r.Source, opts)
	if code := assay.CodeOf(err); code == assay.CodeInvalid || code == assay.CodeTooLarge {
		refused, err := s.refusal(ctx, r, err)
		return assay.Evidence{}, refused, err
	}
	if err != nil {
		return assay.Evidence{}, nil, err
	}
	if ev.Digest != r.Digest {
		return ev, nil, assay.Errorf(assay.CodeUnverified, "report %s was read with digest %s, but is kept as %s", r.Source, ev.Digest, r.Digest)
	}
	return ev, nil, nil
}

// refusal says why a report was not understood, and what it seems to be.
func (s *Session) refusal(ctx context.Context, r api.Report, why error) (*assay.Refusal, error) {
	f, err := s.p.cfg.Blobs.Open(ctx, r.Digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	kind := r.Kind
	if kind == "" {
		kind = evidence.Recognise(f)
	}
	out := &assay.Refusal{Location: assay.Location{File: r.Source}, Digest: r.Digest, Kind: kind, Reason: why.Error()}
	if e, ok := errors.AsType[*assay.Error](why); ok {
		out.Location.Line, out.Location.Column = e.Line, e.Column
		plain := *e
		plain.File, plain.Line, plain.Column = "", 0, 0
		out.Reason = plain.Error()
	}
	return out, nil
}
