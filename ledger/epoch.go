package ledger

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/store"
	"golang.org/x/mod/sumdb/note"
)

// EpochDir is the directory of epoch n below a data directory.
func EpochDir(data string, n int) string {
	return filepath.Join(data, "ledger", "epoch-"+strconv.Itoa(n))
}

// HeadPath is the file beside an epoch's directory that keeps its last signed head,
// so that a directory brought back from a backup is recognised.
func HeadPath(dir string) string { return filepath.Clean(dir) + ".head" }

// LastHead returns the newest head that the key v is known to have signed: the
// one kept in the file at path (see HeadPath) or the one published in the epoch, or
// the zero Checkpoint if there is none. A head that does not verify is
// assay.CodeConflict.
func LastHead(ctx context.Context, r Reader, path string, v note.Verifier) (Checkpoint, error) {
	kept, err := readFile(path, MaxCheckpoint)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, err
	}
	published, err := r.ReadCheckpoint(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, err
	}
	var last Checkpoint
	for _, raw := range [][]byte{kept, published} {
		if len(raw) == 0 {
			continue
		}
		c, err := ParseCheckpoint(raw, v.Name(), v)
		if err != nil {
			e := assay.Errorf(assay.CodeConflict, "the last signed head of this ledger cannot be believed: %w", err)
			e.Hint = "the ledger key or the ledger directory is not the one this ledger was begun with"
			return Checkpoint{}, e.In(path)
		}
		if last.Raw == nil || c.Size > last.Size {
			last = c
		}
	}
	return last, nil
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, path, limit)
}

var epochForm = regexp.MustCompile(`^epoch-(0|[1-9][0-9]{0,8})$`)

// Epochs returns the numbers of the epochs below a data directory, in order. A
// directory without a ledger has none.
func Epochs(data string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(data, "ledger"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[int]bool{}
	for _, e := range entries {
		if m := epochForm.FindStringSubmatch(e.Name()); m != nil && e.IsDir() {
			n, _ := strconv.Atoi(m[1])
			found[n] = true
		}
	}
	var out []int
	for n := range len(found) {
		if !found[n] {
			return nil, assay.Errorf(assay.CodeConflict, "ledger epoch %d is missing between the others", n).In(filepath.Join(data, "ledger"))
		}
		out = append(out, n)
	}
	return out, nil
}

// RestoreConfig says how a new epoch is opened. All fields but Now are mandatory.
type RestoreConfig struct {
	Data   string // data directory
	Outbox store.Outbox
	Salt   []byte
	// Old is the newest epoch that is left, with a checkpoint that is believed: the
	// newest one anybody still has, which may be newer than the one in the directory.
	Old     Epoch
	OldHead Checkpoint
	// OpenAt returns an opener of a new tree in dir whose checkpoints are of origin.
	OpenAt func(dir, origin string) Opener
	Base   string // the ledger's first origin
	Now    func() time.Time
}

// Restore opens the next epoch after store and ledger came to contradict each other
// (one of them is older than the other). The new tree's first leaf commits to the
// old head. Facts that the old tree verifiably holds stay in it; every other
// numbered fact that the store has placed is placed again in the new one, and what
// is not placed yet follows through the Sequencer. Nothing in the old epoch changes.
//
// The epoch is built aside and appears under its name at once, complete. Restore
// must not run beside a Sequencer. It returns the number of the new epoch.
func Restore(ctx context.Context, cfg RestoreConfig) (int, error) {
	if err := checkSalt(cfg.Salt); err != nil {
		return 0, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	start, until, err := restoreRange(ctx, cfg)
	if err != nil {
		return 0, err
	}
	n := cfg.Old.Number + 1
	dir := EpochDir(cfg.Data, n)
	if _, err := os.Stat(dir); err == nil {
		return 0, assay.Errorf(assay.CodeConflict, "ledger epoch %d exists already", n).In(dir)
	}
	tmp := filepath.Join(filepath.Dir(dir), "new-epoch")
	// What an earlier attempt left behind was never visible to anybody.
	if err := errors.Join(os.RemoveAll(tmp), os.RemoveAll(HeadPath(tmp))); err != nil {
		return 0, err
	}
	if err := durable.MkdirAll(tmp, 0o755); err != nil {
		return 0, err
	}
	first := epochLeaf(cfg.OldHead, start, until, cfg.Now().UnixNano())
	if err := first.check(); err != nil {
		return 0, err
	}
	vet := func(context.Context, Tree) error { return nil } // it is empty
	tree, err := cfg.OpenAt(tmp, EpochOrigin(cfg.Base, n))(ctx, vet)
	if err != nil {
		return 0, err
	}
	err = fillEpoch(ctx, cfg, tree, first)
	if err = errors.Join(err, tree.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return 0, err
	}
	// Without this file the epoch's own checkpoint is its last head.
	if err := os.Rename(HeadPath(tmp), HeadPath(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return n, durable.SyncDir(filepath.Dir(dir))
}

// restoreRange finds the first fact that the old tree does not hold as the store
// has it, and the end of those that the store has placed.
func restoreRange(ctx context.Context, cfg RestoreConfig) (start, until uint64, err error) {
	old := &epoch{Epoch: cfg.Old}
	head, err := old.readHead(ctx)
	if err != nil {
		return 0, 0, err
	}
	if cfg.OldHead.Origin != head.Origin || cfg.OldHead.Size < head.Size {
		return 0, 0, assay.Errorf(assay.CodeInvalid, "the old head given (%s, %d leaves) is older than the one in the directory (%s, %d leaves)",
			cfg.OldHead.Origin, cfg.OldHead.Size, head.Origin, head.Size)
	}
	base, err := old.readBase(ctx, head.Size)
	if err != nil {
		return 0, 0, err
	}
	start = base.start
	page := map[uint64]store.Entry{}
	for l, err := range ReadLeaves(ctx, cfg.Old.Reader, base.base, head.Size, head.Size) {
		if err != nil {
			return 0, 0, err
		}
		e, ok := page[start]
		if !ok {
			if page, err = entriesBetween(ctx, cfg.Outbox, start, start+MaxBatch-1); err != nil {
				return 0, 0, err
			}
			e, ok = page[start]
		}
		if !ok || !e.Placed || e.Index != l.Index && start >= base.until {
			break
		}
		want, err := LeafOf(e, cfg.Salt)
		if err != nil || string(want.Marshal()) != string(l.Raw) {
			break
		}
		start++
	}
	for until = start; ; {
		es, err := cfg.Outbox.Entries(ctx, until, MaxBatch)
		if err != nil {
			return 0, 0, err
		}
		for _, e := range es {
			if !e.Numbered || !e.Placed {
				return start, until, nil
			}
			until = e.Seq + 1
		}
		if len(es) == 0 {
			return start, until, nil
		}
	}
}

// fillEpoch appends the first leaf and the facts that are placed again.
func fillEpoch(ctx context.Context, cfg RestoreConfig, tree Tree, first Leaf) error {
	batch, next := [][]byte{first.Marshal()}, uint64(0)
	for seq := first.Seq; ; {
		es, err := cfg.Outbox.Entries(ctx, seq, MaxBatch-1)
		if err != nil {
			return err
		}
		for _, e := range es {
			if e.Seq >= first.Previous.Until {
				break
			}
			l, err := LeafOf(e, cfg.Salt)
			if err != nil {
				return err
			}
			batch, seq = append(batch, l.Marshal()), e.Seq+1
		}
		if len(batch) == 0 {
			return nil
		}
		indices, err := tree.Append(ctx, batch)
		if err != nil {
			return err
		}
		for i, got := range indices {
			if got != next+uint64(i) {
				return assay.Errorf(assay.CodeUnavailable, "the new epoch got a leaf at index %d, expected %d; try again", got, next+uint64(i))
			}
		}
		next += uint64(len(batch))
		batch = nil
	}
}
