package signal_test

import (
	"fmt"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
)

func pod(version, name, code string, values ...float64) signal.Series {
	return signal.Series{Labels: labels.FromStrings("version", version, "pod", name, "code", code), Points: points(values...)}
}

// Replicas are parts of what their version counted. One that lives counts even where it had
// nothing new, so that who is compared does not change with every report; one that is gone,
// and series that name none, are no replica.
func TestReplicasAreCountedSideBySide(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "errors", Bad: `requests_total{code="500"}`, Total: "requests_total", ReplicaLabel: "pod"})
	bad := []signal.Series{pod("v1", "a", "500", 0, 1, 3), pod("v1", "b", "500", 0, 0, 0)}
	all := append(bad, pod("v1", "a", "200", 10, 20, 40), pod("v1", "b", "200", 5, 5, 5), pod("v1", "gone", "200", 7, -1, -1), pod("v1", "", "200", 0, 2, 4))
	got := count(t, ind, 1, 3, signal.Data{Bad: signal.Part{Plus: bad}, Total: signal.Part{Plus: all}})
	if len(got) != 1 {
		t.Fatalf("%d readings of one version", len(got))
	}
	if r := got[0]; r.Total != 37 || r.Bad() != 3 {
		t.Errorf("all replicas have %d bad of %d, want 3 of 37", r.Bad(), r.Total)
	}
	want := []assay.Replica{{Name: "a", Good: 30, Total: 33}, {Name: "b"}}
	if fmt.Sprint(got[0].Replicas) != fmt.Sprint(want) {
		t.Errorf("side by side they have %v, want %v", got[0].Replicas, want)
	}
}

// So many replicas as a large service has are put into groups, and each is in the same one
// whenever it is read, whoever else is there.
func TestManyReplicasAreCountedInGroups(t *testing.T) {
	ind := compile(t, signal.Spec{Name: "errors", Bad: `requests_total{code="500"}`, Total: "requests_total", ReplicaLabel: "pod"})
	read := func(from, to int) map[string]uint64 {
		var all []signal.Series
		for i := from; i < to; i++ {
			all = append(all, pod("v1", fmt.Sprint("shop-", i), "200", 0, float64(i+1)))
		}
		got := count(t, ind, 0, 2, signal.Data{Total: signal.Part{Plus: all}})
		out, sum := map[string]uint64{}, uint64(0)
		for _, p := range got[0].Replicas {
			out[p.Name] = p.Total
			sum += p.Total
		}
		if len(out) > assay.MaxReplicas || len(out) < assay.MaxReplicas/2 || sum != got[0].Total {
			t.Errorf("%d groups have %d of %d requests", len(out), sum, got[0].Total)
		}
		return out
	}
	some, more := read(0, 100), read(0, 101)
	moved := 0
	for name, n := range more {
		if some[name] != n {
			moved++
		}
	}
	if moved != 1 {
		t.Errorf("one more replica changed %d groups", moved)
	}
}
