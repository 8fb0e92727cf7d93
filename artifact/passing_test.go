package artifact_test

import (
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/exception"
)

func TestAVerdictThatRestsOnARevokedExceptionIsShownToNoEnforcer(t *testing.T) {
	w := newWorld(t)
	excused := w.excused(t)
	w.record(t, w.entry(t, excused))
	plain := verdict(assay.OutcomePass, now)
	plain.Gate = "another"
	w.record(t, w.entry(t, plain))
	shown := func(limit, want int) {
		t.Helper()
		got, err := artifact.PassingBundles(t.Context(), w.store, w.blobs, ns, excused.Subject.Digest, limit)
		if err != nil || len(got) != want {
			t.Errorf("%d bundles, %v; want %d", len(got), err, want)
		}
	}
	shown(8, 2)
	shown(1, 1)
	if _, err := exception.Revoke(t.Context(), w.store, ns, excused.Exceptions[0].ID, "kim", "the fix has been released now", now); err != nil {
		t.Fatal(err)
	}
	shown(8, 1)
	shown(1, 1) // what is left takes its place
}
