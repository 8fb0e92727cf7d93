package posix_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// A child can hurt itself: it asks the kernel to stop each of its system calls of
// some kinds until a thread of its own has decided about it (seccomp user
// notification). That thread counts the calls of the whole process, whichever
// thread makes them, and kills the process at the n-th, before it takes effect, or
// lets it fail. Fault injection by strace counts each thread's and each kind's
// calls apart: as goroutines move between threads, it can neither number all calls
// nor reach each of them.

// Kinds of calls that a fault can hit.
const (
	syncCalls  = "sync"  // fsync, fdatasync, rename and link: where something becomes durable or visible
	writeCalls = "write" // write and pwrite into files
	openCalls  = "open"  // openat that may create a file
)

// fault says what happens to a process.
type fault struct {
	calls string        // one of the kinds above; "" means none, nothing is counted
	at    int64         // from which call on, from 1
	times int64         // to how many calls in a row
	errno syscall.Errno // they fail with it; 0 kills the process
	delay time.Duration // they only take so much longer, if it is not 0
	root  string        // calls on files elsewhere are not counted
	site  string        // others than "call path" are not counted; "" counts all
}

func (f fault) String() string {
	return fmt.Sprintf("%s %d %d %d %d %s %s", f.calls, f.at, f.times, int(f.errno), f.delay, f.root, f.site)
}

func parseFault(s string) (f fault, err error) {
	var errno int
	words := strings.SplitN(s, " ", 7)
	_, err = fmt.Sscan(s, &f.calls, &f.at, &f.times, &errno, (*int64)(&f.delay), &f.root)
	f.errno, f.site = syscall.Errno(errno), words[len(words)-1]
	return f, err
}

// From linux/seccomp.h, linux/filter.h and the tables of system calls.
const (
	prSetNoNewPrivs   = 38
	setModeFilter     = 1
	filterFlags       = 1 | 8 | 16 // all threads, with a listener, errors by errno
	notifReceive      = 0xc0502100
	notifSend         = 0xc0182101
	notifContinue     = 1
	returnNotify      = 0x7fc00000
	returnAllow       = 0x7fff0000
	loadWord          = 0x20
	jumpIfEqual       = 0x15
	jumpIfSet         = 0x45
	returnValue       = 0x06
	offsetNumber      = 0
	offsetFirstArg    = 16
	offsetThirdArg    = 32
	linkatOnArm64     = 37
	renameOnAmd64     = 82
	linkOnAmd64       = 86
	seccompOnAmd64    = 317
	seccompOnArm64    = 277
	renameat2OnAmd64  = 316
	renameat2OnArm64  = 276
	maxDescriptorName = 4096
)

type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type response struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// injector decides about calls.
type injector struct {
	fault
	listener uintptr
	names    map[int32]string
	mem      *os.File // the process's own memory, to read paths
	count    int64    // of calls that could have been hit

	mu   sync.Mutex
	seen map[string]int64 // calls by site
}

// inject arms f for the rest of the process's life. It returns which calls were seen so far, by site.
func inject(f fault) (seen func() map[string]int64, err error) {
	in := &injector{fault: f, names: callsOf(f.calls), seen: map[string]int64{}}
	if in.mem, err = os.Open("/proc/self/mem"); err != nil {
		return nil, err
	}
	armed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := in.arm()
		armed <- err
		if err == nil {
			in.decide()
		}
	}()
	return in.sites, <-armed
}

func callsOf(kind string) map[int32]string {
	if kind == writeCalls {
		return map[int32]string{syscall.SYS_WRITE: "write", syscall.SYS_PWRITE64: "pwrite64"}
	}
	if kind == openCalls {
		return map[int32]string{syscall.SYS_OPENAT: "openat"}
	}
	calls := map[int32]string{
		syscall.SYS_FSYNC: "fsync", syscall.SYS_FDATASYNC: "fdatasync",
		syscall.SYS_RENAMEAT: "renameat", syscall.SYS_LINKAT: "linkat",
	}
	if runtime.GOARCH == "amd64" {
		calls[renameOnAmd64], calls[linkOnAmd64], calls[renameat2OnAmd64] = "rename", "link", "renameat2"
	} else {
		calls[renameat2OnArm64] = "renameat2"
	}
	return calls
}

// arm installs the filter in all threads. Writes to the standard streams and to the
// descriptor by which Go wakes its poller pass: the deciding thread makes such
// writes itself. So do opens that only read: the C library makes some when a thread
// is new (its first allocation counts processors), of which Go's scheduler knows
// nothing, and while as many threads wait there as may run Go, nobody decides.
func (in *injector) arm() error {
	var program []instruction
	if in.calls == writeCalls {
		program = append(program, instruction{code: loadWord, k: offsetFirstArg})
		for _, fd := range passing() {
			program = append(program, instruction{jumpIfEqual, 0, 1, fd}, instruction{code: returnValue, k: returnAllow})
		}
	}
	if in.calls == openCalls {
		program = append(program, instruction{code: loadWord, k: offsetThirdArg},
			instruction{jumpIfSet, 1, 0, syscall.O_CREAT}, instruction{code: returnValue, k: returnAllow})
	}
	program = append(program, instruction{code: loadWord, k: offsetNumber})
	for nr := range in.names {
		program = append(program, instruction{jumpIfEqual, 0, 1, uint32(nr)}, instruction{code: returnValue, k: returnNotify})
	}
	program = append(program, instruction{code: returnValue, k: returnAllow})
	header := struct {
		length uint16
		filter *instruction
	}{uint16(len(program)), &program[0]}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	seccomp := uintptr(seccompOnAmd64)
	if runtime.GOARCH == "arm64" {
		seccomp = seccompOnArm64
	}
	fd, _, errno := syscall.RawSyscall(seccomp, setModeFilter, filterFlags, uintptr(unsafe.Pointer(&header)))
	if errno != 0 {
		return errno
	}
	in.listener = fd
	return nil
}

// passing returns the standard streams and the event descriptor of Go's poller,
// which exists from the first pipe on.
func passing() []uint32 {
	fds := []uint32{0, 1, 2}
	r, w, err := os.Pipe()
	if err != nil {
		return fds
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	for fd := uint32(3); fd < 64; fd++ {
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && strings.Contains(to, "eventfd") {
			fds = append(fds, fd)
		}
	}
	return fds
}

// decide answers for each call until the process ends.
func (in *injector) decide() {
	for {
		var n notification
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, in.listener, notifReceive, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // the call was interrupted by a signal and comes again
		}
		r := response{id: n.id, flags: notifContinue}
		if path, ok := strings.CutPrefix(in.path(&n)+"/", in.root+"/"); ok {
			if site := in.names[n.nr] + " " + place(path); in.hits(site) {
				fmt.Fprintf(os.Stderr, "%s%s\n", faultPrefix, site)
				if in.delay > 0 {
					time.AfterFunc(in.delay, func() { in.answer(r) })
					continue
				}
				if in.errno == 0 {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
				r = response{id: n.id, errno: -int32(in.errno)}
			}
		}
		in.answer(r)
	}
}

func (in *injector) answer(r response) {
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, in.listener, notifSend, uintptr(unsafe.Pointer(&r)))
}

// hits counts a call and reports whether the fault hits it.
func (in *injector) hits(site string) bool {
	in.mu.Lock()
	in.seen[site]++
	in.mu.Unlock()
	if in.site != "" && in.site != site {
		return false
	}
	in.count++
	return in.at > 0 && in.count >= in.at && in.count < in.at+in.times
}

func (in *injector) sites() map[string]int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return maps.Clone(in.seen)
}

// faultPrefix begins the line on standard error that says which call was hit.
const faultPrefix = "fault at "

// path names the file that a call is about: of a rename or link the new name.
func (in *injector) path(n *notification) string {
	switch in.names[n.nr] {
	case "renameat", "renameat2", "linkat":
		return in.join(n.args[2], n.args[3])
	case "openat":
		return in.join(n.args[0], n.args[1])
	case "rename", "link":
		return in.text(n.args[1])
	}
	return descriptorPath(n.args[0])
}

func (in *injector) join(dir, name uint64) string {
	path := in.text(name)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(descriptorPath(dir), path)
}

func descriptorPath(fd uint64) string {
	to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", int32(fd)))
	if err != nil {
		return ""
	}
	return to
}

// text reads a string that ends with a zero byte.
func (in *injector) text(at uint64) string {
	buf := make([]byte, maxDescriptorName)
	n, _ := in.mem.ReadAt(buf, int64(at)) // short at the end of a mapping
	text, _, _ := strings.Cut(string(buf[:n]), "\x00")
	return text
}

var (
	temporary = regexp.MustCompile(`\.tmp-[0-9a-f]+$`)
	blobTemp  = regexp.MustCompile(`^blobs/tmp/.+`)
	blobName  = regexp.MustCompile(`^blobs/sha256/[0-9a-f]{2}(/[0-9a-f]{62})?`)
	tileName  = regexp.MustCompile(`/(x?[0-9]{3}|[0-9]{1,3})(\.p)?\b`)
	randomEnd = regexp.MustCompile(`^(.*[A-Za-z])[0-9]{4,}$`)
)

// place is a path without what differs between runs.
func place(path string) string {
	if path = strings.TrimSuffix(path, "/"); path == "" {
		return "."
	}
	path = temporary.ReplaceAllString(path, ".tmp")
	path = blobTemp.ReplaceAllString(path, "blobs/tmp/XX")
	path = blobName.ReplaceAllString(path, "blobs/sha256/XX")
	path = tileName.ReplaceAllString(path, "/N$2")
	return randomEnd.ReplaceAllString(path, "$1")
}
