package gameday

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
)

func TestATrayHandsOutEachTaskOnceAndWhatADeadWorkerHadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newTray()
		y.add(3)
		y.finish()
		take := func(a asking) uint64 {
			given, ok, over := y.ask(t.Context(), a)
			if ok == over {
				t.Fatalf("%+v: %v, %v", a, ok, over)
			}
			return given.ID
		}
		got := []uint64{take(asking{Worker: "a"}), take(asking{Worker: "b"})}
		y.drop("a")
		y.drop("c") // has nothing
		got = append(got, take(asking{Worker: "b", Done: 2, Sum: "two"}), take(asking{Worker: "b", Done: 1, Sum: handled(event{ID: 1})}))
		if !slices.Equal(got, []uint64{1, 2, 1, 3}) {
			t.Errorf("%v", got)
		}
		// What the dead one says late is not kept: another one did it.
		if _, ok, _ := y.ask(t.Context(), asking{Worker: "a", Done: 1, Sum: "late"}); ok {
			t.Error("there is a task too many")
		}
		<-time.After(time.Second) // of the bubble's clock
		if id := take(asking{Worker: "b", Done: 3, Sum: handled(event{ID: 3})}); id != 0 {
			t.Errorf("%d is handed out after the last", id)
		}
		if s := y.stands(); s.workers != 1 { // a is gone though it spoke late, and c never asked
			t.Errorf("%d workers", s.workers)
		}
		if s := y.stands(); !s.over || s.done != 3 || s.again != 1 || s.out+s.waiting != 0 || s.waited != 2*time.Second {
			t.Errorf("%+v", s)
		}
		if y.right() != 2 || y.doneBy("b") != 3 || y.doneBy("a") != 0 {
			t.Errorf("%d right, %d by b", y.right(), y.doneBy("b"))
		}
	})
}

func TestAWorkerThatBeginsAnewLosesNothing(t *testing.T) {
	y := newTray()
	y.add(1)
	y.finish()
	for range 2 {
		if given, ok, _ := y.ask(t.Context(), asking{Worker: "a"}); !ok || given.ID != 1 {
			t.Fatalf("%+v, %v", given, ok)
		}
	}
	if s := y.stands(); s.again != 1 || s.over {
		t.Errorf("%+v", s)
	}
}

func TestAnOpenTrayLetsItsWorkersWaitForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newTray()
		if _, ok, over := y.ask(t.Context(), asking{Worker: "a"}); ok || over {
			t.Errorf("%v, %v", ok, over)
		}
		time.AfterFunc(askFor/2, func() { y.add(1) })
		if given, ok, _ := y.ask(t.Context(), asking{Worker: "a"}); !ok || given.ID != 1 {
			t.Errorf("%+v, %v", given, ok)
		}
	})
}

func TestAWorkerDoesAllThereIsAlthoughItsTrayFailsAndThenEnds(t *testing.T) {
	y := newTray()
	y.add(6)
	y.finish()
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 3 {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		y.ServeHTTP(w, r)
	}))
	defer srv.Close()
	began := time.Now()
	if err := Worker(t.Context(), WorkerConfig{Tray: srv.URL, Name: "w", Takes: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if y.right() != 6 || y.doneBy("w") != 6 || time.Since(began) < 60*time.Millisecond {
		t.Errorf("%d of 6 in %s", y.right(), time.Since(began))
	}
}

func TestAWorkerMustKnowItsTrayAndATrayItsWorkers(t *testing.T) {
	if err := Worker(t.Context(), WorkerConfig{Name: "w"}); assay.CodeOf(err) != assay.CodeInvalid {
		t.Error(err)
	}
	srv := httptest.NewServer(newTray())
	defer srv.Close()
	for _, body := range []any{"no question", asking{}, map[string]string{"wroker": "w"}} {
		if _, err := post(t.Context(), srv.Client(), srv.URL, body); err == nil {
			t.Errorf("it takes %v", body)
		}
	}
}

// testJob is a job of a world without a control plane, whose worker is this program.
func testJob(t *testing.T, tasks int) *job {
	t.Helper()
	w := testWorld(t)
	w.cfg.Env = append(os.Environ(), "TEST_WORKER=1")
	j, err := (&drama{World: w}).openJob("test", 10, tasks)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func untilDone(t *testing.T, j *job, n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); j.tray.stands().done < n; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%+v after a minute", j.tray.stands())
		}
	}
}

func TestAJobThatIsStoppedComesBackInACheaperClassAndDoesTheRestOnce(t *testing.T) {
	j := testJob(t, 12)
	if err := j.admit("", 100); err != nil {
		t.Fatal(err)
	}
	untilDone(t, j, 4)
	if err := j.admit("", 0); err != nil {
		t.Fatal(err)
	}
	stopped := j.line()
	if n := len(j.d.Processes()); n != 0 || stopped.rate != 0 {
		t.Errorf("%d processes run for %v a second", n, stopped.rate)
	}
	if err := j.put("", cheap); err != nil || len(j.d.Processes()) != 0 {
		t.Errorf("%v: a stopped job runs in its new class", err)
	}
	if again := j.line(); again.spent != stopped.spent {
		t.Errorf("a stopped job spends: %v after %v", again.spent, stopped.spent)
	}
	if err := j.admit("", 100); err != nil {
		t.Fatal(err)
	}
	if l := j.line(); l.rate != 10*(1-saving) {
		t.Errorf("it costs %v a second", l.rate)
	}
	untilDone(t, j, 12)
	l := j.line()
	if j.tray.right() != 12 || l.tasks[dear] < 4 || l.tasks[dear]+l.tasks[cheap] != 12 {
		t.Errorf("%d right, %v by class", j.tray.right(), l.tasks)
	}
	if l.spent[dear] != stopped.spent[dear] || l.spent[cheap] < 10*(1-saving)*0.1*float64(l.tasks[cheap]) {
		t.Errorf("%v spent for %v tasks", l.spent, l.tasks)
	}
}

func TestAZoneHasItsMidnightWhenThePlayWants(t *testing.T) {
	y := &yard{zones: t.TempDir()}
	for _, at := range []time.Time{time.Unix(1_800_000_000, 0), time.Unix(1_800_000_000+11*3600+7, 0), time.Unix(1_800_040_000, 0)} {
		if err := y.setMidnight(at); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(y.zones, "Yard", "Day"))
		if err != nil {
			t.Fatal(err)
		}
		zone, err := time.LoadLocationFromTZData(dayZone, data)
		if err != nil {
			t.Fatal(err)
		}
		if got := at.In(zone); got.Format(time.TimeOnly) != "00:00:00" {
			t.Errorf("%s is %s there", at, got)
		}
	}
}
