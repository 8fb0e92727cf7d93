package tsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// commitEvery is after how many samples a block's appender commits: it holds them in memory.
const commitEvery = 100_000

// headStripes is how many parts the series of a block are locked in: one goroutine fills it.
const headStripes = 1 << 8

// run are the points of one series in a window.
type run struct {
	labels labels.Labels
	points []signal.Point
}

// Build implements signal.Staging. It holds one window in memory.
func (s *stage) Build(ctx context.Context, fact assay.FactID, through map[string]int64) (signal.Imported, error) {
	out := signal.Imported{Digest: s.sum(), Through: map[string]int64{}}
	if err := s.room(); err != nil {
		return out, err
	}
	ends := map[string]int64{}
	for name := range s.metrics {
		end, err := s.ownFrom(ctx, name, through)
		if err != nil {
			return out, err
		}
		ends[name] = end
	}
	seen, watched := map[uint64]bool{}, map[string]bool{}
	for _, start := range slices.Sorted(maps.Keys(s.windows)) {
		if err := ctx.Err(); err != nil {
			return out, assay.Errorf(assay.CodeUnavailable, "the import was given up by its caller: %w", err)
		}
		runs, err := s.window(ctx, start, ends, through, &out)
		if err != nil {
			return out, err
		}
		if len(runs) == 0 {
			continue
		}
		for _, r := range runs {
			seen[r.labels.Hash()] = true
			s.tally(r, &out)
			for _, id := range s.watch.Touched(s.namespace, []signal.Sample{{Labels: r.labels}}) {
				watched[id] = true
			}
		}
		if err := s.block(ctx, start, runs); err != nil {
			return out, err
		}
		if err := os.Remove(s.spoolFile(start)); err != nil {
			return out, assay.Errorf(assay.CodeUnavailable, "the spool cannot be removed: %w", err)
		}
	}
	out.Series, out.Accepted, out.Watched = len(seen), out.Samples, slices.Sorted(maps.Keys(watched))
	return out, s.note(fact)
}

// tally counts the new points of a series.
func (s *stage) tally(r run, out *signal.Imported) {
	first, last := r.points[0].Time, r.points[len(r.points)-1].Time
	name := r.labels.Get(model.MetricNameLabel)
	out.Samples += len(r.points)
	out.Through[name] = max(out.Through[name], last)
	if at := time.UnixMilli(first).UTC(); out.Oldest.IsZero() || at.Before(out.Oldest) {
		out.Oldest = at
	}
	if at := time.UnixMilli(last).UTC(); at.After(out.Newest) {
		out.Newest = at
	}
}

// window are the new points of a window, by the labels of their series.
func (s *stage) window(ctx context.Context, start int64, ends, through map[string]int64, out *signal.Imported) ([]run, error) {
	came := map[string]*run{}
	var key []byte
	err := s.spooled(start, func(x signal.Sample) {
		if name := x.Labels.Get(model.MetricNameLabel); x.Time >= ends[name] {
			out.Refuse(signal.RefusedMeasured, 1, fmt.Sprintf("%s is measured here since %s; history ends before that", name, time.UnixMilli(ends[name]).Add(signal.Lookback).UTC().Format(time.RFC3339)))
			return
		}
		key = x.Labels.Bytes(key)
		r := came[string(key)]
		if r == nil {
			r = &run{labels: x.Labels}
			came[string(key)] = r
		}
		r.points = append(r.points, signal.Point{Time: x.Time, Value: x.Value})
	})
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "the spool of the import cannot be read: %w", err)
	}
	standing, err := s.standing(ctx, start, through, came)
	if err != nil {
		return nil, err
	}
	var runs []run
	for k, r := range came {
		f := fit(standing[k], r.points)
		out.Duplicates += f.duplicates
		out.Refuse(signal.RefusedConflict, f.conflicts, "another value is stored for this time: "+r.labels.String())
		out.Refuse(signal.RefusedCovered, f.covered, "an earlier import brought this series for this time: "+r.labels.String())
		if len(f.kept) > 0 {
			runs = append(runs, run{r.labels, f.kept})
		}
	}
	slices.SortFunc(runs, func(a, b run) int { return labels.Compare(a.labels, b.labels) })
	return runs, nil
}

// standing are the points that earlier imports brought of the series that came, from a
// look-back before the window to one after it.
func (s *stage) standing(ctx context.Context, start int64, through map[string]int64, came map[string]*run) (map[string][]signal.Point, error) {
	back := signal.Lookback.Milliseconds()
	names := map[string]bool{}
	for _, r := range came {
		if name := r.labels.Get(model.MetricNameLabel); through[name] >= start-back {
			names[name] = true
		}
	}
	out := map[string][]signal.Point{}
	n := 0
	for name := range names {
		err := s.each(ctx, name, start-back, start+window+back, func(ls labels.Labels, it chunkenc.Iterator) error {
			k := string(ls.Bytes(nil))
			if came[k] == nil {
				return nil
			}
			for kind := it.Next(); kind == chunkenc.ValFloat; kind = it.Next() {
				t, v := it.At()
				if out[k] = append(out[k], signal.Point{Time: t, Value: v}); n > 2*signal.MaxImportWindow {
					return assay.Errorf(assay.CodeTooLarge, "more than %d samples stand in the %s from %s on already", 2*signal.MaxImportWindow, signal.ImportWindow, time.UnixMilli(start).UTC().Format(time.RFC3339))
				}
				n++
			}
			return it.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ownFrom is where a metric's history ends: before the first sample that was measured
// here. Those up to the newest that an earlier import brought were not.
func (s *stage) ownFrom(ctx context.Context, name string, through map[string]int64) (int64, error) {
	from := s.oldest
	if last, ok := through[name]; ok {
		from = max(from, last+1)
	}
	day := (24 * time.Hour).Milliseconds()
	for now := s.now.Add(signal.MaxAhead).UnixMilli(); from <= now; from += day {
		first := int64(math.MaxInt64)
		err := s.each(ctx, name, from, min(from+day, now+1), func(_ labels.Labels, it chunkenc.Iterator) error {
			if it.Next() != chunkenc.ValNone {
				first = min(first, it.AtT())
			}
			return it.Err()
		})
		if err != nil {
			return 0, err
		}
		if first < math.MaxInt64 {
			return min(signal.OwnFrom(first), s.newest), nil
		}
	}
	return s.newest, nil
}

// each hands out the series of a metric with samples from a time to before another, Unix
// milliseconds.
func (s *stage) each(ctx context.Context, name string, from, to int64, take func(labels.Labels, chunkenc.Iterator) error) (err error) {
	querier, err := s.d.db.Querier(from, to-1)
	if err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the series database cannot be read: %w", err)
	}
	defer func() { err = errors.Join(err, querier.Close()) }()
	set := querier.Select(ctx, false, nil,
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name), labels.MustNewMatcher(labels.MatchEqual, signal.NamespaceLabel, s.namespace))
	var it chunkenc.Iterator
	for set.Next() {
		it = set.At().Iterator(it)
		if err := take(set.At().Labels(), it); err != nil {
			return err
		}
	}
	if err := set.Err(); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the series database cannot be read: %w", err)
	}
	return nil
}

// block writes a window's points as a block of the database. It is marked as made of
// samples out of order: a block in order would tell the database, when it opens, that all
// that its log holds before the block's end stands in blocks.
func (s *stage) block(ctx context.Context, start int64, runs []run) (err error) {
	dir := filepath.Join(s.dir, headDir)
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	opts := tsdb.DefaultHeadOptions()
	opts.ChunkRange = 2 * window // a head takes what is at most half of it older than its newest
	opts.ChunkDirRoot = dir
	opts.StripeSize = headStripes
	opts.ChunkWriteBufferSize = chunks.MinWriteBufferSize
	head, err := tsdb.NewHead(nil, s.d.log, nil, nil, opts, tsdb.NewHeadStats())
	if err != nil {
		return assay.Errorf(assay.CodeUnavailable, "a block cannot be made: %w", err)
	}
	defer func() { err = errors.Join(err, head.Close()) }()
	if err := head.Init(math.MinInt64); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "a block cannot be made: %w", err)
	}
	if err := fill(ctx, head, runs); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "a block cannot be filled: %w", err)
	}
	compactor, err := tsdb.NewLeveledCompactor(ctx, nil, s.d.log, []int64{window}, chunkenc.NewPool(), nil)
	if err != nil {
		return assay.Errorf(assay.CodeUnavailable, "a block cannot be written: %w", err)
	}
	var base tsdb.BlockMeta
	base.Compaction.SetOutOfOrder()
	if _, err := compactor.Write(filepath.Join(s.dir, blocksDir), head, start, start+window, &base); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "a block cannot be written: %w", err)
	}
	return nil
}

// fill appends the points of series to a head.
func fill(ctx context.Context, head *tsdb.Head, runs []run) error {
	app, n := head.AppenderV2(ctx), 0
	for _, r := range runs {
		var ref storage.SeriesRef
		for _, p := range r.points {
			var err error
			if ref, err = app.Append(ref, r.labels, 0, p.Time, p.Value, nil, nil, storage.AOptions{}); err != nil {
				return errors.Join(fmt.Errorf("%s at %d: %w", r.labels, p.Time, err), app.Rollback())
			}
			if n++; n%commitEvery == 0 {
				if err := app.Commit(); err != nil {
					return err
				}
				app, ref = head.AppenderV2(ctx), 0
			}
		}
	}
	return app.Commit()
}
