package control

import (
	"context"
	"io"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/policy"
)

// producerOf is the name of the producer whose key signed a report, "" if none did
// or the report is not a signed statement. A signature of a key that nobody declared
// is as none: the report is read, and gates that ask for a producer refuse it.
func (s *Session) producerOf(ctx context.Context, ev assay.Evidence, producers []policy.Producer) (string, error) {
	if ev.Predicate == "" || len(producers) == 0 || ev.Size > attest.MaxBundle {
		return "", nil
	}
	f, err := s.p.cfg.Blobs.Open(ctx, ev.Digest)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, attest.MaxBundle))
	if err != nil {
		return "", err
	}
	env, err := attest.ParseSigned(data)
	if err != nil {
		return "", nil // a bare statement, or one that is signed in a form we do not verify
	}
	for _, p := range producers {
		var keys []attest.Verifier
		for _, text := range p.Spec.Keys {
			key, err := attest.ParsePublicKey([]byte(text))
			if err != nil {
				return "", assay.Errorf(assay.CodeInvalid, "Producer %q has a key that cannot verify: %w", p.Metadata.Name, err)
			}
			keys = append(keys, key)
		}
		if _, _, err := env.Verify(assay.StatementPayloadType, keys, 1); err == nil {
			return p.Metadata.Name, nil
		}
	}
	return "", nil
}
