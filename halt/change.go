package halt

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/store"
)

// Entries of the journal by the ends of their names. A lift is two files: what there is
// to say of it, written before, and the switch itself, moved here. It happened if the
// second is there, so lifting and recording that it was lifted are one rename.
const (
	endPulled  = ".pulled"
	endLifting = ".lifting"
	endLifted  = ".lifted"
)

// Pull pulls a switch. It holds from the moment its file is there, and is durable with
// its record when Pull returns; a process that ends in between leaves a switch that holds.
// Pulling one that is pulled replaces it, and both are recorded. The state directory must
// exist; reason is one line of at most MaxReason bytes.
func (s Switches) Pull(c Scope, by, reason string, now time.Time) (Pulled, error) {
	reason, err := checked(reason)
	if err == nil && reason == "" {
		err = &assay.Error{Code: assay.CodeInvalid, Field: "reason", Msg: "is empty"}
	}
	if err != nil {
		return Pulled{}, err
	}
	p := Pulled{ID: store.NewFactID(), Scope: c, Since: now.UTC(), By: actor(by), Reason: reason}
	was, pulled := s.Read(c)
	if pulled { // it goes on to hold while this is written
		p.Replaces = was.ID
		if err := s.note(string(was.ID)+endPulled, was); err != nil {
			return Pulled{}, err
		}
	}
	data, err := json.Marshal(p)
	if err != nil {
		return Pulled{}, err
	}
	path := s.Path(c)
	if c.Namespace != "" {
		if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return Pulled{}, err
		}
	}
	if err := durable.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return Pulled{}, err
	}
	// The switch is its own record while it stays; this one outlives it.
	return p, s.note(string(p.ID)+endPulled, p)
}

// Lift lifts a switch, durably and with its record when it returns; CodeNotFound if it is
// not pulled. A process that ends before leaves the switch as it was, or lifted and
// recorded. reason may be empty.
func (s Switches) Lift(c Scope, by, reason string, now time.Time) (Lifted, error) {
	reason, err := checked(reason)
	if err != nil {
		return Lifted{}, err
	}
	missing := &assay.Error{Code: assay.CodeNotFound, Msg: "no kill switch is pulled for " + c.String(), Hint: "see those that are with: assay halt list"}
	was, pulled := s.Read(c)
	if !pulled {
		return Lifted{}, missing
	}
	l := Lifted{ID: store.NewFactID(), Time: now.UTC(), By: actor(by), Reason: reason, Halt: was}
	if err := s.note(string(l.ID)+endLifting, l); err != nil {
		return Lifted{}, err
	}
	path, moved := s.Path(c), s.entry(string(l.ID)+endLifted)
	if err := os.Rename(path, moved); err != nil {
		err = errors.Join(err, os.Remove(s.entry(string(l.ID)+endLifting)))
		if errors.Is(err, fs.ErrNotExist) { // somebody was faster
			return Lifted{}, missing
		}
		return Lifted{}, err
	}
	return l, errors.Join(durable.SyncDir(filepath.Dir(moved)), durable.SyncDir(filepath.Dir(path)))
}

// note writes an entry of the journal.
func (s Switches) note(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Join(s.dir, folderJournal), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(s.entry(name), append(data, '\n'), 0o600)
}

func (s Switches) entry(name string) string { return filepath.Join(s.dir, folderJournal, name) }

// checked is a reason as it is kept.
func checked(reason string) (string, error) {
	reason = strings.Join(strings.Fields(reason), " ")
	if len(reason) > MaxReason {
		return "", &assay.Error{Code: assay.CodeTooLarge, Field: "reason", Msg: "is longer than 900 bytes"}
	}
	return line(reason), nil
}

// actor is a name as it is kept.
func actor(by string) string {
	by = line(by)
	if by == "" {
		return Unknown
	}
	return strings.ToValidUTF8(by[:min(len(by), maxActor)], "")
}

// journal reads what is not a fact yet. Entries of lifts that did not happen are left
// out, and those that are no entries as well.
func (s Switches) journal() (j noted, err error) {
	list, err := os.ReadDir(filepath.Join(s.dir, folderJournal))
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return j, err
	}
	for _, e := range list {
		name := e.Name()
		if id, ok := strings.CutSuffix(name, endPulled); ok && store.CheckID(assay.FactID(id)) == nil {
			var p Pulled
			if data, _, err := readFile(s.entry(name)); err == nil && json.Unmarshal(data, &p) == nil && string(p.ID) == id {
				j.pulled = append(j.pulled, p)
			}
		}
		if id, ok := strings.CutSuffix(name, endLifted); ok && store.CheckID(assay.FactID(id)) == nil {
			if l, ok := s.lifted(assay.FactID(id)); ok {
				j.lifted = append(j.lifted, l)
			}
		}
	}
	return j, nil
}

// noted is what stands in the journal.
type noted struct {
	pulled []Pulled
	lifted []Lifted
}

// lifted reads one lift. The switch that was moved is the one that was lifted, also if
// it was replaced after the lift was written down.
func (s Switches) lifted(id assay.FactID) (l Lifted, ok bool) {
	data, _, err := readFile(s.entry(string(id) + endLifting))
	if err != nil || json.Unmarshal(data, &l) != nil || l.ID != id {
		return l, false
	}
	data, changed, err := readFile(s.entry(string(id) + endLifted))
	if errors.Is(err, fs.ErrNotExist) {
		return l, false
	}
	l.Halt = decode(l.Halt.Scope, data, changed, err)
	return l, true
}

// cross removes the entries of what is recorded. What says that a lift happened goes
// before what is said of it: the other way round half an entry would be left.
func (s Switches) cross(j noted) {
	for _, p := range j.pulled {
		_ = os.Remove(s.entry(string(p.ID) + endPulled)) // it is recorded once, however often it is seen
	}
	for _, l := range j.lifted {
		_ = os.RemoveAll(s.entry(string(l.ID) + endLifted))
		_ = os.Remove(s.entry(string(l.ID) + endLifting))
	}
}
