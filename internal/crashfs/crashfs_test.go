package crashfs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/internal/crashfs"
)

// hex writes s as strace -xx does.
func hex(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\x%02x`, s[i])
	}
	return b.String()
}

// script makes a log from short lines, in which 'text' stands for a quoted
// string and {text} for a descriptor's path. Every line is of thread 7 unless
// it begins with a number.
func script(lines string) string {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if line[0] < '0' || line[0] > '9' {
			line = "7 " + line
		}
		for i, part := range strings.Split(line, "'") {
			if i%2 == 1 {
				part = `"` + hex(part) + `"`
			}
			for {
				before, rest, ok := strings.Cut(part, "{/")
				if !ok {
					break
				}
				path, after, _ := strings.Cut(rest, "}")
				part = before + "<" + hex("/"+path) + ">" + after
			}
			out.WriteString(part)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// survivors replays a script below /d and returns "name=content" of what a
// crash at its end leaves; folders end in a slash.
func survivors(t *testing.T, lines string, prepare func(d *crashfs.Disk), keep func() bool) string {
	t.Helper()
	log, err := crashfs.Parse(strings.NewReader(script(lines)))
	if err != nil {
		t.Fatal(err)
	}
	disk := crashfs.NewDisk("/d")
	if prepare != nil {
		prepare(disk)
	}
	for _, e := range log {
		if err := disk.Apply(e); err != nil {
			t.Fatalf("%s: %v", e.Call.Name, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "crash")
	if err := disk.Save(dir, keep); err != nil {
		t.Fatal(err)
	}
	return tree(t, dir)
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			out = append(out, rel+"/")
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			out = append(out, rel+"->"+to)
			return err
		default:
			data, err := os.ReadFile(path)
			out = append(out, rel+"="+strings.ReplaceAll(string(data), "\x00", "0"))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

const openF = "openat(AT_FDCWD{/}, '/d/f', O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3{/d/f}\n"
const syncF = "openat(AT_FDCWD{/}, '/d/f', O_WRONLY|O_CREAT|O_EXCL|O_SYNC|O_CLOEXEC, 0644) = 3{/d/f}\n"
const syncDir = "openat(AT_FDCWD{/}, '/d', O_RDONLY|O_CLOEXEC) = 9{/d}\nfsync(9{/d}) = 0\nclose(9{/d}) = 0\n"

func TestOnlySyncedBytesUnderSyncedNamesSurvive(t *testing.T) {
	for _, c := range []struct{ name, log, want string }{
		{"nothing is synced", openF + "write(3{/d/f}, 'abc', 3) = 3", ""},
		{"only the file is synced", openF + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f}) = 0", ""},
		{"only the folder is synced", openF + "write(3{/d/f}, 'abc', 3) = 3\n" + syncDir, "f="},
		{"both are synced", openF + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f}) = 0\n" + syncDir, "f=abc"},
		{"fdatasync counts", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\nfdatasync(3{/d/f}) = 0", "f=abc"},
		{"a synchronous write needs no sync", syncF + syncDir + "write(3{/d/f}, 'abc', 3) = 3", "f=abc"},
		{"a synchronous write does not sync its file's name", syncF + "write(3{/d/f}, 'abc', 3) = 3", ""},
		{"a synchronous write covers nothing written before it", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\n" +
			"openat(AT_FDCWD{/}, '/d/f', O_WRONLY|O_DSYNC) = 4{/d/f}\npwrite64(4{/d/f}, 'd', 1, 3) = 1", "f="},
		{"a failed sync does not count", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f}) = -1 EIO (Input/output error) (INJECTED)", "f="},
		{"a sync that never returned does not count", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f}) = ?", "f="},
		{"a write after the sync is lost", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f}) = 0\nwrite(3{/d/f}, 'def', 3) = 3", "f=abc"},
		{"a short write counts what was written", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 2\nwrite(3{/d/f}, 'c', 1) = 1\nfsync(3{/d/f}) = 0", "f=abc"},
		{"a positioned write leaves a hole", openF + syncDir + "pwrite64(3{/d/f}, 'x', 1, 3) = 1\nwrite(3{/d/f}, 'a', 1) = 1\nfsync(3{/d/f}) = 0", "f=a00x"},
		{"vectors", openF + syncDir + "writev(3{/d/f}, [{iov_base='ab', iov_len=2}, {iov_base='c', iov_len=1}], 2) = 3\npwritev(3{/d/f}, [{iov_base='XY', iov_len=2}], 1, 1) = 2\nfsync(3{/d/f}) = 0", "f=aXY"},
		{"seek", openF + syncDir + "lseek(3{/d/f}, 2, SEEK_SET) = 2\nwrite(3{/d/f}, 'a', 1) = 1\nfsync(3{/d/f}) = 0", "f=00a"},
		{"truncate is lost without sync", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f}) = 0\nftruncate(3{/d/f}, 1) = 0", "f=abc"},
		{"truncate shrinks and grows", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\nftruncate(3{/d/f}, 1) = 0\nftruncate(3{/d/f}, 2) = 0\nfsync(3{/d/f}) = 0", "f=a0"},
		{"fallocate grows", openF + syncDir + "fallocate(3{/d/f}, 0, 1, 2) = 0\nfsync(3{/d/f}) = 0", "f=000"},
		{"O_TRUNC empties and O_APPEND appends", openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\nclose(3{/d/f}) = 0\n" +
			"openat(AT_FDCWD{/d}, 'f', O_WRONLY|O_CREAT|O_TRUNC|O_APPEND, 0600) = 4{/d/f}\nwrite(4{/d/f}, 'x', 1) = 1\nlseek(4{/d/f}, 0, SEEK_SET) = 0\nwrite(4{/d/f}, 'y', 1) = 1\nfsync(4{/d/f}) = 0", "f=xy"},
		{"a sync through one descriptor covers writes through another", openF + syncDir +
			"openat(AT_FDCWD{/}, '/d/f', O_RDWR) = 4{/d/f}\nwrite(3{/d/f}, 'abc', 3) = 3\nfsync(4{/d/f}) = 0", "f=abc"},
		{"a duplicate shares its offset", openF + syncDir + "dup(3{/d/f}) = 5{/d/f}\nwrite(3{/d/f}, 'a', 1) = 1\nwrite(5{/d/f}, 'b', 1) = 1\nfsync(5{/d/f}) = 0", "f=ab"},
		{"rename is lost without a sync of the folder", openF + "write(3{/d/f}, 'new', 3) = 3\nfsync(3{/d/f}) = 0\n" + syncDir + "rename('/d/f', '/d/g') = 0", "f=new"},
		{"rename", openF + "write(3{/d/f}, 'new', 3) = 3\nfsync(3{/d/f}) = 0\nrenameat2(AT_FDCWD{/d}, 'f', AT_FDCWD{/d}, 'g', RENAME_NOREPLACE) = 0\n" + syncDir, "g=new"},
		{"rename before the sync of the file", openF + "write(3{/d/f}, 'new', 3) = 3\nrename('/d/f', '/d/g') = 0\n" + syncDir + "fsync(3{/d/g}) = 0", "g=new"},
		{"unlink is lost without sync", openF + syncDir + "unlink('/d/f') = 0", "f="},
		{"unlink", openF + syncDir + "unlinkat(AT_FDCWD{/}, '/d/f', 0) = 0\n" + syncDir, ""},
		{"a removed file does not come back under a new file's name", openF + syncDir + "write(3{/d/f}, 'old', 3) = 3\nfsync(3{/d/f}) = 0\nunlink('/d/f') = 0\n" +
			"open('/d/f', O_RDWR|O_CREAT, 0600) = 4{/d/f}\nwrite(3{/d/f} (deleted), 'x', 1) = 1\nfsync(3{/d/f}(deleted)) = 0\n" + syncDir, "f="},
		{"link", openF + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f}) = 0\nlinkat(AT_FDCWD{/}, '/d/f', AT_FDCWD{/}, '/d/g', 0) = 0\nunlink('/d/f') = 0\n" + syncDir, "g=abc"},
		{"symlink", "symlinkat('target', AT_FDCWD{/d}, 's') = 0\n" + syncDir, "s->target"},
		{"a folder needs the sync of its parent", "mkdirat(AT_FDCWD{/}, '/d/sub', 0700) = 0\nopenat(AT_FDCWD{/}, '/d/sub', O_RDONLY|O_DIRECTORY) = 4{/d/sub}\n" +
			"openat(4{/d/sub}, 'f', O_RDWR|O_CREAT, 0600) = 5{/d/sub/f}\nfsync(4{/d/sub}) = 0", ""},
		{"folders", "mkdirat(AT_FDCWD{/}, '/d/sub', 0700) = 0\nopenat(AT_FDCWD{/}, '/d/sub', O_RDONLY|O_DIRECTORY) = 4{/d/sub}\n" +
			"openat(4{/d/sub}, 'f', O_RDWR|O_CREAT, 0600) = 5{/d/sub/f}\nfsync(4{/d/sub}) = 0\n" + syncDir, "sub/ sub/f="},
		{"a move between folders may leave both names", "mkdir('/d/a', 0700) = 0\n" + openF + syncDir + "rename('/d/f', '/d/a/f') = 0\n" +
			"openat(AT_FDCWD{/}, '/d/a', O_RDONLY) = 4{/d/a}\nfsync(4{/d/a}) = 0", "a/ a/f= f="},
		{"what lies outside does not matter", "openat(AT_FDCWD{/}, '/dd/f', O_RDWR|O_CREAT, 0600) = 3{/dd/f}\nwrite(3{/dd/f}, 'x', 1) = 1\nsendfile(3{/dd/f}, 4{/x}, NULL, 9) = 9", ""},
		{"a failed open changes nothing", "openat(AT_FDCWD{/}, '/d/f', O_RDWR|O_CREAT, 0600) = -1 EACCES (Permission denied)\n" + syncDir, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := survivors(t, c.log, nil, nil); got != c.want {
				t.Errorf("survives %q, want %q", got, c.want)
			}
		})
	}
}

func TestASyncCoversWhatReturnedBeforeItBegan(t *testing.T) {
	got := survivors(t, openF+syncDir+`
		7 write(3{/d/f}, 'a', 1) = 1
		8 pwrite64(3{/d/f}, 'b', 1, 1 <unfinished ...>
		7 fsync(3{/d/f} <unfinished ...>
		8 <... pwrite64 resumed>) = 1
		9 +++ exited with 0 +++
		9 --- SIGURG {si_signo=SIGURG} ---
		9 <... futex resumed>) = 0
		7 <... fsync resumed>)               = 0
	`, nil, nil)
	if got != "f=a" {
		t.Errorf("survives %q, want f=a", got)
	}
}

// What a kill cut short may be done all the same. Who goes on in the folder appends behind
// it, and syncs both.
func TestACallThatAKillCutShortMayHaveHappened(t *testing.T) {
	left := t.TempDir()
	for name, text := range map[string]string{"f": "ab", "moved": "synced", "new": "n"} {
		if err := os.WriteFile(filepath.Join(left, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := func(lines string) crashfs.Log {
		l, err := crashfs.Parse(strings.NewReader(script(lines)))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := log(openF + `
		7 openat(AT_FDCWD, '/d/tmp', O_CREAT|O_WRONLY) = 5{/d/tmp}
		7 write(5{/d/tmp}, 'synced', 6) = 6
		7 fsync(5{/d/tmp}) = 0
		7 write(3{/d/f}, 'a', 1) = 1
		7 fsync(3{/d/f}) = 0
		7 openat(AT_FDCWD, '/d', O_RDONLY) = 4{/d}
		7 fsync(4{/d}) = 0
		7 pwrite64(3{/d/f}, 'b', 1, 1 <unfinished ...>
		8 rename('/d/tmp', '/d/moved' <unfinished ...>
		7 +++ killed by SIGKILL +++
	`)
	second := log(`
		7 openat(AT_FDCWD, '/d/f', O_CREAT|O_RDWR) = 3{/d/f}
		7 pwrite64(3{/d/f}, 'c', 1, 2) = 1
		7 fsync(3{/d/f}) = 0
	`)
	for _, c := range []struct {
		adopts bool
		keep   func() bool
		want   string
	}{
		{false, nil, "f=a0c tmp=synced"},
		{true, nil, "f=abc tmp=synced"},
		{true, func() bool { return true }, "f=abc moved=synced new=n"},
	} {
		disk := crashfs.NewDisk("/d")
		apply := func(l crashfs.Log) {
			for _, e := range l {
				if err := disk.Apply(e); err != nil {
					t.Fatalf("%s: %v", e.Call.Name, err)
				}
			}
		}
		apply(first)
		disk.Kill()
		if c.adopts {
			if err := disk.Adopt(left); err != nil {
				t.Fatal(err)
			}
		}
		apply(second)
		dir := filepath.Join(t.TempDir(), "crash")
		if err := disk.Save(dir, c.keep); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, dir); got != c.want {
			t.Errorf("adopts %v: survives %q, want %q", c.adopts, got, c.want)
		}
	}
}

func TestTheEndOfAKilledProgramIsUnderstood(t *testing.T) {
	got := survivors(t, openF+syncDir+`
		7 write(3{/d/f}, 'a', 1) = 1
		8 ???( <detached ...>
		9 ???()                                 = ?
		7 fsync(3{/d/f} <detached ...>
		7 <... fsync resumed> <detached ...>
		7 +++ killed by SIGKILL +++
	`, nil, nil)
	if got != "f=" {
		t.Errorf("survives %q, want f=", got)
	}
}

func TestADescriptorNumberIsReusedBeforeCloseReturns(t *testing.T) {
	got := survivors(t, openF+syncDir+`
		7 close(3{/d/f} <unfinished ...>
		8 openat(AT_FDCWD{/}, '/d/g', O_RDWR|O_CREAT, 0600) = 3{/d/g}
		7 <... close resumed>) = 0
		8 write(3{/d/g}, 'x', 1) = 1
		8 fsync(3{/d/g}) = 0
	`+syncDir, nil, nil)
	if got != "f= g=x" {
		t.Errorf("survives %q, want f= g=x", got)
	}
}

func TestADiskThatIgnoresSyncsKeepsNothing(t *testing.T) {
	for _, log := range []string{
		openF + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f}) = 0\n" + syncDir,
		syncF + "write(3{/d/f}, 'abc', 3) = 3\n" + syncDir,
	} {
		if got := survivors(t, log, func(d *crashfs.Disk) { d.IgnoreSync = true }, nil); got != "" {
			t.Errorf("survives %q, want nothing", got)
		}
	}
}

func TestUnsyncedChangesMaySurviveInPart(t *testing.T) {
	log := openF + syncDir + "write(3{/d/f}, 'a', 1) = 1\nwrite(3{/d/f}, 'b', 1) = 1\nwrite(3{/d/f}, 'c', 1) = 1"
	if got := survivors(t, log, nil, func() bool { return true }); got != "f=abc" {
		t.Errorf("everything kept: %q", got)
	}
	n := 0
	if got := survivors(t, log, nil, func() bool { n++; return n == 2 }); got != "f=0b" {
		t.Errorf("only the second write kept: %q, want f=0b", got)
	}
}

func TestLoadStartsFromARealFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", "f"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := survivors(t, "openat(AT_FDCWD{/}, '/d/sub/f', O_RDWR) = 3{/d/sub/f}\npwrite64(3{/d/sub/f}, 'X', 1, 0) = 1\nfsync(3{/d/sub/f}) = 0\npwrite64(3{/d/sub/f}, 'Y', 1, 1) = 1",
		func(d *crashfs.Disk) {
			if err := d.Load(dir); err != nil {
				t.Fatal(err)
			}
		}, nil)
	if got != "sub/ sub/f=Xld" {
		t.Errorf("survives %q", got)
	}
}

func TestWhatAKilledProgramDidNotSyncIsStillUnsynced(t *testing.T) {
	disk := crashfs.NewDisk("/d")
	replay := func(lines string) {
		t.Helper()
		log, err := crashfs.Parse(strings.NewReader(script(lines)))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range log {
			if err := disk.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		disk.Kill()
	}
	replay(openF + "write(3{/d/f}, 'abc', 3) = 3\nfsync(3{/d/f} <unfinished ...>")
	// Descriptor 3 of the next program is another file.
	replay("write(3{/x}, 'xyz', 3) = 3\nopenat(AT_FDCWD{/}, '/d/f', O_RDWR) = 4{/d/f}\npwrite64(4{/d/f}, 'd', 1, 3) = 1\n" + syncDir)
	for keep, want := range map[bool]string{false: "f=", true: "f=abcd"} {
		dir := filepath.Join(t.TempDir(), "crash")
		if err := disk.Save(dir, func() bool { return keep }); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, dir); got != want {
			t.Errorf("survives %q, want %q", got, want)
		}
	}
}

func TestCallsThatCannotBeFollowedAreErrors(t *testing.T) {
	for _, c := range []struct{ name, log string }{
		{"bytes past the log", openF + "copy_file_range(4{/x}, NULL, 3{/d/f}, NULL, 9, 0) = 9"},
		{"sendfile into the root", openF + "sendfile(3{/d/f}, 4{/x}, NULL, 9) = 9"},
		{"a cut string", openF + "write(3{/d/f}, 'abc'..., 9) = 9"},
		{"an unknown file", "openat(AT_FDCWD{/}, '/d/unknown', O_RDWR) = 3{/d/unknown}"},
		{"an unknown folder", "openat(AT_FDCWD{/}, '/d/unknown/f', O_RDWR|O_CREAT, 0600) = 3{/d/unknown/f}"},
		{"a file without name", "openat(AT_FDCWD{/}, '/d', O_RDWR|O_TMPFILE, 0600) = 3{/d/#1}"},
		{"an exchange", openF + "renameat2(AT_FDCWD{/}, '/d/f', AT_FDCWD{/}, '/d/f', RENAME_EXCHANGE) = 0"},
		{"a move across the root", openF + "rename('/d/f', '/e/f') = 0"},
		{"a hole punched", openF + "fallocate(3{/d/f}, FALLOC_FL_PUNCH_HOLE, 0, 9) = 0"},
		{"a huge file", openF + "ftruncate(3{/d/f}, 99999999999999) = 0"},
	} {
		log, err := crashfs.Parse(strings.NewReader(script(c.log)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		disk := crashfs.NewDisk("/d")
		err = nil
		for _, e := range log {
			if err == nil {
				err = disk.Apply(e)
			}
		}
		if assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v, want %s", c.name, err, assay.CodeInvalid)
		}
	}
}

func TestParseSaysWhereALogIsWrong(t *testing.T) {
	for _, c := range []struct{ log, want string }{
		{"7 fsync(3) = 0\nfsync(3) = 0\n", "line 2, column 1: strace log does not begin with a process id; record it with -f and -o"},
		{"7 nonsense\n", `line 1, column 1: strace log is no complete call: "nonsense"`},
		{"7 write(3, \"ab = 3\n", `line 1, column 1: strace log is no complete call: "write(3, \"ab = 3"`},
		{"7 close(3) = x\n", `line 1, column 1: strace log has the return value "x"`},
	} {
		if _, err := crashfs.Parse(strings.NewReader(c.log)); err == nil || err.Error() != c.want {
			t.Errorf("error %v, want %s", err, c.want)
		}
	}
}

func TestOutputIsSeenWhenTheCallBegins(t *testing.T) {
	log, err := crashfs.Parse(strings.NewReader(script("write(1<pipe:[77]>, 'an id', 5 <unfinished ...>\nwrite(2<pipe:[78]>, 'x', 1) = 1")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range log {
		if text, ok := e.Output(1); ok {
			got = append(got, string(text))
		}
	}
	if len(log) != 3 || strings.Join(got, "|") != "an id" {
		t.Errorf("%d events, output %q", len(log), got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(script(openF + syncDir + "write(3{/d/f}, 'abc', 3) = 3\nrename('/d/f', '/d/g') = 0\nfsync(3{/d/g} <unfinished ...>\n<... fsync resumed>) = 0"))
	f.Add(script("writev(3{/d/f}, [{iov_base='ab', iov_len=2}], 1) = 2\nftruncate(3{/d/f}, -5) = 0"))
	f.Add("7 a(\"\\\n7 a(\\x) = 0x12\n")
	f.Fuzz(func(t *testing.T, text string) {
		log, err := crashfs.Parse(strings.NewReader(text))
		if err != nil {
			if assay.CodeOf(err) == assay.CodeInternal {
				t.Fatalf("error %v has no code", err)
			}
			return
		}
		disk := crashfs.NewDisk("/d")
		for _, e := range log {
			e.Output(1)
			if err := disk.Apply(e); err != nil {
				return
			}
		}
	})
}
