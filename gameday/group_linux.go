package gameday

import (
	"runtime"
	"syscall"
)

// ownGroup makes a child the leader of a process group, which the kernel kills
// when we die, however we die.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// lockThread keeps the calling goroutine on its thread: a parent's death is, to
// the kernel, the death of the thread that started the child.
func lockThread() { runtime.LockOSThread() }
