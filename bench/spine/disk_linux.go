package main

import (
	"os"
	"syscall"
)

// fdatasync makes the file's data durable, without its times.
func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// peakRSS is the most memory that an ended process had resident, in bytes; Linux
// counts in KiB.
func peakRSS(p *os.ProcessState) int64 {
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss << 10
	}
	return 0
}
