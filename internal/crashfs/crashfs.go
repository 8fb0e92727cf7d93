// Package crashfs answers "what would be on the disk if the power failed now?"
// for a program that really ran.
//
// strace records what the program asked of the kernel (Flags gives the options);
// Parse reads that log; a Disk replays it, call by call, and keeps apart what
// the program wrote from what it made durable. At any point Save writes the
// folder that a crash there leaves behind: only bytes covered by a completed
// fsync or fdatasync of their file, under names covered by a completed fsync of
// their folder. POSIX promises no more than that. Real file systems keep more by
// chance; Save can keep a random part of the rest, too, so that programs that
// lean on the order of unsynced writes are caught as well.
//
//	log, err := crashfs.Parse(trace)
//	disk := crashfs.NewDisk(root)
//	for _, e := range log {
//		if text, ok := e.Output(1); ok { … the program said so before e took effect … }
//		err := disk.Apply(e)
//		err = disk.Save(dir, nil)
//	}
//
// The model is pessimistic where it does not know: a call takes effect when it
// has returned (but see Adopt), a sync covers what returned before it began, a write through
// O_SYNC or O_DSYNC covers itself and nothing that was unsynced before it, mapped
// memory never reaches the disk. It covers one process after the other (see Kill),
// each with any number of threads, which write through write, pwrite and their
// vector forms.
// Calls whose effect it cannot follow, such as copy_file_range into a watched
// folder, are errors, never ignored. Offsets of descriptors on which the program
// also calls read are not followed, because read is not recorded.
package crashfs

import "strings"

// Limits of what Parse and Disk accept.
const (
	MaxLine  = 256 << 20 // bytes of one line of a log
	MaxFile  = 256 << 20 // bytes of one simulated file
	MaxDepth = 64        // folders below the root
)

// syscalls are the calls that Disk follows or refuses. A question mark lets
// strace go on where the machine does not have a call.
var syscalls = []string{
	"?open", "openat", "?openat2", "?creat", "close", "?dup", "?dup2", "dup3",
	"write", "pwrite64", "writev", "pwritev", "?pwritev2", "lseek",
	"fsync", "fdatasync", "ftruncate", "truncate", "fallocate",
	"?rename", "renameat", "?renameat2", "?link", "linkat", "?symlink", "symlinkat",
	"?unlink", "unlinkat", "?mkdir", "mkdirat", "?rmdir",
	"?copy_file_range", "sendfile", "splice",
}

// Flags returns strace's options for a log that Parse reads, written to the
// file logPath. Behind them comes the command to run.
func Flags(logPath string) []string {
	return []string{"-f", "-qq", "-y", "-xx", "-s", "67108864", "-e", "signal=none",
		"-e", "trace=" + strings.Join(syscalls, ","), "-o", logPath, "--"}
}

// Call is one system call of the recorded program.
type Call struct {
	PID  int      // of the thread
	Name string   // for example "pwrite64"
	Args []string // as strace writes them
	Ret  int64    // meaningless unless Done
	Done bool     // it returned; false for the last calls of a killed program
}

// failed reports whether the call had no effect.
func (c *Call) failed() bool { return !c.Done || c.Ret < 0 }

// Event is one end of a call: its begin, or its return.
type Event struct {
	Call    *Call
	Returns bool
}

// Output returns what the call writes to the file descriptor fd, at the event
// that begins it: a reader may have it from then on.
func (e Event) Output(fd int) ([]byte, bool) {
	if e.Returns || e.Call.Name != "write" || len(e.Call.Args) < 2 {
		return nil, false
	}
	got, _, err := descriptor(e.Call.Args[0])
	if err != nil || got != fd {
		return nil, false
	}
	data, err := unquote(e.Call.Args[1])
	return data, err == nil
}

// Log is what a program did, in the order it happened.
type Log []Event
