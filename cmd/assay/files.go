package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
)

// readAll reads r to its end and refuses more than limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, assay.Errorf(assay.CodeTooLarge, "is larger than %d bytes", limit)
	}
	return data, nil
}

// writable refuses a file that a flag asks for in a folder that does not exist, before anything
// is done for it: a folder that was mistyped is not made.
func writable(flag, path string) error {
	if path == "" || path == "-" {
		return nil
	}
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e := assay.Errorf(assay.CodeNotFound, "%s %s: there is no folder %s; nothing was written", flag, path, folder)
		e.Hint = "make it first"
		return e
	case err == nil && !info.IsDir():
		return assay.Errorf(assay.CodeInvalid, "%s %s: %s is no folder; nothing was written", flag, path, folder)
	}
	return nil // what else is wrong is said when it is written
}

// writeFile replaces a file as a whole, so that nobody reads half of it.
func writeFile(path string, data []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		// A pipe or /dev/stdout: there is nothing to replace.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Write(data)
		return err
	}
	return durable.WriteFile(path, data, 0o644)
}

// writeInto writes a file into a folder that was asked for, and makes that if need be.
func writeInto(folder, name string, data []byte) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return writeFile(filepath.Join(folder, name), data)
}
