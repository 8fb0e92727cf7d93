package signal_test

import (
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
)

// counted are the readings of a spec over series that each grow from 0 to n.
func counted(t *testing.T, spec signal.Spec, total, bad map[[3]string]float64) ([]assay.Reading, error) {
	t.Helper()
	ind, err := signal.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1_700_000_000, 0)
	series := func(of map[[3]string]float64) (out []signal.Series) {
		for l, n := range of {
			out = append(out, signal.Series{
				Labels: labels.FromStrings("version", l[0], "route", l[1], "class", l[2]),
				Points: []signal.Point{{Time: start.Add(-time.Second).UnixMilli()}, {Time: start.Add(time.Second).UnixMilli(), Value: n}},
			})
		}
		return out
	}
	q := signal.Query{Namespace: "n", Indicator: ind, Start: start, End: start.Add(10 * time.Second)}
	return signal.Count(q, signal.Data{Total: signal.Part{Plus: series(total)}, Bad: signal.Part{Plus: series(bad)}})
}

func strataSpec() signal.Spec {
	return signal.Spec{Service: "shop", Name: "errors", Bad: "sum(bad)", Total: "sum(all)", StratumLabel: "route", ClassLabel: "class"}
}

func TestStrataAndClassesAreCountedApart(t *testing.T) {
	got, err := counted(t, strataSpec(),
		map[[3]string]float64{{"v1", "cart"}: 100, {"v1", "items"}: 900, {"v2", "items"}: 50},
		map[[3]string]float64{{"v1", "cart", "timeout"}: 3, {"v1", "cart", "5xx"}: 2, {"v2", "items", "5xx"}: 1})
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	cart := got[0]
	if cart.Version != "v1" || cart.Stratum != "cart" || cart.Total != 100 || cart.Bad() != 5 ||
		len(cart.Classes) != 2 || cart.Classes[0] != (assay.Class{Name: "5xx", Count: 2}) || cart.Classes[1] != (assay.Class{Name: "timeout", Count: 3}) {
		t.Errorf("%+v", cart)
	}
	if got[1].Stratum != "items" || got[1].Bad() != 0 || got[2].Version != "v2" {
		t.Errorf("%+v", got[1:])
	}
}

func TestBadEventsOfAStratumWithoutATotalAreNotLost(t *testing.T) {
	_, err := counted(t, strataSpec(), map[[3]string]float64{{"v1", "cart"}: 100}, map[[3]string]float64{{"v1", "", "5xx"}: 3})
	if assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("errors without the label of the strata are counted for nobody: %v", err)
	}
}
