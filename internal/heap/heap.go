// Package heap sets the garbage collector of processes that answer requests for long:
// collections are rare while there is memory, and as frequent as is needed where there
// is not.
package heap

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// growth is how much the heap may grow between two collections, in
	// percent of what is in use. While the collector works, everybody who asks waits
	// longer; what a server answers within milliseconds (admission) is asked all the
	// time. At three times the memory in use collections are a third as frequent as by
	// default, rare enough not to show in one answer in a hundred.
	growth = 300
	// share is how much of the memory that the process may use its heap takes
	// before it is collected as often as is needed to stay below, in percent.
	share = 70
)

// Serve sets the collector of this process. GOGC and GOMEMLIMIT, where somebody set
// them, stay in force.
func Serve() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit(os.DirFS("/")))
	}
}

// limit is the soft limit of the heap, in bytes: of what the control group allows,
// or else of what the machine has; none if neither can be read.
func limit(root fs.FS) int64 {
	for _, has := range []func(fs.FS) (int64, bool){groupMemory, machineMemory} {
		if bytes, ok := has(root); ok {
			return bytes / 100 * share
		}
	}
	return math.MaxInt64
}

// groups is where control groups are shown.
const groups = "sys/fs/cgroup"

// groupMemory is what the process's control group may use, or one that it is in, the
// least of them: of a service its own, of a container that at the root, which is all it
// sees. A group without a limit says "max".
func groupMemory(root fs.FS) (least int64, ok bool) {
	at := "/"
	if text, err := fs.ReadFile(root, "proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(text)) {
			if rest, found := strings.CutPrefix(line, "0::"); found { // version 2
				at = path.Clean("/" + strings.TrimSpace(rest))
			}
		}
	}
	for {
		text, err := fs.ReadFile(root, path.Join(groups, at, "memory.max"))
		bytes, perr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && perr == nil && bytes > 0 && (!ok || bytes < least) {
			least, ok = bytes, true
		}
		if at == "/" {
			return least, ok
		}
		at = path.Dir(at)
	}
}

// machineMemory is what the machine has in all.
func machineMemory(root fs.FS) (int64, bool) {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err == nil && kb > 0
		}
	}
	return 0, false
}
