package budget_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"assay.dev/assay/budget"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
)

func TestHistoryFillsTheBooksAndLeavesWhatWasCounted(t *testing.T) {
	t.Parallel()
	db := open(t)
	now := at(0)
	// The shop was measured here for the last 20 minutes, one bad of a hundred.
	for m := -20; m <= 0; m++ {
		put(t, db, at(60*m), "v1", 9900+99*m, 100+m)
	}
	b := keep(t, db, objective(t, "shop", "6h"))
	settle(t, b, now)
	was := book(t, b, now)
	if was.Budget.Known != 20 || was.Budget.Total != 1900 {
		t.Fatalf("%+v", was.Budget)
	}
	// Elsewhere it was measured for six hours, another replica too, two bad of a hundred.
	var history []signal.Sample
	for _, code := range []string{"200", "500"} {
		for m := -360; m <= 0; m++ {
			v := 98 * (m + 360)
			if code == "500" {
				v = 2 * (m + 360)
			}
			history = append(history, signal.Sample{Time: at(60 * m).UnixMilli(), Value: float64(v), Labels: labels.FromStrings("__name__", "requests_total", "code", code, "instance", "b", "version", "v1")})
		}
	}
	s, err := db.Stage(namespace, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := signal.MarshalWrite(history)
	if err != nil {
		t.Fatal(err)
	}
	piece, err := signal.ReadPiece(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(context.Background(), piece); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(context.Background(), "fact", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := book(t, b, now); got.Budget != was.Budget {
		t.Errorf("before it is read: %+v", got.Budget)
	}
	b.Recount([]string{"other/0"})
	settle(t, b, now)
	if got := book(t, b, now); got.Budget != was.Budget {
		t.Errorf("another objective's history: %+v", got.Budget)
	}
	b.Recount([]string{"shop/0"})
	settle(t, b, now)
	got := book(t, b, now)
	// 35 minutes before now history ends; 359 of its minutes lie in the window.
	ends := int(signal.OwnFrom(now.Add(-signal.MaxBehind).UnixMilli())-at(-360*60).UnixMilli()) / 60_000
	if want := uint64(was.Budget.Total) + uint64(100*(ends-1)); got.Budget.Total != want || got.Budget.Known != was.Budget.Known+ends {
		t.Errorf("%+v, expected %d events", got.Budget, want)
	}
	for i, m := range got.Minutes[len(got.Minutes)-20:] {
		if w := was.Minutes[len(was.Minutes)-20+i]; m != w {
			t.Errorf("minute %s was %+v and is %+v", m.Time.Format(time.TimeOnly), w, m)
		}
	}
	// Books that begin now read the same.
	other := keep(t, db, objective(t, "shop", "6h"))
	settle(t, other, now)
	if fresh := book(t, other, now); fresh.Budget != got.Budget {
		t.Errorf("read back: %+v, kept: %+v", fresh.Budget, got.Budget)
	}
}

func book(t *testing.T, b *budget.Books, now time.Time) budget.Snapshot {
	t.Helper()
	s, err := b.Snapshot("shop", now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
