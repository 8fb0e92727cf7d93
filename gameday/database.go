package gameday

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"assay.dev/assay/internal/strict"
)

// rowsPath is where functions write.
const rowsPath = "/rows"

// database is what functions write to: it has a few slots, and a write holds one for as
// long as it takes, however many want one.
type database struct {
	slots chan struct{}
	takes time.Duration

	mu   sync.Mutex
	rows map[uint64]row // by event
	busy time.Duration  // of all slots together
}

// row is what is kept of an event.
type row struct {
	sum   string // what a function worked out; "" in a batch
	batch int    // that it was written with; 0 is by itself
}

func newDatabase(slots int, takes time.Duration) *database {
	return &database{slots: make(chan struct{}, slots), takes: takes, rows: map[uint64]row{}}
}

// write keeps a row for each event, in one write. An event that has one keeps it: what
// is handed out twice may be written twice.
func (d *database) write(ctx context.Context, events []uint64, r row) error {
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.slots }()
	began := time.Now()
	timer := time.NewTimer(d.takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy += time.Since(began)
	for _, id := range events {
		if _, there := d.rows[id]; !there {
			d.rows[id] = r
		}
	}
	return nil
}

// worked is for how many seconds slots were held, all together.
func (d *database) worked() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy.Seconds()
}

// row is what is kept of an event, false if nothing is.
func (d *database) row(id uint64) (row, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.rows[id]
	return r, ok
}

// count is how many events have a row.
func (d *database) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rows)
}

// ServeHTTP implements http.Handler: functions write their results.
func (d *database) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := strict.Bounded(r.Body, 64<<10, "the request")
	if err == nil && r.Method+" "+r.URL.Path != "POST "+rowsPath {
		err = fmt.Errorf("there is no %s %s", r.Method, r.URL.Path)
	}
	var done result
	if err == nil {
		err = strict.JSON(data, &done)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := d.write(r.Context(), []uint64{done.ID}, row{sum: done.Sum}); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
