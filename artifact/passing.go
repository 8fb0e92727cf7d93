package artifact

import (
	"context"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// PassingBundles returns the bundles, at most limit of them and the newest last, of the
// newest verdicts that let an artifact pass, one of each gate and environment: what an
// enforcer is shown, which verifies them itself. A gate that refuses the artifact now
// is not outdone by what it said before. An artifact that nothing is known of has none.
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
	out := make([][]byte, 0, len(passed))
	for _, a := range passed[max(0, len(passed)-limit):] {
		b, err := ReadBundle(ctx, blobs, a.Bundle)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}
