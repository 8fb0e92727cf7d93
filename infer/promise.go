package infer

import (
	"math"

	"assay.dev/assay"
)

// Promise is what a law or a model expected of an action in the judged window, as it was
// recorded before the action was taken.
type Promise struct {
	// Gone is the share of what there is that goes away, in the mean of the judged steps; above
	// 1 it counts as 1, because nothing takes away more than there is.
	Gone float64 `json:"gone"`
	// Own is what the action adds itself, in the series' unit: requests that it refuses.
	Own float64 `json:"own,omitempty"`
}

func (p Promise) check() error {
	if !(math.Abs(p.Gone) <= 1e6 && p.Own >= 0 && p.Own <= 1e150) {
		return assay.Errorf(assay.CodeInvalid, "an action was promised to take the share %v away and to add %v, want numbers", p.Gone, p.Own)
	}
	return nil
}

// of is by how much less it is promised to be than a level; negative if its own part is more.
func (p Promise) of(level float64) float64 { return min(p.Gone, 1)*max(level, 0) - p.Own }

// halved are steps of which half of what is promised of each has gone away.
func halved(y []float64, p Promise) []float64 {
	out := make([]float64, len(y))
	for i, v := range y {
		out[i] = v - p.of(v)/2
	}
	return out
}

// promised is what was promised of what would have been, and at most of what there was when
// it was promised; 0 if that does not matter.
func (a Aftermath) promised(would, before float64) float64 {
	if v := a.Promise.of(min(would, before)); a.Promise.Gone > 0 && v > a.Material {
		return v
	}
	return 0
}

// futile reports whether an action that showed no effect did less than half of what was
// promised of it: the most that it can have taken away, by the 95 % interval, is less than
// that. Of actions that do exactly half, 2.5 % are called so at most, and of those that do
// more, fewer. That nothing at all happened cannot be shown of anything that varies; that it
// was not worth being chosen can. It is one of the two one-sided tests of Schuirmann (1987,
// J. Pharmacokinet. Biopharm. 15:657) against a margin that was fixed before anything was seen,
// as in judging a trial futile (Snapinn et al. 2006, Pharm. Stat. 5:273). Half is the margin
// that trials of non-inferiority customarily keep of an effect that was relied on (FDA 2016,
// Non-Inferiority Clinical Trials, IV.B). The other side, harm, is the placebos' to say.
//
// What would have been is in both sides of the comparison: the more there would have been,
// the more the action took away, and the more it had promised. The first grows faster, so
// the greatest that it may have been decides, as in Fieller's interval of a ratio.
//
// Of a level that the past does not know, the past cannot say how it varies: its intervals hold
// the excursion's own beginning, and nearly everything. There the excursion's steps are asked:
// what there would have been is at most the greatest of them, and what it would have grown by,
// and the judged ones must be more than those less half of what was promised of each, by the
// exact distribution of Mann and Whitney's U. Of one that was still growing nobody can say.
func (out *Attribution) futile(a Aftermath, target around, same kindred) bool {
	if out.Promised == 0 || same.half > attributable || same.grew {
		return false
	}
	less := -out.Low // at most
	if out.Unseen {
		less += a.growth(target)
	}
	if own := same.most - target.after + a.growth(target); own < less {
		less = own
	}
	return less < a.promised(out.After+less, out.Before)/2
}

// growth is by how much more there would have been, had it gone on growing as it did before
// the action: of what was never seen nobody knows that it stays.
func (a Aftermath) growth(w around) float64 {
	window, recent := float64(a.Window), float64(a.recent())
	if window <= recent {
		return 0
	}
	return max(0, w.last-w.before) * (2*float64(a.Dead) + window + recent) / (window - recent)
}
