package gameday

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
)

// smallBroker has a database of two slots and queues a hundred events a second.
func smallBroker() *broker {
	return newBroker(newDatabase(2, 25*time.Millisecond), 100, kindOrders, kindSearch, kindReports)
}

func TestABrokerHandsOutTheMostImportantEventsFirstAndThenTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := smallBroker()
		for _, k := range []kind{kindReports, kindSearch, kindSearch, kindOrders} {
			b.offer(k)
		}
		var got []uint64
		for range 4 {
			e, ok := b.take(t.Context(), assignment{Function: "f"})
			if !ok {
				t.Fatal("an event waits, and none is handed out")
			}
			got = append(got, e.ID)
		}
		if want := []uint64{4, 2, 3, 1}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if _, ok := b.take(t.Context(), assignment{Function: "f"}); ok {
			t.Error("an event is handed out twice at once")
		}
	})
}

func TestCriticalEventsAreQueuedWhateverTheLeversSayAndTheOthersGoTheCheaperPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := smallBroker()
		for _, k := range b.kinds {
			if err := b.admit(k.name, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.limitTo("", 1); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			b.offer(kindOrders)
			b.offer(kindReports)
		}
		if c := b.counts(); c.waiting != 100 || c.rerouted != 100 {
			t.Errorf("%d wait and %d are held", c.waiting, c.rerouted)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.aggregate(ctx)
		<-time.After(2 * aggregateEvery) // of the bubble's clock
		synctest.Wait()
		if n := b.db.count(); n != 100 {
			t.Errorf("%d rows", n)
		}
		if r, ok := b.db.row(2); !ok || r.batch != 1 || b.counts().batches != 1 {
			t.Errorf("%+v, %v in %d writes", r, ok, b.counts().batches)
		}
		if all, alone, _ := b.critical(); all != 100 || alone != 0 {
			t.Errorf("%d of %d orders are said to be handled, and no function ran", alone, all)
		}
	})
}

func TestHalfOfAClassIsEveryOtherEventAndARateHoldsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := smallBroker()
		if err := b.admit(kindSearch.name, 50); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			b.offer(kindSearch)
		}
		if c := b.counts(); c.waiting != 20 {
			t.Errorf("%d of 40 are queued at 50 %%", c.waiting)
		}
		for range 200 {
			b.offer(kindReports)
		}
		if c := b.counts(); c.waiting != 100 {
			t.Errorf("%d are queued at once at a limit of 100 a second", c.waiting)
		}
		<-time.After(time.Second / 2) // of the bubble's clock
		for range 200 {
			b.offer(kindReports)
		}
		if c := b.counts(); c.waiting != 150 || c.deepest != 150 {
			t.Errorf("%d are queued half a second later", c.waiting)
		}
	})
}

func TestAnEventWhoseFunctionDiedIsHandedOutAgainAndKeptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := smallBroker()
		b.offer(kindOrders)
		first, _ := b.take(t.Context(), assignment{Function: "dead"})
		if err := b.db.write(t.Context(), []uint64{first.ID}, row{sum: handled(first)}); err != nil {
			t.Fatal(err)
		}
		<-time.After(leaseFor + time.Second) // of the bubble's clock
		second, ok := b.take(t.Context(), assignment{Function: "next"})
		if !ok || second.ID != first.ID || b.counts().again != 1 {
			t.Fatalf("%+v, %v", second, ok)
		}
		if err := b.db.write(t.Context(), []uint64{second.ID}, row{sum: "another"}); err != nil {
			t.Fatal(err)
		}
		if all, alone, right := b.critical(); all != 1 || alone != 1 || right != 1 || b.db.count() != 1 {
			t.Errorf("%d orders, %d handled, %d right, %d rows", all, alone, right, b.db.count())
		}
		if _, ok := b.take(t.Context(), assignment{Function: "next", Done: second.ID}); ok {
			t.Error("what is done is handed out")
		}
		<-time.After(2 * leaseFor) // of the bubble's clock
		if _, ok := b.take(t.Context(), assignment{Function: "next"}); ok {
			t.Error("what is done is handed out later")
		}
	})
}

func TestADatabaseTakesAsManyWritesAtOnceAsItHasSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase(2, 25*time.Millisecond)
		began := time.Now()
		var group sync.WaitGroup
		for i := range uint64(4) {
			group.Go(func() {
				if err := d.write(t.Context(), []uint64{i}, row{}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if took := time.Since(began); took != 50*time.Millisecond || d.worked() != 0.1 || d.count() != 4 {
			t.Errorf("%s, %v s of work, %d rows", took, d.worked(), d.count())
		}
	})
}

func TestABrokerReportsWhatStrategiesRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := smallBroker()
		b.reports(events)
		for range 10 {
			b.offer(kindOrders)
			b.offer(kindSearch)
		}
		<-time.After(2 * time.Second) // of the bubble's clock
		got := map[string]float64{}
		for _, g := range b.reports(events) {
			got[g.name+g.value] = g.number
		}
		for name, want := range map[string]float64{
			"yard_eventsorders": 5, "yard_eventssearch": 5, "yard_eventsreports": 0, "yard_load": 10,
			"yard_queue_depth": 20, "yard_queue_age": 2, "yard_db_utilisation": 0,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s is %v, %v; want %v", name, v, ok, want)
			}
		}
	})
}

func TestAFunctionHandlesEventsUntilItIsStoppedAndAsksAgainWhereNobodyAnswers(t *testing.T) {
	b := smallBroker()
	for range 5 {
		b.offer(kindOrders)
	}
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%4 == 1 { // also of results: the event is handed out again then
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		b.ServeHTTP(w, r)
	}))
	defer srv.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Function(ctx, FunctionConfig{Queue: srv.URL, Name: "f"}) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); b.db.count() < 5 && time.Now().Before(deadline); {
		<-tick.C
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if all, alone, right := b.critical(); all != 5 || alone != 5 || right != 5 {
		t.Errorf("%d orders, %d handled, %d right", all, alone, right)
	}
}

func TestAFunctionMustKnowItsBroker(t *testing.T) {
	if err := Function(t.Context(), FunctionConfig{Name: "f"}); assay.CodeOf(err) != assay.CodeInvalid {
		t.Error(err)
	}
}

func TestABrokerRefusesWhatItDoesNotUnderstand(t *testing.T) {
	srv := httptest.NewServer(smallBroker())
	defer srv.Close()
	for path, body := range map[string]any{takePath: map[string]string{"functoin": "f"}, rowsPath: "no result", "/other": assignment{}} {
		if _, err := post(t.Context(), srv.Client(), srv.URL+path, body); err == nil {
			t.Errorf("%s takes %v", path, body)
		}
	}
}

func TestAServiceThatThePlatformLeftIsMovedNoMore(t *testing.T) {
	p := &platform{levers: map[string]map[string]float64{}, fences: map[string]uint64{}, keys: map[string]done{}, hands: map[string]func(string, float64) error{}}
	at := 2.0
	p.keep(events, assay.LeverReplicas, "", at, func(_ string, n float64) error { at = n; return nil })
	if status, _ := p.put(desired{Service: events, Lever: assay.LeverReplicas, Now: 2, Want: 3, Key: "1"}); status != http.StatusOK || at != 3 {
		t.Fatalf("%d, it stands at %v", status, at)
	}
	p.leave(events)
	if status, _ := p.put(desired{Service: events, Lever: assay.LeverReplicas, Now: 3, Want: 4, Key: "2"}); status != http.StatusNotFound || at != 3 {
		t.Errorf("%d, it stands at %v", status, at)
	}
}
