package crashfs

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay.dev/assay"
)

// Disk is a simulated disk below one folder. It is not safe for concurrent use.
type Disk struct {
	// IgnoreSync makes the disk lie: no sync makes anything durable. A test that
	// still passes with it proves nothing.
	IgnoreSync bool

	root  string
	top   *node
	files map[int]*file // open descriptors
	syncs map[*Call]int // what a running sync covers
}

// file is an open descriptor of a watched file or folder.
type file struct {
	node   *node
	offset int64
	append bool
	sync   bool // writes return when their bytes are durable
}

// node is a file or folder, whatever its names.
type node struct {
	dir    bool
	target string // of a symbolic link

	// A file's bytes: durable is what survives, pending what was done since.
	size    int64 // as the program sees it
	durable []byte
	// A folder's names: live as the program sees them, kept what survives.
	live, kept map[string]*node

	pending []change
	settled int // changes that became durable and left pending, ever
}

// change is one thing done to a node and not synced yet.
type change struct {
	truncate bool
	offset   int64 // or the size to truncate to
	data     []byte

	remove string // a name that goes, "" if none
	add    string // a name that comes, "" if none
	node   *node  // what it names
}

func newDir() *node {
	return &node{dir: true, live: map[string]*node{}, kept: map[string]*node{}}
}

// NewDisk returns an empty disk for what the log does below the folder root,
// which is an absolute path without symbolic links and itself durable.
func NewDisk(root string) *Disk {
	return &Disk{root: filepath.Clean(root), top: newDir(), files: map[int]*file{}, syncs: map[*Call]int{}}
}

// Load makes the files of a real folder the durable start of an empty disk, for
// a log that begins with a filled root.
func (d *Disk) Load(dir string) error {
	return d.top.load(dir, 0)
}

func (n *node) load(dir string, depth int) error {
	if depth > MaxDepth {
		return assay.Errorf(assay.CodeTooLarge, "%s is deeper than %d folders", dir, MaxDepth)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		child := &node{}
		switch {
		case e.IsDir():
			child = newDir()
			err = child.load(path, depth+1)
		case e.Type()&fs.ModeSymlink != 0:
			child.target, err = os.Readlink(path)
		default:
			child.durable, err = os.ReadFile(path)
			child.size = int64(len(child.durable))
		}
		if err != nil {
			return err
		}
		n.live[e.Name()], n.kept[e.Name()] = child, child
	}
	return nil
}

// Kill is the end of the program, but not of the machine: its descriptors are
// gone, and what it did not sync is still unsynced. The log of a program that
// goes on in the same folder may follow.
func (d *Disk) Kill() {
	clear(d.files)
	clear(d.syncs)
}

// Save writes what a crash now would leave into dir, which must be empty or
// absent. keep is asked for each change that no sync covers, in order per file
// and folder, whether it reached the disk by chance; nil means none did.
// Changes kept out of order stay in their order among each other.
func (d *Disk) Save(dir string, keep func() bool) error {
	if keep == nil {
		keep = func() bool { return false }
	}
	return d.top.save(dir, keep, 0)
}

func (n *node) save(path string, keep func() bool, depth int) error {
	switch {
	case depth > MaxDepth:
		return assay.Errorf(assay.CodeTooLarge, "the simulated folder is deeper than %d", MaxDepth)
	case n.target != "":
		return os.Symlink(n.target, path)
	case !n.dir:
		data := slices.Clone(n.durable)
		for _, c := range n.pending {
			if keep() {
				data = c.write(data)
			}
		}
		return os.WriteFile(path, data, 0o600)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	names := maps.Clone(n.kept)
	for _, c := range n.pending {
		if keep() {
			c.name(names)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := names[name].save(filepath.Join(path, name), keep, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// write applies a change to a file's bytes.
func (c change) write(data []byte) []byte {
	end := c.offset + int64(len(c.data))
	if c.truncate {
		end = c.offset
		data = data[:min(int64(len(data)), end)]
	}
	if grow := end - int64(len(data)); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	copy(data[min(c.offset, int64(len(data))):], c.data)
	return data
}

// name applies a change to a folder's names.
func (c change) name(names map[string]*node) {
	if c.remove != "" {
		delete(names, c.remove)
	}
	if c.add != "" {
		names[c.add] = c.node
	}
}

// change does c to a file.
func (n *node) change(c change) error {
	end := c.offset + int64(len(c.data))
	if c.offset < 0 || end < c.offset || end > MaxFile {
		return fmt.Errorf("a file grows beyond %d bytes", int64(MaxFile))
	}
	if n.size = max(n.size, end); c.truncate {
		n.size = c.offset
	}
	n.pending = append(n.pending, c)
	return nil
}

// rename does c to a folder, where it is seen at once and durable after a sync.
func (n *node) rename(c change) {
	c.name(n.live)
	n.pending = append(n.pending, c)
}

// mark returns how many changes a sync that begins now covers, ever.
func (n *node) mark() int { return n.settled + len(n.pending) }

// settle makes the first changes durable, up to a mark.
func (n *node) settle(mark int) {
	done := max(0, min(mark-n.settled, len(n.pending)))
	for _, c := range n.pending[:done] {
		if n.dir {
			c.name(n.kept)
		} else {
			n.durable = c.write(n.durable)
		}
	}
	n.pending = n.pending[done:]
	n.settled += done
}

// find returns the folder and last name of an absolute path, ok false if it is
// not below the root. The root itself is (nil, "").
func (d *Disk) find(path string) (parent *node, name string, ok bool, err error) {
	path = filepath.Clean(path)
	if path == d.root {
		return nil, "", true, nil
	}
	rel, ok := strings.CutPrefix(path, strings.TrimSuffix(d.root, "/")+"/")
	if !ok {
		return nil, "", false, nil
	}
	parts := strings.Split(rel, "/")
	if len(parts) > MaxDepth {
		return nil, "", false, fmt.Errorf("%s is deeper than %d folders", path, MaxDepth)
	}
	parent = d.top
	for _, p := range parts[:len(parts)-1] {
		if parent = parent.live[p]; parent == nil || !parent.dir {
			return nil, "", false, fmt.Errorf("%s lies in a folder that the log does not know; was the root filled before? then Load it", path)
		}
	}
	return parent, parts[len(parts)-1], true, nil
}

// node returns what a path names, nil if nothing.
func (d *Disk) node(parent *node, name string) *node {
	if parent == nil {
		return d.top
	}
	return parent.live[name]
}
