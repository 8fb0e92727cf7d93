package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
	_ "modernc.org/sqlite" // the database/sql driver named "sqlite"
)

// Defaults of Config.
const (
	// DefaultMaxBatch is how many closures one commit carries at most.
	DefaultMaxBatch = 512
	// DefaultReaders is how many views run at the same time.
	DefaultReaders = 8
	// DefaultCacheBytes is the page cache of the writer.
	DefaultCacheBytes = 64 << 20
	// DefaultCheckpointPages is how long the write-ahead log grows before its
	// pages move into the database file, in pages of 4 KiB. The commit that
	// reaches it pays for the move: 4000 pages make that rare enough not to
	// show in the 99th percentile under full load, and keep the log at 16 MiB.
	DefaultCheckpointPages = 4000
	// maxLogBytes is what the log file shrinks to after it had to grow beyond it.
	maxLogBytes = 64 << 20
)

// Config says where the store is and how it behaves. Only Path is mandatory.
type Config struct {
	Path            string              // the database file; made if absent, in a folder that exists
	Now             func() time.Time    // the clock for Recorded and empty times; nil means time.Now
	NewID           func() assay.FactID // ids of facts without one; nil means store.NewFactID
	Upcasters       store.Upcasters     // how readers see old facts; the zero value changes nothing
	MaxBatch        int                 // 0 means DefaultMaxBatch
	Readers         int                 // 0 means DefaultReaders
	CacheBytes      int                 // 0 means DefaultCacheBytes
	CheckpointPages int                 // 0 means DefaultCheckpointPages
}

// Store is a store.Store and store.Outbox in one file.
type Store struct {
	cfg   Config
	pool  *sql.DB // read-only connections
	write *writer
	read  *statements // prepared on pool

	mu     sync.RWMutex // held for reading while a request is handed over
	closed bool
	views  sync.WaitGroup
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Outbox = (*Store)(nil)
)

// Open opens the store at cfg.Path and brings its schema up to date. A file
// that a newer assay changed, or that is not an assay store, is refused
// unharmed with assay.CodeUnavailable or assay.CodeInvalid.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	return open(ctx, cfg, migrations())
}

func open(ctx context.Context, cfg Config, schema fs.FS) (*Store, error) {
	cfg, err := withDefaults(cfg)
	if err != nil {
		return nil, err
	}
	if err := claim(ctx, cfg.Path); err != nil {
		return nil, inFile(cfg.Path, err)
	}
	s := &Store{cfg: cfg}
	w, err := newWriter(ctx, cfg, schema)
	if err != nil {
		return nil, inFile(cfg.Path, err)
	}
	s.write = w
	if s.pool, err = sql.Open("sqlite", readerDSN(cfg)); err == nil {
		s.pool.SetMaxOpenConns(cfg.Readers)
		s.pool.SetMaxIdleConns(cfg.Readers)
		s.read, err = prepare(ctx, s.pool)
	}
	if err != nil {
		return nil, errors.Join(inFile(cfg.Path, err), w.close(), s.closePool())
	}
	go w.run()
	return s, nil
}

func withDefaults(cfg Config) (Config, error) {
	if cfg.Path == "" {
		return cfg, assay.Errorf(assay.CodeInvalid, "sqlite: Config.Path is empty")
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return cfg, err
	}
	cfg.Path = path
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = store.NewFactID
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&cfg.MaxBatch, DefaultMaxBatch}, {&cfg.Readers, DefaultReaders},
		{&cfg.CacheBytes, DefaultCacheBytes}, {&cfg.CheckpointPages, DefaultCheckpointPages},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return cfg, nil
}

// writerDSN opens the file for the writer. A second process on the same file is
// a mistake, but a wait turns a short overlap, as at a restart, into no failure.
func writerDSN(cfg Config) string {
	return dsn(cfg.Path, url.Values{"mode": {"rw"}, "_pragma": {
		"busy_timeout(5000)",
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"temp_store(MEMORY)",
		fmt.Sprintf("cache_size(%d)", -cfg.CacheBytes>>10),
		fmt.Sprintf("wal_autocheckpoint(%d)", cfg.CheckpointPages),
		fmt.Sprintf("journal_size_limit(%d)", maxLogBytes),
	}})
}

func readerDSN(cfg Config) string {
	return dsn(cfg.Path, url.Values{"mode": {"ro"}, "_pragma": {
		"busy_timeout(5000)", "query_only(1)", "temp_store(MEMORY)", "mmap_size(268435456)",
	}})
}

// dsn escapes the path, so that "?" or "%" in it are no options.
func dsn(path string, options url.Values) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}
	return u.String()
}

// Close implements store.Store. It waits for running views and for everything accepted.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.write.requests)
	s.mu.Unlock()
	s.views.Wait()
	<-s.write.done
	// The writer goes last: the last connection moves the log into the file,
	// which a read-only one cannot.
	return errors.Join(s.closePool(), s.write.close())
}

func (s *Store) closePool() error {
	if s.pool == nil {
		return nil
	}
	return s.pool.Close()
}

// inFile names the file in an error that a person will read.
func inFile(path string, err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok && e.File == "" {
		return e.In(path)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func errClosed() error {
	return assay.Errorf(assay.CodeUnavailable, "the store is closed")
}

// unavailable wraps an error of the engine or the disk.
func unavailable(doing string, err error) *assay.Error {
	return &assay.Error{Code: assay.CodeUnavailable, Msg: fmt.Sprintf("the store could not %s: %v", doing, err), Hint: "retry; look at the disk if it persists", Err: err}
}
