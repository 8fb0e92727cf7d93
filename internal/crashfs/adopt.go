package crashfs

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"assay.dev/assay"
)

// Adopt takes over what the real folder dir holds and the log does not say, as unsynced
// changes. Calls that had not returned when a program was killed may have had their effect
// all the same, and whoever goes on in the folder builds on it: a disk without it would
// lack what a later sync of the same file made durable. Call it after Kill, with a copy of
// the folder that was made before the next program began.
func (d *Disk) Adopt(dir string) error { return d.top.adopt(dir, 0) }

func (n *node) adopt(dir string, depth int) error {
	if depth > MaxDepth {
		return assay.Errorf(assay.CodeTooLarge, "%s is deeper than %d folders", dir, MaxDepth)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	before := maps.Clone(n.live)
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(dir, e.Name())
		child := n.live[name]
		delete(before, name)
		switch {
		case e.IsDir():
			if child == nil || !child.dir {
				child = newDir()
				n.rename(change{add: name, node: child})
			}
			err = child.adopt(path, depth+1)
		case e.Type()&fs.ModeSymlink != 0:
			var target string
			if target, err = os.Readlink(path); err == nil && (child == nil || child.target != target) {
				n.rename(change{add: name, node: &node{target: target}})
			}
		default:
			var data []byte
			if data, err = os.ReadFile(path); err == nil {
				err = n.adoptFile(name, data)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		n.rename(change{remove: name})
	}
	return nil
}

// adoptFile makes a name of the folder a file of these bytes.
func (n *node) adoptFile(name string, data []byte) error {
	child := n.live[name]
	plain := child != nil && !child.dir && child.target == ""
	if plain && bytes.Equal(child.bytes(), data) {
		return nil
	}
	// A file renamed or linked to this name keeps what was synced of it.
	for _, other := range slices.Sorted(maps.Keys(n.live)) {
		if o := n.live[other]; len(data) > 0 && !o.dir && o.target == "" && bytes.Equal(o.bytes(), data) {
			n.rename(change{add: name, node: o})
			return nil
		}
	}
	if !plain {
		child = &node{}
		n.rename(change{add: name, node: child})
	}
	had := child.bytes()
	if len(had) != len(data) {
		if err := child.change(change{truncate: true, offset: int64(len(data))}); err != nil {
			return err
		}
		had = child.bytes()
	}
	from, to := 0, len(data)
	for from < to && had[from] == data[from] {
		from++
	}
	for from < to && had[to-1] == data[to-1] {
		to--
	}
	if from == to {
		return nil
	}
	return child.change(change{offset: int64(from), data: data[from:to]})
}

// bytes are a file's as the program sees them.
func (n *node) bytes() []byte {
	data := slices.Clone(n.durable)
	for _, c := range n.pending {
		data = c.write(data)
	}
	return data
}
