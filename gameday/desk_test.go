package gameday

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/policy"
	"assay.dev/assay/policy/dir"
)

// strategyOf is a strategy that plays declare.
func strategyOf(t *testing.T, name string) policy.Strategy {
	t.Helper()
	text, err := doorFiles.ReadFile("doors/strategies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rev, err := dir.Load(t.Context(), policyFolder(t, map[string]string{"strategies.yaml": string(text)}))
	if err != nil {
		t.Fatal(err)
	}
	list := rev.Strategies()
	i := slices.IndexFunc(list, func(s policy.Strategy) bool { return s.Metadata.Name == name })
	if i < 0 {
		t.Fatalf("no strategy %s", name)
	}
	return list[i]
}

func TestTheMachinesOfADeskAreTheClassesThatItsStrategyDeclares(t *testing.T) {
	s := strategyOf(t, "desk-tiers").Spec
	if len(s.Tiers.Classes) != len(grades) {
		t.Fatalf("%d classes and %d kinds of machine", len(s.Tiers.Classes), len(grades))
	}
	for i, c := range s.Tiers.Classes {
		if c.Name != grades[i].name || c.Cost != grades[i].cost {
			t.Errorf("class %d is %+v, and the machine %+v", i, c, grades[i])
		}
	}
	for _, tier := range s.Tiers.Tiers {
		if want := map[string]float64{"gold": goldTarget, "basic": basicTarget}[tier.Name]; tier.Target != want {
			t.Errorf("%s is promised %v, and the play asserts %v", tier.Name, tier.Target, want)
		}
	}
	for tier, within := range map[string]time.Duration{"gold": goldWithin, "basic": basicWithin} {
		if counts := fmt.Sprintf(`version=%q,le="%v"`, tier, within.Seconds()); !strings.Contains(s.Signals[0].Query, counts) {
			t.Errorf("the signal of %s does not count what was answered within %s: %s", tier, within, s.Signals[0].Query)
		}
	}
}

func TestRequestsCostWhatTheClassCostsInWhichTheyWereAnswered(t *testing.T) {
	a := account{requests: 1000, eur: 0.40}.plus(account{requests: 3000, eur: 0.15})
	if got := a.thousand(); got < 0.1374 || got > 0.1376 {
		t.Errorf("a thousand cost %v", got)
	}
	if since := a.less(account{requests: 1000, eur: 0.40}); since.requests != 3000 || since.thousand() < 0.0499 || since.thousand() > 0.0501 {
		t.Errorf("since then %+v", since)
	}
	if (account{}).thousand() != 0 {
		t.Error("nothing costs something")
	}
}

func TestWhatCustomersAreAnsweredTooLateOrNotWellIsNotKept(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPost || r.Header.Get(tierHeader) != "gold" || r.Host != "desk.yard":
			w.WriteHeader(http.StatusTeapot)
		case r.URL.Path == "/bad":
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/held":
			w.Header().Set("Assay-Reason", "rate_limit")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer srv.Close()
	v := &visitors{cancel: func() {}}
	for path, within := range map[string]time.Duration{"/": time.Hour, "/slow": time.Nanosecond, "/bad": 0, "/held": 0} {
		v.within = within
		v.askFor(http.MethodPost, path)
		v.one(context.Background(), srv.Client(), srv.URL, "desk.yard", tierHeader, "gold")
	}
	s := v.seen()
	if s.ok != 2 || s.late != 1 || s.bad != 1 || s.held != 1 || s.kept() != 0.25 || s.mean() <= 0 {
		t.Errorf("%+v, %v kept, %s on average", s, s.kept(), s.mean())
	}
	if again := v.seen(); again != (seen{}) || again.kept() != 0 {
		t.Errorf("seen twice: %+v", again)
	}
}
