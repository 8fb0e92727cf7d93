package tsdb

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/signal"
	"golang.org/x/sys/unix"
)

// Names below the folder of the series. What is no ULID is passed over by the database.
const (
	stagePrefix = "import-"
	spoolDir    = "spool"  // a file for each window
	blocksDir   = "blocks" // that are ready to be published
	headDir     = "head"   // of the block that is being made
	factFile    = "fact"   // the namespace and the fact that says that it happened
)

// window is the span of a block, milliseconds.
const window = int64(signal.ImportWindow / time.Millisecond)

// stage is an import under way: what came is spooled by the window that it falls into, so
// that one window after the other can be sorted in memory, whatever the order of the input.
type stage struct {
	d         *DB
	dir       string
	namespace string
	watch     *signal.Watch
	now       time.Time
	oldest    int64 // that is kept, Unix milliseconds
	newest    int64 // that is history, Unix milliseconds; exclusive

	digest  hash.Hash
	series  map[uint64]bool // by the hash of their labels
	metrics map[string]bool
	windows map[int64]int // samples, by the start of the window
	samples int
	bytes   int64
}

// Stage begins an import for a namespace; now is when. Nothing of it is to be seen before
// Publish. Watch may be nil.
func (d *DB) Stage(namespace string, watch *signal.Watch, now time.Time) (signal.Staging, error) {
	dir, err := os.MkdirTemp(d.db.Dir(), stagePrefix)
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "an import cannot begin: %w", err)
	}
	s := &stage{
		d: d, dir: dir, namespace: namespace, watch: watch, now: now,
		oldest: now.Add(-d.retention).UnixMilli(), newest: signal.OwnFrom(now.Add(-signal.MaxBehind).UnixMilli()),
		digest: sha256.New(), series: map[uint64]bool{}, metrics: map[string]bool{}, windows: map[int64]int{},
	}
	for _, name := range []string{spoolDir, blocksDir} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, errors.Join(assay.Errorf(assay.CodeUnavailable, "an import cannot begin: %w", err), s.Discard())
		}
	}
	return s, nil
}

// Add implements signal.Staging.
func (s *stage) Add(_ context.Context, piece []byte) (signal.Result, error) {
	var res signal.Result
	if err := s.room(); err != nil {
		return res, err
	}
	samples, err := signal.UnmarshalWrite(piece, &res)
	if err != nil {
		return res, err
	}
	_, _ = s.digest.Write(piece) // a hash takes everything
	samples = signal.SiftPast(samples, s.namespace, s.oldest, s.newest, &res)
	if err := s.bounded(samples); err != nil {
		return res, err
	}
	slices.SortStableFunc(samples, func(a, b signal.Sample) int { return cmp.Compare(a.Time-a.Time%window, b.Time-b.Time%window) })
	for len(samples) > 0 {
		start := samples[0].Time - samples[0].Time%window
		n := slices.IndexFunc(samples, func(x signal.Sample) bool { return x.Time >= start+window })
		if n < 0 {
			n = len(samples)
		}
		if err := s.spool(start, samples[:n]); err != nil {
			return res, err
		}
		res.Accepted += n
		samples = samples[n:]
	}
	return res, nil
}

// bounded refuses what would exceed a limit of an import.
func (s *stage) bounded(samples []signal.Sample) error {
	for _, x := range samples {
		s.series[x.Labels.Hash()] = true
		s.metrics[x.Labels.Get("__name__")] = true
	}
	tooMany := func(n int, what, hint string) error {
		e := assay.Errorf(assay.CodeTooLarge, "the import has more than %d %s", n, what)
		e.Hint = hint
		return e
	}
	s.samples += len(samples)
	switch {
	case len(s.series) > signal.MaxImportSeries:
		return tooMany(signal.MaxImportSeries, "series", "import fewer at a time: what objectives and strategies ask for")
	case len(s.metrics) > signal.MaxImportMetrics:
		return tooMany(signal.MaxImportMetrics, "metrics", "import fewer at a time: what objectives and strategies ask for")
	case s.samples > signal.MaxImportSamples:
		return tooMany(signal.MaxImportSamples, "samples", "import a shorter span at a time, or fewer points with --step")
	}
	return nil
}

// spool appends the samples of one window to its file.
func (s *stage) spool(start int64, samples []signal.Sample) (err error) {
	if s.windows[start] += len(samples); s.windows[start] > signal.MaxImportWindow {
		e := assay.Errorf(assay.CodeTooLarge, "the import has more than %d samples in the %s from %s on", signal.MaxImportWindow, signal.ImportWindow, time.UnixMilli(start).UTC().Format(time.RFC3339))
		e.Hint = "import fewer series at a time, or fewer points with --step"
		return e
	}
	data, err := signal.MarshalWrite(samples)
	if err != nil {
		return err
	}
	if s.bytes += int64(len(data)) + 4; s.bytes > signal.MaxImportBytes {
		return assay.Errorf(assay.CodeTooLarge, "the import takes more than %d bytes of the disk; import a shorter span at a time", int64(signal.MaxImportBytes))
	}
	f, err := os.OpenFile(s.spoolFile(start), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the import cannot be kept: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the import cannot be kept: %w", err)
	}
	return nil
}

func (s *stage) spoolFile(start int64) string {
	return filepath.Join(s.dir, spoolDir, strconv.FormatInt(start, 10))
}

// spooled are the samples of a window as they came.
func (s *stage) spooled(start int64, take func(signal.Sample)) (err error) {
	f, err := os.Open(s.spoolFile(start))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := bufio.NewReader(f)
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		piece, err := signal.ReadPiece(io.LimitReader(r, int64(binary.BigEndian.Uint32(size[:]))))
		if err != nil {
			return err
		}
		var res signal.Result
		samples, err := signal.UnmarshalWrite(piece, &res)
		if err != nil {
			return err
		}
		for _, x := range samples {
			take(x)
		}
	}
}

// room refuses to fill the disk.
func (s *stage) room() error {
	free, err := s.d.free(s.dir)
	if err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the disk cannot be examined: %w", err)
	}
	// A block takes less than its spool did.
	if want := uint64(signal.MinImportFree + s.bytes); free < want {
		e := assay.Errorf(assay.CodeUnavailable, "the disk of the series has %d MiB left, and this import needs %d MiB of them free", free>>20, want>>20)
		e.Hint = "free some space, or import a shorter span at a time"
		return e
	}
	return nil
}

// freeSpace is what is left on the disk of a folder, bytes.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// Discard implements signal.Staging.
func (s *stage) Discard() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "an import cannot be dropped: %w", err)
	}
	return nil
}

// note keeps which fact says that the import happened.
func (s *stage) note(fact assay.FactID) error {
	return durable.WriteFile(filepath.Join(s.dir, factFile), []byte(s.namespace+" "+string(fact)), 0o600)
}

// Publish implements signal.Staging: the blocks are moved to where the database finds them.
func (s *stage) Publish(ctx context.Context) error {
	blocks, err := os.ReadDir(filepath.Join(s.dir, blocksDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return assay.Errorf(assay.CodeUnavailable, "the imported blocks cannot be read: %w", err)
	}
	for _, b := range blocks {
		if err := os.Rename(filepath.Join(s.dir, blocksDir, b.Name()), filepath.Join(s.d.db.Dir(), b.Name())); err != nil {
			return assay.Errorf(assay.CodeUnavailable, "an imported block cannot be moved to its place: %w", err)
		}
	}
	if err := durable.SyncDir(s.d.db.Dir()); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the imported blocks are not durable: %w", err)
	}
	// It loads the blocks that are there, beside writing late samples of the head to one.
	if err := s.d.db.CompactOOOHead(ctx); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the imported blocks cannot be loaded: %w", err)
	}
	return s.Discard()
}

// Recover ends the imports that another process left: one whose fact was committed is
// published, and any other dropped. The caller calls it before it begins another.
func (d *DB) Recover(ctx context.Context, committed func(namespace string, fact assay.FactID) (bool, error)) error {
	left, err := filepath.Glob(filepath.Join(d.db.Dir(), stagePrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		s := &stage{d: d, dir: dir}
		text, err := os.ReadFile(filepath.Join(dir, factFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return assay.Errorf(assay.CodeUnavailable, "an import that was not finished cannot be read: %w", err)
		}
		namespace, fact, ready := strings.Cut(string(text), " ")
		if ready {
			if ready, err = committed(namespace, assay.FactID(fact)); err != nil {
				return err
			}
		}
		if !ready {
			err = s.Discard()
		} else {
			err = s.Publish(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sum is the digest of the pieces.
func (s *stage) sum() assay.Digest {
	return assay.DigestOf([sha256.Size]byte(s.digest.Sum(nil)))
}
