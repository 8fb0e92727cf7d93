//go:build !linux

package main

import (
	"os"
	"syscall"
)

// fdatasync falls back to a whole sync.
func fdatasync(f *os.File) error { return f.Sync() }

// peakRSS is the most memory that an ended process had resident, in bytes; 0 where
// the system does not say. Systems of the BSD family count in bytes.
func peakRSS(p *os.ProcessState) int64 {
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss
	}
	return 0
}
