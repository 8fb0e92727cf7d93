package artifact

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// PassingBundles returns the newest bundles, at most limit of them and the newest
// last, of verdicts that let an artifact pass: what an enforcer is shown, which
// verifies them itself. An artifact that nothing is known of has none.
func PassingBundles(ctx context.Context, s store.Store, blobs store.Blobs, namespace string, digest assay.Digest, limit int) ([][]byte, error) {
	var passed []assay.Digest
	for after := assay.FactID(""); ; {
		page, err := Attestations(ctx, s, namespace, digest, after, 0)
		if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			after = a.AttestedFact
			if a.Outcome == assay.OutcomePass {
				passed = append(passed, a.Bundle)
			}
		}
	}
	passed = passed[max(0, len(passed)-limit):]
	out := make([][]byte, 0, len(passed))
	for _, d := range passed {
		b, err := ReadBundle(ctx, blobs, d)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}
