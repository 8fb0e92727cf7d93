package signal

import (
	"context"
	"fmt"
	"time"

	"assay.dev/assay"
	"github.com/prometheus/prometheus/model/labels"
)

// Limits on an import of history.
const (
	// MaxImportSamples is how many samples one import may hold.
	MaxImportSamples = 100_000_000
	// MaxImportWindow is how many samples of one import may lie within ImportWindow: that
	// many are sorted in memory at once.
	MaxImportWindow = 5_000_000
	// MaxImportSeries is how many series one import may have.
	MaxImportSeries = MaxSeriesPerSource
	// MaxImportMetrics is how many names of metrics one import may have.
	MaxImportMetrics = 1000
	// MaxImportBytes is what one import may take of the disk before it is finished, bytes.
	MaxImportBytes = 2 << 30
	// MinImportFree is what an import leaves free on the disk, bytes.
	MinImportFree = 1 << 30
	// ImportWindow is the span of one block of history.
	ImportWindow = 2 * time.Hour
	// MaxImportIdle is how long an import may wait for its next piece. Then another may begin.
	MaxImportIdle = 10 * time.Minute
)

// The reasons that only imports have.
const (
	RefusedMeasured Reason = "measured" // Assay measured the metric itself from there on
	RefusedRecent   Reason = "recent"   // it may still come by the other roads
	RefusedCovered  Reason = "covered"  // an earlier import brought the series for this time
)

// History hands out what was measured elsewhere, in pieces: a file, or another server.
type History interface {
	// Next returns the next samples, at most MaxSamples, and io.EOF after the last.
	// CodeInvalid for what cannot be understood, CodeUnavailable to begin again later.
	Next(ctx context.Context) ([]Sample, error)
	// Close lets go of the source.
	Close() error
}

// Staging is one import under way: nothing of it can be read by anybody until it is
// published. It is not safe for concurrent use.
type Staging interface {
	// Add takes the samples of a piece that can be imported, see ReadPiece. CodeTooLarge if
	// that exceeds a limit: then the import cannot go on. CodeUnavailable if the disk is full.
	Add(ctx context.Context, piece []byte) (Result, error)
	// Build makes blocks of all that was added and is new, and keeps beside them the fact
	// that will say so. Through is, by metric, the time of the newest sample that earlier
	// imports brought, Unix milliseconds.
	Build(ctx context.Context, fact assay.FactID, through map[string]int64) (Imported, error)
	// Publish makes the blocks readable. It may be repeated.
	Publish(ctx context.Context) error
	// Discard drops what was not published.
	Discard() error
}

// Imported is what an import brings.
type Imported struct {
	Result
	Series  int              // that have new samples
	Samples int              // that are new
	Oldest  time.Time        // of the new samples; zero if there is none
	Newest  time.Time        // of the new samples
	Digest  assay.Digest     // SHA-256 of the pieces as they were added
	Through map[string]int64 // by metric: time of its newest new sample, Unix milliseconds
	Watched []string         // ids of Watch that the new samples touch, sorted
}

// OwnFrom is the time from which on a minute may rest on a sample of that time or later,
// Unix milliseconds. History ends before it: then no reading of a minute that was
// counted without history can change, since a reading looks back by Lookback.
func OwnFrom(first int64) int64 {
	minute := time.Minute.Milliseconds()
	return first - first%minute - Lookback.Milliseconds()
}

// SiftPast keeps the samples that an import may bring: well formed, and not before oldest
// nor from newest on, Unix milliseconds. It writes whose they are into their labels. The
// slice is used again.
func SiftPast(samples []Sample, namespace string, oldest, newest int64, res *Result) []Sample {
	kept := samples[:0]
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, s := range samples {
		at := time.UnixMilli(s.Time).UTC().Format(time.RFC3339)
		switch {
		case s.H != nil || s.FH != nil:
			res.Refuse(RefusedHistogram, 1, fmt.Sprintf("series %s is a native histogram, which history cannot have yet", clip(s.Labels.String())))
			continue
		case s.Time < oldest:
			res.Refuse(RefusedOld, 1, fmt.Sprintf("a sample is dated %s; older than %s nothing is kept", at, time.UnixMilli(oldest).UTC().Format(time.RFC3339)))
			continue
		case s.Time >= newest:
			res.Refuse(RefusedRecent, 1, fmt.Sprintf("a sample is dated %s; what is newer than %s is not history yet", at, time.UnixMilli(newest).UTC().Format(time.RFC3339)))
			continue
		}
		if why, detail := checkLabels(s.Labels); why != "" {
			res.Refuse(why, 1, detail)
			continue
		}
		if why, detail := checkValue(&s); why != "" {
			res.Refuse(why, 1, detail)
			continue
		}
		s.Labels = owned(builder, s.Labels, namespace)
		kept = append(kept, s)
	}
	return kept
}
