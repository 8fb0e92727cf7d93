// Package durable makes files survive a power cut.
//
// A file is durable when its bytes and every directory entry on the way to it
// were synced: a rename is atomic but not durable, and a new folder is neither
// until its parent was synced. The functions here return only after both.
package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path with data, atomically and durably: after
// a crash at any moment the file holds either its old or its new content, and
// once WriteFile returned nil, the new one. The folder must exist.
func WriteFile(path string, data []byte, perm fs.FileMode) (err error) {
	temp, err := tempName(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(temp))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(temp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// CreateFile makes an empty file at path if there is none, durably. It reports
// whether it made one. The folder must exist.
func CreateFile(path string, perm fs.FileMode) (created bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		// Whoever made it may have crashed before its name was durable.
		return false, SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return false, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return false, err
	}
	return true, SyncDir(filepath.Dir(path))
}

// MkdirAll makes path and its missing parents, and syncs the folder of each one
// it made. Of those that exist the innermost is synced into its parent as well:
// who made it may have been killed before that. A parent that may not be read
// belongs to somebody else, who made it long ago.
func MkdirAll(path string, perm fs.FileMode) error {
	info, err := os.Stat(path)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("is a file, not a folder")}
		}
		if err := SyncDir(filepath.Dir(filepath.Clean(path))); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(filepath.Clean(path))
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// SyncDir makes the names in the folder at path durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tempName returns a free name beside path, so that a rename stays in one file system.
func tempName(path string) (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp-"+hex.EncodeToString(b[:])), nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
