package gameday

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// askFor is how long a worker that asks for a task waits for one.
const askFor = time.Second

// task is a piece of work.
type task struct {
	ID uint64 `json:"id"`

	since time.Time
}

// asking is how a worker asks for a task, with what came of the one before.
type asking struct {
	Worker string `json:"worker"`
	Done   uint64 `json:"done,omitempty"`
	Sum    string `json:"sum,omitempty"`
}

// tray holds the tasks of workers, which are processes and ask for them over HTTP. What a
// worker had that is gone is the next to be handed out.
type tray struct {
	mu      sync.Mutex
	wake    chan struct{} // closed when there is something to ask for again
	last    uint64        // task
	closed  bool          // no more will come: workers end when there is none left
	waiting []task
	out     map[string]task   // by worker
	done    map[uint64]string // what came of it
	by      map[string]int    // tasks done, by worker
	here    map[string]bool   // workers that asked; false of one that is gone, whatever it still says
	again   int               // tasks that came back
	waited  time.Duration     // until they were done, of all that are
}

func newTray() *tray {
	return &tray{wake: make(chan struct{}), out: map[string]task{}, done: map[uint64]string{}, by: map[string]int{}, here: map[string]bool{}}
}

// add brings n tasks.
func (t *tray) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range n {
		t.last++
		t.waiting = append(t.waiting, task{ID: t.last, since: time.Now()})
	}
	t.call()
}

// finish says that no more will come.
func (t *tray) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.call()
}

// drop takes back what a worker had that is gone.
func (t *tray) drop(worker string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.here[worker] = false
	had, ok := t.out[worker]
	if !ok {
		return
	}
	delete(t.out, worker)
	t.again++
	t.waiting = append([]task{had}, t.waiting...)
	t.call()
}

// call wakes who asks; with the lock.
func (t *tray) call() {
	close(t.wake)
	t.wake = make(chan struct{})
}

// trayed is how a tray stands.
type trayed struct {
	waiting, out, done, again int
	workers                   int           // that asked and are not gone
	over                      bool          // nothing is left and no more will come
	oldest                    time.Duration // of what waits
	waited                    time.Duration // of all that is done, until it was
}

func (t *tray) stands() trayed {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := trayed{waiting: len(t.waiting), out: len(t.out), done: len(t.done), again: t.again, over: t.over(), waited: t.waited}
	for _, here := range t.here {
		if here {
			s.workers++
		}
	}
	if len(t.waiting) > 0 {
		s.oldest = time.Since(t.waiting[0].since)
	}
	return s
}

func (t *tray) over() bool { return t.closed && len(t.waiting) == 0 && len(t.out) == 0 }

// doneBy is how many tasks a worker did.
func (t *tray) doneBy(worker string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.by[worker]
}

// right is how many of the tasks are done as they had to be.
func (t *tray) right() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, sum := range t.done {
		if sum == handled(event{ID: id}) {
			n++
		}
	}
	return n
}

// ask notes what a worker did and gives it a task. False without one: none came for a
// while, or none will, which over says.
func (t *tray) ask(ctx context.Context, a asking) (given task, ok, over bool) {
	t.note(a)
	timer := time.NewTimer(askFor)
	defer timer.Stop()
	for {
		t.mu.Lock()
		if len(t.waiting) > 0 {
			given, t.waiting = t.waiting[0], t.waiting[1:]
			t.out[a.Worker] = given
			t.mu.Unlock()
			return given, true, false
		}
		wake, over := t.wake, t.over()
		t.mu.Unlock()
		if over {
			return task{}, false, true
		}
		select {
		case <-wake:
		case <-timer.C:
			return task{}, false, false
		case <-ctx.Done():
			return task{}, false, false
		}
	}
}

// note keeps what came of the task that a worker had. What it no longer had is not kept:
// another one does that.
func (t *tray) note(a asking) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.here[a.Worker]; !known {
		t.here[a.Worker] = true
	}
	had, ok := t.out[a.Worker]
	if !ok {
		return
	}
	delete(t.out, a.Worker)
	if a.Done != had.ID { // it began anew, or its answer was lost
		t.again++
		t.waiting = append([]task{had}, t.waiting...)
		return
	}
	t.done[had.ID] = a.Sum
	t.by[a.Worker]++
	t.waited += time.Since(had.since)
	if t.over() {
		t.call()
	}
}

// ServeHTTP implements http.Handler: workers ask. 204 is that there is no task now, 410 that there will be none.
func (t *tray) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := strict.Bounded(r.Body, 64<<10, "the request")
	var a asking
	if err == nil {
		err = strict.JSON(data, &a)
	}
	if err == nil && a.Worker == "" {
		err = assay.Errorf(assay.CodeInvalid, "a worker says its name")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch given, ok, over := t.ask(r.Context(), a); {
	case ok:
		_ = json.NewEncoder(w).Encode(given) // a worker that is gone is dropped by who started it
	case over:
		w.WriteHeader(http.StatusGone)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// WorkerConfig says which tasks a worker does, and how fast.
type WorkerConfig struct {
	Tray  string        // URL
	Name  string        // of the worker
	Takes time.Duration // a task, at least: the speed of the machine that the worker stands for
	Warms time.Duration // until it asks for its first task: what starting takes there
}

// Worker does one task after the other, until ctx ends or there are none left. A tray that
// does not answer is asked again. CodeInvalid if it is not told where the tray is.
func Worker(ctx context.Context, c WorkerConfig) error {
	if c.Tray == "" || c.Name == "" {
		return assay.Errorf(assay.CodeInvalid, "tray %q and name %q: both are needed", c.Tray, c.Name)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}
	defer client.CloseIdleConnections()
	_ = pause(ctx, c.Warms) // the loop sees that it is over
	for a := (asking{Worker: c.Name}); ctx.Err() == nil; {
		given, over, err := a.send(ctx, client, c.Tray)
		switch {
		case over:
			return nil
		case err != nil:
			_ = pause(ctx, 100*time.Millisecond) // the loop sees that it is over
			continue
		}
		a.Done, a.Sum = 0, ""
		if given.ID == 0 {
			continue
		}
		began := time.Now()
		sum := handled(event{ID: given.ID})
		if pause(ctx, c.Takes-time.Since(began)) == nil {
			a.Done, a.Sum = given.ID, sum
		}
	}
	return nil
}

// send asks for a task, one with ID 0 if there is none now.
func (a asking) send(ctx context.Context, client *http.Client, url string) (given task, over bool, err error) {
	status, answer, err := exchange(ctx, client, url, a)
	switch {
	case err != nil:
	case status == http.StatusGone:
		over = true
	case status == http.StatusOK:
		err = strict.JSON(answer, &given)
	case status != http.StatusNoContent:
		err = fmt.Errorf("%s answered %d: %.200s", url, status, answer)
	}
	return given, over, err
}
