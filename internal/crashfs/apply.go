package crashfs

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"assay.dev/assay"
)

// Apply replays one event. Calls that failed or never returned have no effect;
// an error names a call whose effect cannot be followed.
func (d *Disk) Apply(e Event) error {
	c := e.Call
	var err error
	if e.Returns {
		if !c.failed() {
			err = d.returned(c)
		}
		delete(d.syncs, c)
	} else {
		err = d.began(c)
	}
	if err != nil {
		return &assay.Error{Code: assay.CodeInvalid, Field: c.Name, Msg: err.Error(), Err: err}
	}
	return nil
}

// began handles what counts from a call's begin: a sync covers no later change,
// and a closed descriptor's number may be given out before close returns.
func (d *Disk) began(c *Call) error {
	switch c.Name {
	case "fsync", "fdatasync":
		f, err := d.file(c, 0)
		if f != nil {
			d.syncs[c] = f.node.mark()
		}
		return err
	case "close":
		fd, _, err := descriptor(arg(c, 0))
		delete(d.files, fd)
		return err
	}
	return nil
}

func (d *Disk) returned(c *Call) error {
	switch c.Name {
	case "open":
		return d.open(c, arg(c, 0), "", arg(c, 1))
	case "creat":
		return d.open(c, arg(c, 0), "", "O_CREAT|O_WRONLY|O_TRUNC")
	case "openat":
		return d.open(c, arg(c, 1), arg(c, 0), arg(c, 2))
	case "openat2":
		return d.open(c, arg(c, 1), arg(c, 0), arg(c, 2)) // the flags stand in a struct: words of the same names
	case "dup", "dup2", "dup3":
		f, err := d.file(c, 0)
		if delete(d.files, int(c.Ret)); f != nil {
			d.files[int(c.Ret)] = f
		}
		return err
	case "write", "pwrite64", "writev", "pwritev", "pwritev2":
		return d.write(c)
	case "lseek":
		f, err := d.file(c, 0)
		if f != nil {
			f.offset = c.Ret
		}
		return err
	case "fsync", "fdatasync":
		f, err := d.file(c, 0)
		if mark, ok := d.syncs[c]; f != nil && ok && !d.IgnoreSync {
			f.node.settle(mark)
		}
		return err
	case "ftruncate":
		f, err := d.file(c, 0)
		if err != nil || f == nil {
			return err
		}
		return d.truncate(f.node, arg(c, 1))
	case "truncate":
		parent, name, ok, err := d.path("", arg(c, 0))
		if err != nil || !ok || d.node(parent, name) == nil {
			return err
		}
		return d.truncate(d.node(parent, name), arg(c, 1))
	case "fallocate":
		return d.fallocate(c)
	case "copy_file_range", "splice":
		return d.refuse(c, 2)
	case "sendfile":
		return d.refuse(c, 0)
	}
	return d.names(c)
}

// names handles the calls that change folders.
func (d *Disk) names(c *Call) error {
	switch c.Name {
	case "rename":
		return d.move("", arg(c, 0), "", arg(c, 1))
	case "renameat":
		return d.move(arg(c, 0), arg(c, 1), arg(c, 2), arg(c, 3))
	case "renameat2":
		if flags := arg(c, 4); flags != "" && flags != "0" && flags != "RENAME_NOREPLACE" {
			return fmt.Errorf("flags %s cannot be followed", flags)
		}
		return d.move(arg(c, 0), arg(c, 1), arg(c, 2), arg(c, 3))
	case "link":
		return d.link("", arg(c, 0), "", arg(c, 1))
	case "linkat":
		return d.link(arg(c, 0), arg(c, 1), arg(c, 2), arg(c, 3))
	case "symlink":
		return d.symlink(arg(c, 0), "", arg(c, 1))
	case "symlinkat":
		return d.symlink(arg(c, 0), arg(c, 1), arg(c, 2))
	case "unlink", "rmdir":
		return d.unlink("", arg(c, 0))
	case "unlinkat":
		return d.unlink(arg(c, 0), arg(c, 1))
	case "mkdir":
		return d.mkdir("", arg(c, 0))
	case "mkdirat":
		return d.mkdir(arg(c, 0), arg(c, 1))
	}
	return nil
}

// open follows an open file. Its flags are read as words, so that it does not
// matter whether they stand in an argument or in a struct.
func (d *Disk) open(c *Call, pathArg, dirArg, flagArg string) error {
	parent, name, ok, err := d.path(dirArg, pathArg)
	if err != nil || !ok {
		return err
	}
	flags := map[string]bool{}
	for _, w := range strings.FieldsFunc(flagArg, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
		flags[w] = true
	}
	if flags["O_TMPFILE"] || flags["__O_TMPFILE"] {
		return fmt.Errorf("O_TMPFILE cannot be followed")
	}
	n := d.node(parent, name)
	if n == nil {
		if !flags["O_CREAT"] && !flags["O_WRONLY"] && !flags["O_RDWR"] {
			// A call that creates the name may be under way in another thread, or was when
			// the process was killed, and be seen already. Who only reads changes nothing;
			// a sync through this descriptor is not believed, which errs on the safe side.
			return nil
		}
		if !flags["O_CREAT"] {
			return fmt.Errorf("opened %s, which the log did not make; was the root filled before? then Load it", name)
		}
		n = &node{}
		parent.rename(change{add: name, node: n})
	}
	if n.target != "" {
		return fmt.Errorf("opened %s through a symbolic link, which cannot be followed", name)
	}
	d.files[int(c.Ret)] = &file{node: n, append: flags["O_APPEND"], sync: flags["O_SYNC"] || flags["O_DSYNC"]}
	if flags["O_TRUNC"] && !n.dir {
		return n.change(change{truncate: true})
	}
	return nil
}

func (d *Disk) write(c *Call) error {
	f, err := d.file(c, 0)
	if err != nil || f == nil {
		return err
	}
	data, err := written(c)
	if err != nil {
		return err
	}
	if int64(len(data)) < c.Ret {
		return fmt.Errorf("%d bytes recorded of %d written", len(data), c.Ret)
	}
	data = data[:c.Ret]
	at := f.offset
	positioned := c.Name[0] == 'p'
	switch {
	case f.append: // Linux appends also where an offset is given
		at = f.node.size
	case positioned:
		if at, err = strconv.ParseInt(arg(c, 3), 10, 64); err != nil {
			return fmt.Errorf("offset %.20q", arg(c, 3))
		}
	}
	if !positioned {
		f.offset = at + c.Ret
	}
	if err := f.node.change(change{offset: at, data: data}); err != nil {
		return err
	}
	if f.sync && !d.IgnoreSync && len(f.node.pending) == 1 {
		// The write promises its own bytes, not what others left unsynced before it.
		f.node.settle(f.node.mark())
	}
	return nil
}

// written returns the bytes that a call of the write family was given.
func written(c *Call) ([]byte, error) {
	if c.Name == "write" || c.Name == "pwrite64" {
		return unquote(arg(c, 1))
	}
	const field = "iov_base="
	var all []byte
	for rest := arg(c, 1); ; {
		i := strings.Index(rest, field)
		if i < 0 {
			return all, nil
		}
		rest = rest[i+len(field):]
		if !strings.HasPrefix(rest, `"`) {
			continue
		}
		end := closingQuote(rest, 0)
		if end < 0 || strings.HasPrefix(rest[end+1:], "...") {
			return nil, fmt.Errorf("strace cut a string short: record with a larger -s")
		}
		part, err := unquote(rest[:end+1])
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		rest = rest[end+1:]
	}
}

func (d *Disk) truncate(n *node, sizeArg string) error {
	size, err := strconv.ParseInt(sizeArg, 10, 64)
	if err != nil {
		return fmt.Errorf("size %.20q", sizeArg)
	}
	return n.change(change{truncate: true, offset: size})
}

// fallocate in its plain form makes a file longer and changes no byte.
func (d *Disk) fallocate(c *Call) error {
	f, err := d.file(c, 0)
	if err != nil || f == nil {
		return err
	}
	off, err1 := strconv.ParseInt(arg(c, 2), 10, 64)
	length, err2 := strconv.ParseInt(arg(c, 3), 10, 64)
	if arg(c, 1) != "0" || err1 != nil || err2 != nil {
		return fmt.Errorf("mode %s cannot be followed", arg(c, 1))
	}
	if off+length <= f.node.size {
		return nil
	}
	return f.node.change(change{truncate: true, offset: off + length})
}

// refuse is for calls that move bytes past the log.
func (d *Disk) refuse(c *Call, target int) error {
	f, err := d.file(c, target)
	if err != nil || f == nil {
		return err
	}
	return fmt.Errorf("writes bytes that the log does not hold")
}

func (d *Disk) move(fromDir, from, toDir, to string) error {
	a, aName, aOK, err := d.path(fromDir, from)
	if err != nil {
		return err
	}
	b, bName, bOK, err := d.path(toDir, to)
	if err != nil || !aOK && !bOK {
		return err
	}
	if aOK != bOK || a == nil || b == nil {
		return fmt.Errorf("moves something across the root")
	}
	n := a.live[aName]
	switch {
	case n == nil:
		return fmt.Errorf("moves %s, which the log did not make", aName)
	case n == b.live[bName]: // two names of one file: POSIX does nothing
	case a == b:
		a.rename(change{remove: aName, add: bName, node: n})
	default:
		b.rename(change{add: bName, node: n})
		a.rename(change{remove: aName})
	}
	return nil
}

func (d *Disk) link(fromDir, from, toDir, to string) error {
	a, aName, aOK, err := d.path(fromDir, from)
	if err != nil {
		return err
	}
	b, bName, bOK, err := d.path(toDir, to)
	if err != nil || !bOK {
		return err
	}
	if !aOK || a == nil || b == nil || a.live[aName] == nil {
		return fmt.Errorf("links something that the log did not make")
	}
	b.rename(change{add: bName, node: a.live[aName]})
	return nil
}

func (d *Disk) symlink(target, dirArg, pathArg string) error {
	parent, name, ok, err := d.path(dirArg, pathArg)
	if err != nil || !ok {
		return err
	}
	to, err := unquote(target)
	if err != nil || parent == nil || len(to) == 0 {
		return fmt.Errorf("makes a link that cannot be followed")
	}
	parent.rename(change{add: name, node: &node{target: string(to)}})
	return nil
}

func (d *Disk) unlink(dirArg, pathArg string) error {
	parent, name, ok, err := d.path(dirArg, pathArg)
	if err != nil || !ok {
		return err
	}
	if parent == nil {
		return fmt.Errorf("removes the root")
	}
	parent.rename(change{remove: name})
	return nil
}

func (d *Disk) mkdir(dirArg, pathArg string) error {
	parent, name, ok, err := d.path(dirArg, pathArg)
	if err != nil || !ok || parent == nil {
		return err
	}
	parent.rename(change{add: name, node: newDir()})
	return nil
}

// path resolves a path argument against a folder argument, "" if the call has
// none. ok is false for what lies outside the root.
func (d *Disk) path(dirArg, pathArg string) (parent *node, name string, ok bool, err error) {
	p, err := unquote(pathArg)
	if err != nil {
		return nil, "", false, err
	}
	path := string(p)
	if !filepath.IsAbs(path) {
		if dirArg == "" {
			return nil, "", false, fmt.Errorf("%.60q is relative to a folder that the log does not name", path)
		}
		_, dir, err := descriptor(dirArg)
		if err != nil {
			return nil, "", false, err
		}
		path = filepath.Join(dir, path)
	}
	return d.find(path)
}

// file returns the open file of a descriptor argument, nil if it is not watched.
func (d *Disk) file(c *Call, i int) (*file, error) {
	fd, _, err := descriptor(arg(c, i))
	return d.files[fd], err
}

func arg(c *Call, i int) string {
	if i < len(c.Args) {
		return c.Args[i]
	}
	return ""
}
