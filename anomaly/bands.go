package anomaly

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
	"assay.dev/assay/store"
)

// bucketBands has a page for each objective beside the notebook: what was forecast, so
// that a restart neither forgets the bands that people saw nor leaves the slots until the
// next forecast unjudged. It is state and no fact, is written with the notebook in one
// transaction (every hour, and with what is found), and holds the bands of slotsShown
// slots, two days: at most some 40 kB.
const bucketBands = "anomaly-bands"

// bandsState is such a page.
type bandsState struct {
	Fingerprint string         `json:"fingerprint"` // of what the objective counts
	Zone        string         `json:"zone"`
	Until       int64          `json:"until"` // the open slot when it was written: it fits that notebook alone
	Made        Forecast       `json:"made"`
	Active      *expectedState `json:"active,omitempty"`
	Shadow      *expectedState `json:"shadow,omitempty"`
	First       int64          `json:"first"`  // number of the oldest slot with a band
	Slots       []byte         `json:"slots"`  // how many slots after the first each is, two bytes
	Values      narrow         `json:"values"` // what came in each
	Deciles     narrow         `json:"deciles"`
}

// expectedState is what is kept of what one version expected.
type expectedState struct {
	First   int64 `json:"first"`
	Mean    exact `json:"mean"`
	Deciles exact `json:"deciles"`
	Factor  exact `json:"factor"`
	Rules   exact `json:"rules"`
	Trusted bool  `json:"trusted"`
}

// exact are numbers that are read as they were written, those that are not known included.
type exact []float64

// MarshalJSON implements json.Marshaler.
func (e exact) MarshalJSON() ([]byte, error) {
	raw := make([]byte, 0, 8*len(e))
	for _, v := range e {
		raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(raw))
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *exact) UnmarshalJSON(data []byte) error {
	raw, err := packed(data, 8)
	for ; len(raw) > 0; raw = raw[8:] {
		*e = append(*e, math.Float64frombits(binary.LittleEndian.Uint64(raw)))
	}
	return err
}

// narrow are numbers that people look at; half the size.
type narrow []float32

// MarshalJSON implements json.Marshaler.
func (n narrow) MarshalJSON() ([]byte, error) {
	raw := make([]byte, 0, 4*len(n))
	for _, v := range n {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(raw))
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *narrow) UnmarshalJSON(data []byte) error {
	raw, err := packed(data, 4)
	for ; len(raw) > 0; raw = raw[4:] {
		*n = append(*n, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
	}
	return err
}

// packed are the bytes of numbers of a size.
func packed(data []byte, size int) ([]byte, error) {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(raw)%size != 0 {
		err = assay.Errorf(assay.CodeInvalid, "%d bytes are no numbers of %d", len(raw), size)
	}
	if err != nil {
		return nil, err
	}
	return raw, nil
}

func (w *Watcher) bandsPage(s *service, u *subject) store.Key {
	return store.Key{Namespace: w.cfg.Namespace, Bucket: bucketBands, Name: s.name + "/" + u.id}
}

// bands is the page of an objective.
func (u *subject) bands() bandsState {
	l := u.load
	b := bandsState{
		Fingerprint: u.fingerprint(), Zone: l.zone.String(), Until: l.s.Open, Made: l.made,
		Active: l.active.state(), Shadow: l.shadow.state(), Slots: []byte{}, Values: narrow{}, Deciles: narrow{},
	}
	for _, s := range l.past {
		if len(s.Deciles) != deciles {
			continue
		}
		n := slotNumber(s.Time)
		if len(b.Slots) == 0 {
			b.First = n
		}
		if n-b.First > math.MaxUint16 {
			continue // there was nothing in between for most of a year
		}
		b.Slots = binary.LittleEndian.AppendUint16(b.Slots, uint16(n-b.First))
		b.Values = append(b.Values, float32(s.Value))
		for _, d := range s.Deciles {
			b.Deciles = append(b.Deciles, float32(d))
		}
	}
	return b
}

// resume takes a page that was written with the notebook that u was restored from; false
// if it was not, and then forecasts begin anew.
func (u *subject) resume(b bandsState) bool {
	l, n := u.load, len(b.Values)
	if b.Fingerprint != u.fingerprint() || b.Zone != l.zone.String() || b.Until != l.s.Open || b.Made.Made.IsZero() ||
		n > slotsShown || len(b.Slots) != 2*n || len(b.Deciles) != deciles*n || !b.Active.fits() || !b.Shadow.fits() {
		return false
	}
	l.made, l.active, l.shadow, l.past = b.Made, b.Active.expected(), b.Shadow.expected(), nil
	for i, v := range b.Values {
		s := Slot{Time: slotTime(b.First + int64(binary.LittleEndian.Uint16(b.Slots[2*i:]))), Value: float64(v)}
		for _, d := range b.Deciles[deciles*i : deciles*(i+1)] {
			s.Deciles = append(s.Deciles, float64(d))
		}
		l.past = append(l.past, s)
	}
	return true
}

func (e *expected) state() *expectedState {
	if e == nil {
		return nil
	}
	out := &expectedState{First: e.first, Mean: slices.Clone(e.mean), Factor: slices.Clone(e.factor), Rules: slices.Clone(e.rules), Trusted: e.trusted}
	for _, d := range e.deciles {
		out.Deciles = append(out.Deciles, d[:]...)
	}
	return out
}

// fits reports whether all that is expected is of the same slots.
func (s *expectedState) fits() bool {
	if s == nil {
		return true
	}
	n := len(s.Mean)
	return n <= horizon && len(s.Factor) == n && len(s.Rules) == horizon && len(s.Deciles) == n*len(infer.Deciles{})
}

func (s *expectedState) expected() *expected {
	if s == nil {
		return nil
	}
	e := &expected{first: s.First, mean: s.Mean, factor: s.Factor, rules: s.Rules, trusted: s.Trusted}
	for list := s.Deciles; len(list) > 0; list = list[len(infer.Deciles{}):] {
		e.deciles = append(e.deciles, infer.Deciles(list[:len(infer.Deciles{})]))
	}
	return e
}

func slotNumber(at time.Time) int64 { return at.Unix() / int64(slot/time.Second) }

// seen is a number as it is kept for people: the same before and after a restart.
func seen(v float64) float64 { return float64(float32(v)) }
