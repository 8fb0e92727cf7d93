package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/store"
	"assay.dev/assay/store/sqlite"
)

// Sizes of the measure of facts.
const (
	callers      = 64     // who each wait for their answer before they send again
	appends      = 24_000 // per round and kind of fact
	syncs        = 600    // of the raw disk, per round
	syncBytes    = 4096
	appendTarget = 10_000 // per second
	waitTarget   = 20     // milliseconds, 99th percentile
)

// load is what callers measured together.
type load struct {
	rate, p50, p99 float64 // per second, milliseconds
	objects        float64 // allocated per call
}

// measureFacts measures durable appends by callers who wait, beside the same payloads in
// a bare table of the same engine and beside the disk's own sync.
func measureFacts(ctx context.Context, b *run.Bench) error {
	var operational, audit, bare, disk []load
	for n := range b.Rounds {
		d, err := rawSync(b)
		if err != nil {
			return err
		}
		op, err := appendFacts(ctx, b, assay.RetainOperational)
		if err != nil {
			return err
		}
		au, err := appendFacts(ctx, b, assay.RetainAudit)
		if err != nil {
			return err
		}
		bt, err := bareTable(ctx, b)
		if err != nil {
			return err
		}
		disk, operational, audit, bare = append(disk, d), append(operational, op), append(audit, au), append(bare, bt)
		b.Say("facts %d/%d: disk %.0f syncs/s (p50 %.2f ms), operational %.0f/s (p99 %.1f ms), audit %.0f/s (p99 %.1f ms), bare table %.0f/s (p99 %.1f ms)",
			n+1, b.Rounds, d.rate, d.p50, op.rate, op.p99, au.rate, au.p99, bt.rate, bt.p99)
	}
	syncRate := of(disk, func(l load) float64 { return l.rate })
	syncWait := of(disk, func(l load) float64 { return l.p50 })
	bareRate, bareWait := of(bare, func(l load) float64 { return l.rate }), of(bare, func(l load) float64 { return l.p99 })
	for _, kind := range []struct {
		name  string
		loads []load
	}{{"operational", operational}, {"audit", audit}} {
		rate := of(kind.loads, func(l load) float64 { return l.rate })
		wait := of(kind.loads, func(l load) float64 { return l.p99 })
		objects := of(kind.loads, func(l load) float64 { return l.objects })
		b.Rows = append(b.Rows,
			// One sync can carry every caller's append, and none can carry more.
			result.New("durable appends, "+kind.name, "1/s", rate).Against("bare batched table", rate, bareRate).
				Within(callers*result.Median(syncRate)).Want(">=", appendTarget),
			result.New("append wait p99, "+kind.name, "ms", wait).Against("bare batched table", wait, bareWait).
				Within(result.Median(syncWait)).Want("<", waitTarget),
			result.New("append allocations, "+kind.name, "objects", objects).
				Against("bare batched table", objects, of(bare, func(l load) float64 { return l.objects })))
	}
	b.Rows = append(b.Rows,
		result.New("disk: append 4 KiB + fdatasync", "1/s", syncRate),
		result.New("disk: append 4 KiB + fdatasync, p50", "ms", syncWait))
	return nil
}

// of takes one number of each load.
func of(loads []load, field func(load) float64) []float64 {
	out := make([]float64, len(loads))
	for i, l := range loads {
		out[i] = field(l)
	}
	return out
}

// appendFacts has the callers append facts of one kind to a fresh store.
func appendFacts(ctx context.Context, b *run.Bench, retention assay.Retention) (_ load, err error) {
	dir, err := b.Folder()
	if err != nil {
		return load{}, err
	}
	defer os.RemoveAll(dir)
	s, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "store.db")})
	if err != nil {
		return load{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return share(func(n int) error {
		return s.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Append(fact(retention, n))
			return err
		})
	})
}

// fact is a verdict of usual size.
func fact(retention assay.Retention, n int) assay.Fact {
	return assay.Fact{
		Kind: assay.FactVerdict, Version: 1, Namespace: "bench", Service: "shop", Environment: "prod",
		Subject: assay.DigestOf([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}), Actor: "ci@example.com",
		Retention: retention, Payload: payload(n),
	}
}

func payload(n int) json.RawMessage {
	return fmt.Appendf(nil, `{"gate":"release","outcome":"pass","mode":"enforce","n":%d,"policy":{"uri":"dir:policies","digest":"sha256:0000"}}`, n)
}

// share divides the appends among the callers and measures each.
func share(add func(n int) error) (load, error) {
	waits := make([][]float64, callers)
	errs := make([]error, callers)
	var took time.Duration
	objects, _, _ := allocated(func() error {
		var wg sync.WaitGroup
		start := time.Now()
		for c := range callers {
			wg.Go(func() {
				waits[c] = make([]float64, 0, appends/callers+1)
				for n := c; n < appends && errs[c] == nil; n += callers {
					began := time.Now()
					errs[c] = add(n)
					waits[c] = append(waits[c], millis(time.Since(began)))
				}
			})
		}
		wg.Wait()
		took = time.Since(start)
		return nil
	})
	var all []float64
	for _, w := range waits {
		all = append(all, w...)
	}
	return load{
		rate: appends / took.Seconds(), p50: result.Percentile(all, 0.5), p99: result.Percentile(all, 0.99),
		objects: objects / appends,
	}, errors.Join(errs...)
}

// row is one insert on its way into the bare table.
type row struct {
	payload []byte
	done    chan error
}

// bareTable is the peer: the same engine, log mode and syncs, one table with the
// payload in it, one insert per call, group commit, and nothing else.
func bareTable(ctx context.Context, b *run.Bench) (_ load, err error) {
	dir, err := b.Folder()
	if err != nil {
		return load{}, err
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(4000)")
	if err != nil {
		return load{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return load{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "CREATE TABLE bare (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)"); err != nil {
		return load{}, err
	}
	var st [3]*sql.Stmt
	for i, text := range []string{"BEGIN IMMEDIATE", "INSERT INTO bare (payload) VALUES (?)", "COMMIT"} {
		if st[i], err = conn.PrepareContext(ctx, text); err != nil {
			return load{}, err
		}
		defer st[i].Close()
	}
	rows := make(chan row, callers)
	var writer sync.WaitGroup
	writer.Go(func() {
		for first := range rows {
			commitRows(first, rows, st)
		}
	})
	l, err := share(func(n int) error {
		r := row{payload(n), make(chan error, 1)}
		rows <- r
		return <-r.done
	})
	close(rows)
	writer.Wait()
	return l, err
}

// commitRows commits first and all that wait behind it.
func commitRows(first row, rows <-chan row, st [3]*sql.Stmt) {
	exec := func(s *sql.Stmt, args ...any) error {
		_, err := s.ExecContext(context.Background(), args...)
		return err
	}
	err := exec(st[0])
	var group []row
	for r, ok := first, true; ok; r, ok = waiting(rows) {
		if err == nil {
			err = exec(st[1], r.payload)
		}
		group = append(group, r)
	}
	if err == nil {
		err = exec(st[2])
	}
	for _, r := range group {
		r.done <- err
	}
}

// waiting returns a row that waits. Before it gives up it yields once, as the store
// does, so that callers who were just answered are in the next group.
func waiting(rows <-chan row) (row, bool) {
	for range 2 {
		select {
		case r, ok := <-rows:
			return r, ok
		default:
			runtime.Gosched()
		}
	}
	return row{}, false
}

// rawSync appends to a file and syncs its data, one after the other: what the disk
// can do for one who waits.
func rawSync(b *run.Bench) (load, error) {
	f, err := os.CreateTemp(b.Dir, "sync-")
	if err != nil {
		return load{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, syncBytes)
	waits := make([]float64, syncs)
	start := time.Now()
	for i := range syncs {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			return load{}, err
		}
		if err := fdatasync(f); err != nil {
			return load{}, err
		}
		waits[i] = millis(time.Since(began))
	}
	return load{rate: syncs / time.Since(start).Seconds(), p50: result.Percentile(waits, 0.5), p99: result.Percentile(waits, 0.99)}, nil
}
