// Package halt is the kill switches: files in the state directory that stop every
// automatic action in their scope while they exist.
//
// The mental model is a lever on the wall with a visitors' book beside it. Pulling and
// lifting are file operations that never wait for a database (Switches), and everybody
// who is about to act looks at the files. The book is a folder of journal entries beside
// them. Whoever has the store open (Recorder) turns what stands on the wall and in the
// book into facts, one for each halt and one for each lift, and crosses the entries out
// once they are committed. So an entry is the durable record until the store has it,
// and what was acknowledged is never lost, whenever a process ends.
//
// A switch may also be made and removed by hand, with an editor or rm: that is a halt
// and a lift too, of which nobody says who did it.
package halt

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/store"
	"github.com/google/uuid"
)

// Names below the state directory.
const (
	fileEverywhere = "halt"         // the switch of everything
	folderScopes   = "halts"        // NAMESPACE.halt and NAMESPACE.d/SERVICE.halt, names as in a URL
	folderJournal  = "halt-journal" // what is not a fact yet
	suffixSwitch   = ".halt"
)

const (
	// MaxReason is the longest reason of a halt or a lift, in bytes.
	MaxReason = 900
	// maxFile is how much of a switch or an entry is read.
	maxFile = 8 << 10
	// maxActor is how much of a name is kept.
	maxActor = 200
)

// Unknown is who did what was done by hand.
const Unknown = "unknown"

// Scope is what a switch holds: everything if it is empty, a namespace, or a service of one.
type Scope struct {
	Namespace string `json:"namespace,omitempty"`
	Service   string `json:"service,omitempty"`
}

// String is the scope in words.
func (s Scope) String() string {
	switch {
	case s.Namespace == "":
		return "everywhere"
	case s.Service == "":
		return "namespace " + s.Namespace
	}
	return "service " + s.Service + " of " + s.Namespace
}

// Covers reports whether a switch of this scope holds something of a namespace.
func (s Scope) Covers(namespace string) bool { return s.Namespace == "" || s.Namespace == namespace }

// Pulled is a switch that is pulled. Its id is that of the fact that it becomes.
type Pulled struct {
	ID assay.FactID `json:"id"`
	Scope
	Since    time.Time    `json:"since"`
	By       string       `json:"by"`
	Reason   string       `json:"reason"`
	ByHand   bool         `json:"by_hand,omitempty"`  // the file was not written by assay halt set
	Replaces assay.FactID `json:"replaces,omitempty"` // the halt of the same scope that it took over from
}

// String is why it was pulled, by whom and when.
func (p Pulled) String() string {
	return p.Reason + " (" + p.By + ", " + p.Since.UTC().Format(time.RFC3339) + ")"
}

// Lifted is a switch that was lifted. Its id is that of the fact that it becomes.
type Lifted struct {
	ID     assay.FactID `json:"id"`
	Time   time.Time    `json:"time"`
	By     string       `json:"by"`
	Reason string       `json:"reason,omitempty"`
	Halt   Pulled       `json:"halt"`
}

// Switches are the kill switches of a state directory. Safe for concurrent use, also by
// several processes: every change is one rename.
type Switches struct{ dir string }

// In returns the switches of a state directory.
func In(dir string) Switches { return Switches{dir} }

// Path is the file of a scope.
func (s Switches) Path(c Scope) string {
	switch {
	case c.Namespace == "":
		return filepath.Join(s.dir, fileEverywhere)
	case c.Service == "":
		return filepath.Join(s.dir, folderScopes, url.QueryEscape(c.Namespace)+suffixSwitch)
	}
	return filepath.Join(s.dir, folderScopes, url.QueryEscape(c.Namespace)+".d", url.QueryEscape(c.Service)+suffixSwitch)
}

// Halted are the switches that are pulled for a service, the widest first. It is asked
// before every action and needs the files alone. One that cannot be read is pulled.
func (s Switches) Halted(namespace, service string) (out []decide.Halt) {
	look := func(scope, name string, c Scope) {
		if p, pulled := s.Read(c); pulled {
			out = append(out, decide.Halt{Scope: scope, Name: name, Reason: p.String()})
		}
	}
	look(decide.HaltGlobal, "", Scope{})
	if namespace != "" {
		look(decide.HaltNamespace, namespace, Scope{Namespace: namespace})
	}
	if namespace != "" && service != "" {
		look(decide.HaltService, service, Scope{namespace, service})
	}
	return out
}

// Read reads the switch of a scope; false if it is not pulled.
func (s Switches) Read(c Scope) (Pulled, bool) {
	path := s.Path(c)
	data, changed, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Pulled{}, false
	}
	return decode(c, data, changed, err), true
}

// readFile reads the beginning of a file, and when it was changed last.
func readFile(path string) ([]byte, time.Time, error) {
	f, err := os.Open(path)
	if err != nil {
		info, lerr := os.Lstat(path)
		if lerr != nil {
			return nil, time.Time{}, err
		}
		return nil, info.ModTime(), err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	return data, info.ModTime(), err
}

// decode is a switch as its file says it. What Switches did not write itself, or wrote
// for another scope, was made by hand.
func decode(c Scope, data []byte, changed time.Time, err error) Pulled {
	var p Pulled
	if err == nil && json.Unmarshal(data, &p) == nil && store.CheckID(p.ID) == nil && p.Scope == c && p.By != "" && p.Reason != "" && !p.Since.IsZero() {
		return p
	}
	p = Pulled{Scope: c, Since: changed.UTC(), By: Unknown, ByHand: true, Reason: line(string(data))}
	switch {
	case err != nil:
		p.Reason = "the switch cannot be read: " + line(err.Error())
	case p.Reason == "":
		p.Reason = "no reason is given"
	}
	p.ID = derived(changed, "halt", c.Namespace, c.Service, changed.UTC().Format(time.RFC3339Nano), string(data))
	return p
}

// derived is the id of a fact about something that has none: the same for the same
// thing, so that it is recorded once however often it is seen.
func derived(at time.Time, parts ...string) assay.FactID {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	var id uuid.UUID
	copy(id[:], sum[:])
	ms := max(0, at.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return assay.FactID(id.String())
}

// line makes one line of at most MaxReason bytes of text, with nothing in it that could
// move a cursor.
func line(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > MaxReason {
		text = strings.ToValidUTF8(text[:MaxReason], "")
	}
	return text
}

// List returns the switches that are pulled, the widest first.
func (s Switches) List() ([]Pulled, error) {
	out := []Pulled{}
	if p, ok := s.Read(Scope{}); ok {
		out = append(out, p)
	}
	root := filepath.Join(s.dir, folderScopes)
	var services []Pulled
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		c, ok := s.scopeOf(root, path)
		if !ok {
			return nil
		}
		p, pulled := s.Read(c)
		switch {
		case !pulled: // it was lifted meanwhile
		case c.Service != "":
			services = append(services, p)
		default:
			out = append(out, p)
		}
		if e.IsDir() { // one that cannot be read, and holds
			return fs.SkipDir
		}
		return nil
	})
	return slices.Concat(out, services), err
}

// scopeOf is the scope of a file below the folder of switches, false if it is none.
func (s Switches) scopeOf(root, path string) (c Scope, ok bool) {
	name, ok := strings.CutSuffix(filepath.Base(path), suffixSwitch)
	if !ok || name == "" {
		return c, false
	}
	name, err := url.QueryUnescape(name)
	if err != nil {
		return c, false
	}
	c.Namespace = name
	if folder := filepath.Dir(path); folder != root {
		c.Service = name
		if c.Namespace, err = url.QueryUnescape(strings.TrimSuffix(filepath.Base(folder), ".d")); err != nil {
			return c, false
		}
	}
	return c, s.Path(c) == path // only those that hold something
}
