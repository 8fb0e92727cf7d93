package gameday

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"assay.dev/assay"
)

// run runs a command to its end; out takes its standard output.
func (w *World) run(ctx context.Context, c command, out io.Writer) error {
	cmd := exec.Command(c.path, c.args...)
	cmd.Env, cmd.Dir, cmd.Stdout = c.env, c.dir, out
	if c.dir == "" {
		cmd.Dir = w.cfg.Dir
	}
	var problems bytes.Buffer
	cmd.Stderr = &problems
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = stopTime
	if err := w.spawn.start(cmd); err != nil {
		return fmt.Errorf("%s cannot be started: %w", c.name, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	stop()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return &commandError{c.name, err, strings.TrimSpace(problems.String())}
	}
	return nil
}

// commandError is the failure of a command that ran.
type commandError struct {
	name   string
	err    error
	stderr string
}

func (e *commandError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%s failed: %v %s", e.name, e.err, strings.Join(strings.Fields(e.stderr), " ")))
}

func (e *commandError) Unwrap() error { return e.err }

// assay runs our own command line on the world's state and returns what it printed.
func (w *World) assay(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := w.run(ctx, command{name: "assay " + strings.Join(args[:min(2, len(args))], " "), path: w.cfg.Exe, args: args, env: w.assayEnv()}, &out)
	return strings.TrimSpace(out.String()), err
}

// assayEnv is what a child that runs our own program sees.
func (w *World) assayEnv(more ...string) []string {
	return w.environment(append([]string{
		"ASSAY_DIR=" + w.path("state"), "ASSAY_POLICY=" + w.path("policies"),
		"ASSAY_PASSPHRASE_FILE=" + w.path("tokens", "passphrase"),
	}, more...)...)
}

// goTool runs the go command. It may write the build cache and below the world's
// folder, nowhere else.
func (w *World) goTool(ctx context.Context, dir string, out io.Writer, args ...string) error {
	path, err := exec.LookPath("go")
	if err != nil {
		return &assay.Error{
			Code: assay.CodeNotFound, Msg: "there is no go command, and the shop is tested and built from source",
			Hint: "install Go from https://go.dev/dl and put it on the PATH",
		}
	}
	return w.run(ctx, command{name: "go " + args[0], path: path, args: args, env: w.goEnv(), dir: dir}, out)
}

// goEnv settles what could make one machine's build another than the next one's.
func (w *World) goEnv() []string {
	env := w.environment(
		"CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GO111MODULE=on", "GOTOOLCHAIN=local", "GOPROXY=off",
	)
	// The go command keeps counters of its own use below the configuration folder.
	// Its settings are still the person's.
	if os.Getenv("GOENV") == "" {
		if dir, err := os.UserConfigDir(); err == nil {
			env = append(env, "GOENV="+filepath.Join(dir, "go", "env"))
		}
	}
	return append(env, "XDG_CONFIG_HOME="+w.path("tmp", "config"))
}

// exitCode is the code of a command that ran and failed, -1 if it did not run.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}
