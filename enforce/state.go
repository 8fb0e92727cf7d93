package enforce

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Limits of a State.
const (
	// MaxReceipts is the number of receipts kept; the oldest are forgotten first.
	MaxReceipts = 256
	// MaxState is the largest stored state, in bytes.
	MaxState = MaxConfig + 4<<20
	// MaxKey is the length of an idempotency key, in bytes.
	MaxKey = 200
)

// State is the durable side of an enforcer: what it was told last, by whom, and
// what it answered. It is a value: Shift and Replace return the successor and
// leave the receiver alone.
type State struct {
	Config     Config          `json:"config"`
	Generation uint64          `json:"generation"` // of the owner of Config
	Dials      map[string]Dial `json:"dials"`      // by route
	// Panels are by route; one whose levers were never moved may have none.
	Panels   map[string]Panel `json:"panels,omitempty"`
	Receipts []Receipt        `json:"receipts,omitempty"`

	conf assay.Digest // of Config
}

// Receipt answers a change. The same key gets the same Receipt again.
type Receipt struct {
	Key        string       `json:"key"`
	Time       time.Time    `json:"time"`
	Version    string       `json:"version,omitempty"` // whose share was set, "" for a whole configuration
	Percent    int          `json:"percent,omitempty"` // its share since then
	Lever      assay.Lever  `json:"lever,omitempty"`   // that was moved, "" for a share
	Scope      string       `json:"scope,omitempty"`
	Value      float64      `json:"value,omitempty"` // where it stands since then
	Changed    bool         `json:"changed"`         // false: it stood as desired already
	Route      string       `json:"route,omitempty"` // "" for a whole configuration
	Generation uint64       `json:"generation"`
	Revision   assay.Digest `json:"revision"` // that became active
	Request    assay.Digest `json:"request"`  // what was asked for, so that a key is not used for two things
}

// Replacement asks for another configuration. Existing routes keep how their
// traffic is divided: only Shift moves it.
type Replacement struct {
	Generation uint64 `json:"generation"`
	Key        string `json:"key"`
	Config     Config `json:"config"`
	// Base is the digest of the configuration that Config was made from, so that
	// nobody's change is lost when two are made at once; "" does not ask.
	Base assay.Digest `json:"base,omitempty"`
}

// NewState is the state of an enforcer that was never told anything but c.
func NewState(c Config) (State, error) {
	if err := c.Check(); err != nil {
		return State{}, err
	}
	s := State{Config: c, Dials: map[string]Dial{}}
	for _, r := range c.Routes {
		s.Dials[r.Name] = r.dial()
	}
	return s, s.seal()
}

// ParseState reads a stored state, strictly.
func ParseState(data []byte) (State, error) {
	if len(data) > MaxState {
		return State{}, assay.Errorf(assay.CodeTooLarge, "state has %d bytes; the limit is %d", len(data), MaxState)
	}
	var s State
	if err := strict.JSON(data, &s); err != nil {
		return State{}, err
	}
	if err := s.Config.Check(); err != nil {
		return State{}, err
	}
	if len(s.Receipts) > MaxReceipts {
		return State{}, tooMany("receipts", len(s.Receipts), MaxReceipts)
	}
	if len(s.Dials) != len(s.Config.Routes) {
		return State{}, at("dials", "are %d; expected one for each of %d routes", len(s.Dials), len(s.Config.Routes))
	}
	for _, r := range s.Config.Routes {
		if err := s.Dials[r.Name].fits(r); err != nil {
			return State{}, err
		}
		if err := s.Panels[r.Name].fits(r.Name, r.Levers); err != nil {
			return State{}, err
		}
	}
	for name := range s.Panels {
		if _, known := s.Dials[name]; !known {
			return State{}, at("panels", "name a route %q that is not there", clip(name))
		}
	}
	return s, s.seal()
}

// fits checks that d divides the traffic of r.
func (d Dial) fits(r Route) error {
	sum := 0
	for i, sh := range d.Shares {
		if i >= len(r.Versions) || sh.Version != r.Versions[i].Name || sh.Percent < 0 || sh.Percent > 100 {
			return at("dials."+r.Name, "does not fit the versions of the route")
		}
		sum += sh.Percent
	}
	if sum != 100 || len(d.Shares) != len(r.Versions) {
		return at("dials."+r.Name, "divides %d percent among %d of %d versions", sum, len(d.Shares), len(r.Versions))
	}
	return nil
}

func (r Route) dial() (d Dial) {
	for _, v := range r.Versions {
		d.Shares = append(d.Shares, Share{v.Name, v.Weight})
	}
	return d
}

func (s *State) seal() error {
	data, err := json.Marshal(s.Config)
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "configuration cannot be written: %w", err)
	}
	s.conf = assay.DigestOf(sha256.Sum256(data))
	return nil
}

// Revision identifies the configuration and how traffic is divided.
func (s State) Revision() assay.Digest {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", s.conf)
	for _, name := range slices.Sorted(maps.Keys(s.Dials)) {
		fmt.Fprintf(h, "%q %v\n", name, s.Dials[name].Shares)
		for _, x := range s.Panels[name].Stands {
			fmt.Fprintf(h, "%q %q %q %v\n", name, x.Lever, x.Scope, x.Value)
		}
	}
	return assay.DigestOf([32]byte(h.Sum(nil)))
}

// Shift moves traffic of one route; Dial.Next says how and what it refuses. A
// key that was answered before gets its first receipt (replayed is true) and
// changes nothing; a key used for something else is assay.CodeConflict.
func (s State) Shift(sh Shift, now time.Time) (next State, r Receipt, replayed bool, err error) {
	// The generation is left out: a new owner that repeats the old one's step gets its answer.
	request := digestOf("shift %q %q %d %d", sh.Route, sh.Version, sh.From, sh.Weight)
	if r, replayed, err = s.answered(sh.Key, request); replayed || err != nil {
		return s, r, replayed, err
	}
	dial, known := s.Dials[sh.Route]
	if !known {
		return s, r, false, assay.Errorf(assay.CodeNotFound, "there is no route %q", clip(sh.Route))
	}
	dial, changed, err := dial.Next(sh)
	if err != nil {
		return s, r, false, err
	}
	next = s
	next.Dials = maps.Clone(s.Dials)
	next.Dials[sh.Route] = dial
	r = Receipt{
		Key: sh.Key, Time: now.UTC(), Version: sh.Version, Percent: sh.Weight, Changed: changed,
		Route: sh.Route, Generation: sh.Generation, Revision: next.Revision(), Request: request,
	}
	next.Receipts = remember(s.Receipts, r)
	return next, r, false, nil
}

// Replace takes another configuration, under the same rules of generation and
// key. A version that has traffic cannot be dropped; a whole
// route can.
func (s State) Replace(c Replacement, now time.Time) (next State, r Receipt, replayed bool, err error) {
	if next, err = NewState(c.Config); err != nil {
		return s, r, false, err
	}
	request := digestOf("replace %s", next.conf)
	if r, replayed, err = s.answered(c.Key, request); replayed || err != nil {
		return s, r, replayed, err
	}
	switch {
	case c.Generation == 0:
		return s, r, false, at("generation", "is missing; it counts the owners of this enforcer from 1")
	case c.Generation < s.Generation:
		return s, r, false, assay.Errorf(assay.CodeConflict, "generation %d is older than %d, which owns the configuration now", c.Generation, s.Generation)
	case c.Base != "" && c.Base != s.conf:
		e := assay.Errorf(assay.CodeConflict, "the configuration was changed meanwhile: it is not %s any more", c.Base.Short())
		e.Hint = "read it again and make the change anew"
		return s, r, false, e
	}
	for name, fresh := range next.Dials {
		old, known := s.Dials[name]
		if !known {
			continue
		}
		dial, err := old.over(fresh)
		if err != nil {
			return s, r, false, assay.Errorf(assay.CodeConflict, "route %s: %w", name, err)
		}
		next.Dials[name] = dial
	}
	for _, r := range next.Config.Routes {
		if p, moved := s.Panels[r.Name]; moved {
			if next.Panels == nil {
				next.Panels = map[string]Panel{}
			}
			next.Panels[r.Name] = p.over(r.Levers)
		}
	}
	next.Generation = c.Generation
	r = Receipt{
		Key: c.Key, Time: now.UTC(), Changed: next.Revision() != s.Revision(),
		Generation: c.Generation, Revision: next.Revision(), Request: request,
	}
	next.Receipts = remember(s.Receipts, r)
	return next, r, false, nil
}

// over lays how d divides traffic over the versions of a new route.
func (d Dial) over(fresh Dial) (Dial, error) {
	out := Dial{Generation: d.Generation, Fallback: d.Fallback}
	for _, sh := range fresh.Shares {
		sh.Percent, _ = d.Percent(sh.Version)
		out.Shares = append(out.Shares, sh)
	}
	for _, sh := range d.Shares {
		if _, kept := fresh.Percent(sh.Version); !kept && sh.Percent > 0 {
			return d, fmt.Errorf("version %s has %d %% of the traffic and would be dropped", sh.Version, sh.Percent)
		}
	}
	return out, nil
}

// answered finds the receipt of a key.
func (s State) answered(key string, request assay.Digest) (Receipt, bool, error) {
	if key == "" || len(key) > MaxKey || strict.HasControl(key) {
		return Receipt{}, false, at("key", "is missing or not a text of at most %d bytes", MaxKey)
	}
	for _, r := range s.Receipts {
		switch {
		case r.Key == key && r.Request == request:
			return r, true, nil
		case r.Key == key:
			e := assay.Errorf(assay.CodeConflict, "key %q was used for another change at %s", clip(key), r.Time.Format(time.RFC3339))
			e.Hint = "use one key for one change"
			return Receipt{}, false, e
		}
	}
	return Receipt{}, false, nil
}

func remember(old []Receipt, r Receipt) []Receipt {
	old = old[max(0, len(old)-MaxReceipts+1):]
	return append(slices.Clone(old), r)
}

func digestOf(format string, args ...any) assay.Digest {
	return assay.DigestOf(sha256.Sum256(fmt.Appendf(nil, format, args...)))
}
