package enforce

import (
	"assay.dev/assay"
)

// Share is the part of a route's traffic that a version gets, in percent.
type Share struct {
	Version string `json:"version"`
	Percent int    `json:"percent"`
}

// Shift asks for another division of a route's traffic: Version shall have
// Weight percent. From is what it is believed to have now, and Generation which
// owner asks; a Shift that is wrong about the one or too old in the other
// changes nothing.
type Shift struct {
	Route      string `json:"route,omitempty"` // the control API takes it from the path
	Version    string `json:"version"`
	From       int    `json:"from"`
	Weight     int    `json:"weight"`
	Generation uint64 `json:"generation"`
	Key        string `json:"key"`
}

// Dial is how the traffic of one route is divided, and who may turn it. It is a
// value: Next returns the successor. The zero Dial divides nothing.
type Dial struct {
	Shares     []Share `json:"shares"` // as the route lists its versions; they add up to 100
	Generation uint64  `json:"generation"`
	// Fallback last gave traffic away, and is the first to get it back.
	Fallback string `json:"fallback,omitempty"`
}

// Percent is the share of a version, and whether it exists.
func (d Dial) Percent(version string) (int, bool) {
	for _, s := range d.Shares {
		if s.Version == version {
			return s.Percent, true
		}
	}
	return 0, false
}

// Next applies s. What a version gains, the largest other versions give, the
// largest first; what it loses goes to the largest other that has traffic, or
// to the Fallback when none has. An older generation and a wrong From are
// assay.CodeConflict, an unknown version is assay.CodeNotFound. A Dial that
// stands as desired already is no change, whatever From says.
func (d Dial) Next(s Shift) (next Dial, changed bool, err error) {
	have, known := d.Percent(s.Version)
	switch {
	case s.Weight < 0 || s.Weight > 100:
		return d, false, at("weight", "is %d; expected 0 to 100 percent", s.Weight)
	case s.Generation == 0:
		return d, false, at("generation", "is missing; it counts the owners of a route from 1")
	case !known:
		return d, false, assay.Errorf(assay.CodeNotFound, "there is no version %q behind this route", clip(s.Version))
	case s.Generation < d.Generation:
		e := assay.Errorf(assay.CodeConflict, "generation %d is older than %d, which owns the route now", s.Generation, d.Generation)
		e.Hint = "another owner has taken over; stop acting on this route"
		return d, false, e
	}
	next = Dial{Shares: append([]Share(nil), d.Shares...), Generation: s.Generation, Fallback: d.Fallback}
	if have == s.Weight {
		return next, false, nil
	}
	if have != s.From {
		e := assay.Errorf(assay.CodeConflict, "version %s has %d %% of the traffic, not %d %%", s.Version, have, s.From)
		e.Hint = "read the route again and decide anew"
		return d, false, e
	}
	for i := range next.Shares {
		if next.Shares[i].Version == s.Version {
			next.Shares[i].Percent = s.Weight
		}
	}
	if s.Weight > have {
		next.take(s.Version, s.Weight-have)
		return next, true, nil
	}
	if err := next.give(s.Version, have-s.Weight); err != nil {
		return d, false, err
	}
	return next, true, nil
}

// take takes n percent from the versions other than to.
func (d *Dial) take(to string, n int) {
	for n > 0 {
		i := d.largest(to)
		part := min(n, d.Shares[i].Percent)
		d.Shares[i].Percent -= part
		d.Fallback = d.Shares[i].Version
		n -= part
	}
}

// give hands n percent to one version other than from.
func (d *Dial) give(from string, n int) error {
	i := d.largest(from)
	if i >= 0 && d.Shares[i].Percent == 0 && len(d.Shares) > 2 {
		i = -1
		for k, s := range d.Shares {
			if s.Version == d.Fallback && s.Version != from {
				i = k
			}
		}
	}
	if i < 0 {
		e := assay.Errorf(assay.CodeConflict, "no other version can take the traffic of %s", from)
		e.Hint = "give another version its share first"
		return e
	}
	d.Shares[i].Percent += n
	return nil
}

// largest is the index of the version with most traffic, without one; -1 if there is none.
func (d *Dial) largest(without string) int {
	best := -1
	for i, s := range d.Shares {
		if s.Version != without && (best < 0 || s.Percent > d.Shares[best].Percent) {
			best = i
		}
	}
	return best
}
