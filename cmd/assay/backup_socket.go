package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"assay.dev/assay"
)

// A running server has the state directory to itself, so it makes backups itself. It
// is asked through a socket in the directory: whoever may use that can read the
// directory anyway, which no token of one namespace allows.

const (
	backupSocket = "backup.sock"
	backupPlain  = "backup"
	backupKeys   = "backup with keys"
	backupTime   = 2 * time.Hour // for one backup
)

// socketPath names the socket in few bytes: the system takes about 100.
func socketPath(data string) (path string, done func(), err error) {
	folder, err := os.Open(data)
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(data, backupSocket)
	if short := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), backupSocket); len(path) > 90 {
		if _, err := os.Stat(filepath.Dir(short)); err == nil {
			path = short
		}
	}
	return path, func() { _ = folder.Close() }, nil // read-only
}

// serveBackups answers one request after the other until ctx ends.
func (a *app) serveBackups(in *installation) func(context.Context) error {
	return func(ctx context.Context) error {
		path, done, err := socketPath(a.cfg.get("dir"))
		if err != nil {
			return err
		}
		defer done()
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // the lock of the directory is ours: no other process answers there
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
		if err != nil {
			a.log.Warn("backups of the running server are not possible", "error", err)
			<-ctx.Done()
			return nil
		}
		stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
		defer stop()
		if err := os.Chmod(path, 0o600); err != nil {
			return errors.Join(err, ln.Close())
		}
		for {
			conn, err := ln.Accept()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if err := a.answerBackup(ctx, in, conn); err != nil {
				a.log.Error("backup failed", "error", err)
			}
		}
	}
}

func (a *app) answerBackup(ctx context.Context, in *installation, conn net.Conn) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(backupTime)); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, 64)).ReadString('\n')
	if err != nil || line != backupPlain+"\n" && line != backupKeys+"\n" {
		return assay.Errorf(assay.CodeInvalid, "not a request for a backup")
	}
	start := a.now()
	if err := a.streamBackup(ctx, in, conn, line == backupKeys+"\n"); err != nil {
		return err
	}
	a.log.Info("backup written", "took", a.now().Sub(start))
	return nil
}

// askBackup has the process that uses the directory write the archive; busy is why
// we cannot.
func (a *app) askBackup(ctx context.Context, w io.Writer, keys bool, busy error) (err error) {
	path, done, err := socketPath(a.cfg.get("dir"))
	if err != nil {
		return err
	}
	defer done()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return busy // whoever has the directory is no server
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	ask := backupPlain
	if keys {
		ask = backupKeys
	}
	if _, err := io.WriteString(conn, ask+"\n"); err != nil {
		return err
	}
	_, err = io.Copy(w, conn)
	return err
}
