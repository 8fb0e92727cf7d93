package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is how Linux counts processor time for programs, on every architecture.
const clockTick = 10 * time.Millisecond

// use is processor time: what was used at one moment, or, by since, how many
// processors were used between two.
type use struct {
	at                   time.Time
	server, self, others float64 // seconds, or processors
}

// readUse reads the processor time that a server, this process and all others used.
func readUse(server int) (use, error) {
	of, err := processTime(strconv.Itoa(server))
	if err != nil {
		return use{}, err
	}
	self, err := processTime("self")
	if err != nil {
		return use{}, err
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return use{}, err
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(first) // cpu user nice system idle iowait irq softirq steal guest guest_nice
	if len(fields) < 9 {
		return use{}, errors.New("/proc/stat has no line of all processors")
	}
	var all float64
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // guests are counted as users already
		ticks, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return use{}, err
		}
		all += ticks * clockTick.Seconds()
	}
	return use{at: time.Now(), server: of, self: self, others: all - of - self}, nil
}

func (u use) since(before use) use {
	took := u.at.Sub(before.at).Seconds()
	return use{at: u.at, server: (u.server - before.server) / took, self: (u.self - before.self) / took, others: (u.others - before.others) / took}
}

// processTime is the processor time of a process, in seconds.
func processTime(pid string) (float64, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; utime and stime are the 12th and 13th behind it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%s/stat has another form", pid)
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) * clockTick.Seconds(), err
}

// residentMB is the memory that a process holds, in megabytes.
func residentMB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, errors.New("/proc has no VmRSS of the process")
}
