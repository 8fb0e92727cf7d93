package rollout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/rollout"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// What metrics say of a rollout under way is what its newest decision says, and nothing once
// it has ended: an alert on it must not outlast what it is about.
func TestMetricsSayHowFarTheVersionsAreApartWhileARolloutIsUnderWay(t *testing.T) {
	names := []string{"assay_rollout_divergence", "assay_rollout_score"}
	reg := prometheus.NewRegistry()
	s := newStage(t, 1, 0.08)
	s.with(func(c *rollout.Config) { c.Registerer = reg })
	id := s.propose(plan()).ID

	r := s.pass(id, 0)
	for range 20 { // seconds, until both versions have failed requests
		if r = s.pass(id, time.Second); r.Status.Ended() || r.Decision != nil && r.Decision.Tests[0].Divergence != nil {
			break
		}
	}
	if r.Status.Ended() || r.Decision == nil || r.Decision.Tests[0].Divergence == nil {
		t.Fatalf("the rollout is %s and its newest decision %+v", r.Status, r.Decision)
	}
	d := r.Decision.Tests[0].Divergence
	labels := fmt.Sprintf(`namespace="%s",rollout="%s",service="shop"`, namespace, id)
	ends := `{end="%s",` + labels + `,test="` + r.Decision.Tests[0].Name + `",unit="points"} %v` + "\n"
	want := "# HELP assay_rollout_divergence How far the new version is from the old one by each test of a rollout under way: the value, and the ends of its interval.\n# TYPE assay_rollout_divergence gauge\n"
	if r.Decision.Tests[0].RatioHigh > 0 {
		want += fmt.Sprintf("assay_rollout_divergence"+ends, "high", d.High)
	}
	want += fmt.Sprintf("assay_rollout_divergence"+ends, "low", d.Low) + fmt.Sprintf("assay_rollout_divergence"+ends, "value", d.Value) +
		"# HELP assay_rollout_score Score of a rollout under way: 0 is harm shown, 100 safety shown, 50 nothing known.\n# TYPE assay_rollout_score gauge\n" +
		fmt.Sprintf("assay_rollout_score{%s} %d\n", labels, *r.Decision.Score)
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}

	for range 120 {
		if r = s.pass(id, time.Second); r.Status.Ended() {
			break
		}
	}
	if r.Status != api.RolloutAborted {
		t.Fatalf("eight times the errors ended as %s: %s", r.Status, r.Reason)
	}
	if n, err := testutil.GatherAndCount(reg, names...); n != 0 || err != nil {
		t.Errorf("%d series are left of a rollout that has ended (%v)", n, err)
	}
}
