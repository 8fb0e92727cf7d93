package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"assay.dev/assay"
)

// LockName is the file in a locked folder that carries the lock and the holder's process id.
const LockName = ".assay.lock"

// Lock is the right of one process to use a folder. The kernel takes it back
// when the process ends, however it ends.
type Lock struct {
	file *os.File
}

// LockDir takes the lock of the folder dir, which must exist. It does not wait:
// while another holder has it, the answer is assay.CodeConflict and names that
// holder's process id.
func LockDir(dir string) (*Lock, error) {
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		holder := holderOf(path)
		if cerr := f.Close(); cerr != nil {
			return nil, cerr
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, &assay.Error{Code: assay.CodeConflict,
			Msg:  fmt.Sprintf("another assay process (pid %s) uses %s", holder, dir),
			Hint: "stop it or use --server", Err: err}
	}
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(pid, 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{file: f}, nil
}

// Release gives the lock back. The lock file stays: removing it would let two
// processes lock two different files of the same name.
func (l *Lock) Release() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

// flock retries what a signal interrupted.
func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// holderOf reads the process id that the holder wrote, "unknown" if it has not yet.
func holderOf(path string) string {
	data, err := os.ReadFile(path)
	pid := strings.TrimSpace(string(data))
	if _, perr := strconv.Atoi(pid); err != nil || perr != nil {
		return "unknown"
	}
	return pid
}
