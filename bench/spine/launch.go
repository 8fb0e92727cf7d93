package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// launchWord as the first argument makes the program a launcher: it runs the
// command behind it and prints how that went.
//
// A launcher is needed because Linux counts the memory that a process had before
// it became another program into its peak: started from this program after a
// measure, everything would look as large as this program.
const launchWord = "launch"

// launched is how a command went.
type launched struct {
	Millis float64 // from before its start until its end was seen
	Peak   int64   // resident bytes; never less than the launcher's own
	Exit   int
	Stderr string // its beginning, if the exit code was not 0
}

// launch is the launcher. Its own exit code is 0 if the command could be run.
func launch(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	var stderr clipped
	cmd.Stderr = &stderr
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l := launched{Millis: millis(took), Peak: peakRSS(cmd.ProcessState), Exit: cmd.ProcessState.ExitCode(), Stderr: string(stderr)}
	if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
		return 1
	}
	return 0
}

// clipped keeps the first bytes that are written to it.
type clipped []byte

// Write implements io.Writer.
func (c *clipped) Write(p []byte) (int, error) {
	*c = append(*c, p[:min(len(p), 500-min(len(*c), 500))]...)
	return len(p), nil
}

// command runs a command through the launcher, in a folder, with nothing of this
// process's environment but what a program needs, and wants an exit code.
func command(ctx context.Context, dir string, exit int, args ...string) (launched, error) {
	self, err := os.Executable()
	if err != nil {
		return launched{}, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{launchWord}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "NO_COLOR=1"}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return launched{}, fmt.Errorf("run %s: %w", args[0], err)
	}
	var l launched
	if err := json.Unmarshal(out, &l); err != nil {
		return launched{}, err
	}
	if l.Exit != exit {
		return l, fmt.Errorf("%s ended with %d, expected %d: %s", args[0], l.Exit, exit, l.Stderr)
	}
	return l, nil
}
