package artifact

import (
	"context"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/exception"
	"assay.dev/assay/store"
)

// PassingBundles returns the bundles, at most limit of them and the newest last, of the
// newest verdicts that let an artifact pass, one of each gate and environment: what an
// enforcer is shown, which verifies them itself. A gate that refuses the artifact now
// is not outdone by what it said before, and a verdict that rests on an exception which
// was taken back is none any more. An artifact that nothing is known of has none.
func PassingBundles(ctx context.Context, s store.Store, blobs store.Blobs, namespace string, digest assay.Digest, limit int) ([][]byte, error) {
	sum, err := Get(ctx, s, namespace, digest)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	passed := slices.DeleteFunc(sum.Judgements, func(a Attestation) bool { return a.Outcome != assay.OutcomePass })
	slices.SortStableFunc(passed, func(a, b Attestation) int { return a.Time.Compare(b.Time) })
	slices.Reverse(passed)
	var out [][]byte
	for _, a := range passed {
		if len(out) == limit {
			break
		}
		b, err := ReadBundle(ctx, blobs, a.Bundle)
		if err != nil {
			return nil, err
		}
		if len(a.UseFacts) > 0 {
			revoked, err := restsOnRevoked(ctx, s, namespace, b)
			if err != nil {
				return nil, err
			}
			if revoked {
				continue
			}
		}
		out = append(out, b)
	}
	slices.Reverse(out)
	return out, nil
}

// restsOnRevoked reports whether the summary in a bundle rests on an exception that
// was taken back.
func restsOnRevoked(ctx context.Context, s store.Store, namespace string, bundle []byte) (bool, error) {
	sum, _, err := readBundle(bundle)
	if err != nil {
		return false, err
	}
	for _, x := range sum.Exceptions {
		rec, err := exception.Get(ctx, s, namespace, x.ID)
		if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
			return false, err
		}
		if err == nil && rec.State == assay.ExceptionRevoked {
			return true, nil
		}
	}
	return false, nil
}
