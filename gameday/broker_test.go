package gameday

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/faas"
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
			e, ok := b.take(t.Context())
			if !ok {
				t.Fatal("an event waits, and none is handed out")
			}
			got = append(got, e.ID)
		}
		if want := []uint64{4, 2, 3, 1}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if _, ok := b.take(t.Context()); ok {
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
		ctx, cancel := context.WithCancel(t.Context())
		var runs []uint64
		s := newPollers(ctx, b, func(ctx context.Context, payload []byte) ([]byte, error) {
			var e event
			if err := json.Unmarshal(payload, &e); err != nil {
				return nil, err
			}
			runs = append(runs, e.ID)
			if err := b.db.write(ctx, []uint64{e.ID}, row{sum: handled(e)}); err != nil {
				return nil, err
			}
			if len(runs) == 1 { // it wrote, and did not come to say so
				return nil, &faas.FunctionError{Type: "Runtime.ExitError"}
			}
			return json.Marshal(outcome{ID: e.ID, Write: 0.025})
		})
		b.offer(kindOrders)
		b.offer(kindOrders)
		s.hold(1)
		<-time.After(time.Minute) // of the bubble's clock
		cancel()
		s.group.Wait()
		if !slices.Equal(runs, []uint64{1, 1, 2}) || !b.gaveBack(event{ID: 1}) || b.counts().again != 1 {
			t.Errorf("%v, %d of them given back", runs, b.counts().again)
		}
		if all, alone, right := b.critical(); all != 2 || alone != 2 || right != 2 || b.db.count() != 2 {
			t.Errorf("%d orders, %d handled, %d right, %d rows", all, alone, right, b.db.count())
		}
		if w := s.written(); w.Count() != 2 || w.Sum != 0.05 {
			t.Errorf("%+v", w)
		}
	})
}

func TestAThrottledEventWaitsAndPollersBeyondTheirNumberFinishWhatTheyHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := smallBroker()
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		working, most, asked := 0, 0, 0
		s := newPollers(ctx, b, func(context.Context, []byte) ([]byte, error) {
			mu.Lock()
			asked++
			if asked == 1 {
				mu.Unlock()
				return nil, faas.ErrThrottled
			}
			working++
			most = max(most, working)
			mu.Unlock()
			<-time.After(time.Second) // of the bubble's clock
			mu.Lock()
			working--
			mu.Unlock()
			return []byte("{}"), nil
		})
		for range 12 {
			b.offer(kindSearch)
		}
		s.hold(3)
		<-time.After(500 * time.Millisecond)
		s.hold(1)
		<-time.After(time.Minute)
		cancel()
		s.group.Wait()
		if c := b.counts(); asked != 13 || most != 3 || c.waiting != 0 || c.again != 1 {
			t.Errorf("%d asked, at most %d at once, %+v", asked, most, c)
		}
		if d := b.meanWait(kindSearch); d < 3*time.Second { // three at once, and then one by one
			t.Errorf("on average they waited %s", d)
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

// TestMain makes this program a function when a platform of functions started it, and a
// worker when a job did.
func TestMain(m *testing.M) {
	if api := os.Getenv("AWS_LAMBDA_RUNTIME_API"); api != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Function(ctx, FunctionConfig{Database: os.Getenv("TEST_DATABASE"), Runtime: api}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("TEST_WORKER") != "" && len(os.Args) > 2 && os.Args[2] == "worker" {
		var c WorkerConfig
		set := flag.NewFlagSet("worker", flag.ExitOnError)
		set.StringVar(&c.Tray, "tray", "", "")
		set.StringVar(&c.Name, "name", "", "")
		set.DurationVar(&c.Takes, "takes", 0, "")
		_ = set.Parse(os.Args[3:]) // exits on an error
		if err := Worker(context.Background(), c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestAFunctionForLambdaWritesEveryEventThoughItsDatabaseFailsAndItIsKilled(t *testing.T) {
	b := smallBroker()
	for range 30 {
		b.offer(kindOrders)
	}
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%4 == 1 {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		b.db.ServeHTTP(w, r)
	}))
	defer srv.Close()
	w := testWorld(t)
	r := &rush{d: &drama{World: w}, b: b, processes: map[string]*Child{}}
	w.cfg.Exe = os.Args[0]
	w.cfg.Env = append(os.Environ(), "TEST_DATABASE="+srv.URL)
	r.functions = faas.New(faas.Config{
		Function: events, Init: time.Minute, Limit: time.Minute, Idle: time.Hour,
		Start: func(instance string, environment []string) (faas.Process, error) {
			return r.start(instance, environment, srv.URL)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.pollers = newPollers(ctx, b, r.functions.Invoke)
	r.reserve(2)
	if err := r.kill(); err != nil || r.struck.ID == 0 {
		t.Errorf("%v, %+v", err, r.struck)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); b.db.count() < 30 && time.Now().Before(deadline); {
		<-tick.C
	}
	cancel()
	r.functions.Close()
	r.pollers.group.Wait()
	if all, alone, right := b.critical(); all != 30 || alone != 30 || right != 30 {
		t.Errorf("%d orders, %d handled, %d right", all, alone, right)
	}
	s := r.functions.Stats()
	if s.Started < 3 || s.ColdStarts < 3 || s.Crashes != 1 || s.Errors < 2 || w.Context().Err() != nil {
		t.Errorf("%+v, %v", s, context.Cause(w.Context()))
	}
	if n := len(w.Processes()); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestAFunctionMustKnowItsPlatformAndItsDatabase(t *testing.T) {
	for _, c := range []FunctionConfig{{Database: "http://127.0.0.1:1"}, {Runtime: "127.0.0.1:1"}} {
		if err := Function(t.Context(), c); assay.CodeOf(err) != assay.CodeInvalid {
			t.Error(err)
		}
	}
}

func TestADatabaseRefusesWhatItDoesNotUnderstand(t *testing.T) {
	srv := httptest.NewServer(newDatabase(1, time.Millisecond))
	defer srv.Close()
	for path, body := range map[string]any{rowsPath: "no result", "/other": result{}} {
		if _, err := post(t.Context(), srv.Client(), srv.URL+path, body); err == nil {
			t.Errorf("%s takes %v", path, body)
		}
	}
}

func TestNumbersAreSentAsOTLPHasThem(t *testing.T) {
	since, now := time.Unix(1, 0), time.Unix(2, 0)
	spread := faas.Histogram{Bounds: []float64{1}, Counts: []uint64{3, 1}, Sum: 6}
	for _, c := range []struct {
		g    gauge
		want string
	}{
		{gauge{name: "a", service: "s", number: 0.5}, `{"name":"a","gauge":{"dataPoints":[{"timeUnixNano":"2000000000","asDouble":0.5,"attributes":[{"key":"service","value":{"stringValue":"s"}}]}]}}`},
		{gauge{name: "b", service: "s", since: since}, `{"name":"b","sum":{"dataPoints":[{"startTimeUnixNano":"1000000000","timeUnixNano":"2000000000","asDouble":0,"attributes":[{"key":"service","value":{"stringValue":"s"}}]}],"aggregationTemporality":2,"isMonotonic":true}}`},
		{gauge{name: "c", service: "s", since: since, spread: &spread}, `{"name":"c","unit":"s","histogram":{"dataPoints":[{"startTimeUnixNano":"1000000000","timeUnixNano":"2000000000","count":"4","sum":6,"bucketCounts":["3","1"],"explicitBounds":[1],"attributes":[{"key":"service","value":{"stringValue":"s"}}]}],"aggregationTemporality":2}}`},
	} {
		if got, err := json.Marshal(c.g.metric(now)); err != nil || string(got) != c.want {
			t.Errorf("%s, %v", got, err)
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
