//go:build unix && !linux

package gameday

import "syscall"

// ownGroup makes a child the leader of a process group. Only Linux ends it with us.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func lockThread() {}
