package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// quiet decides once, after a while.
type quiet struct {
	decisionReads
	asked int
}

func (q *quiet) Decisions(context.Context, string, int) ([]api.Decision, error) {
	if q.asked++; q.asked < 5 {
		return nil, nil
	}
	return []api.Decision{{ID: "one", Decision: assay.Decision{Words: "Hold at 10 %."}}}, nil
}

func TestFollowingDecisionsSaysNothingUntilThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, errs strings.Builder
		a := newApp(func(string) string { return "" }, strings.NewReader(""), &out, &errs)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := a.tail(ctx, &quiet{}, "", 20, true); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(out.String()); strings.Count(got, "\n") != 0 || !strings.HasSuffix(got, "Hold at 10 %.") {
			t.Errorf("it prints %q", got)
		}
	})
}
