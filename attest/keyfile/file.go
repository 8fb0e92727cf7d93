package keyfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/durable"
	"golang.org/x/mod/sumdb/note"
)

// CreateOptions say what Create makes.
type CreateOptions struct {
	Algorithm  Algorithm // "" means ECDSAP256
	Passphrase []byte
	// AllowEmpty permits an empty Passphrase: the files are then as good as plain.
	AllowEmpty bool
	// LedgerOrigin, if set, also makes a ledger key with this name.
	LedgerOrigin string
}

// Created is what Create made.
type Created struct {
	Public     Public
	KeyFile    string // signing key, mode 0600
	LedgerFile string // ledger key, mode 0600; "" without a LedgerOrigin
	PublicFile string // mode 0644
}

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	originForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:-]{0,255}$`) // what a ledger accepts
)

// Create makes a key pair and writes its files into dir, which must exist. A
// file that exists is never overwritten: assay.CodeConflict. The public file is
// written last, so it exists only if everything does; on an error the files
// written so far are removed. The files are durable when Create returns.
func Create(dir, name string, o CreateOptions) (Created, error) {
	if !nameForm.MatchString(name) {
		return Created{}, assay.Errorf(assay.CodeInvalid, "key name %q is not 1 to 64 of A-Z, a-z, 0-9, dot, underscore and hyphen", name)
	}
	if o.LedgerOrigin != "" && !originForm.MatchString(o.LedgerOrigin) {
		return Created{}, assay.Errorf(assay.CodeInvalid, "ledger origin %q is not 1 to 256 of A-Z, a-z, 0-9, dot, underscore, slash, colon and hyphen", o.LedgerOrigin)
	}
	if len(o.Passphrase) == 0 && !o.AllowEmpty {
		e := assay.Errorf(assay.CodeInvalid, "passphrase is empty; the key would lie in the file as good as plain")
		e.Hint = "give a passphrase, or allow an empty one explicitly"
		return Created{}, e
	}
	if o.Algorithm == "" {
		o.Algorithm = ECDSAP256
	}
	c := Created{KeyFile: filepath.Join(dir, name+".key"), PublicFile: filepath.Join(dir, name+".pub")}
	signer, err := Generate(o.Algorithm)
	if err != nil {
		return Created{}, err
	}
	c.Public.Keys = []attest.Key{signer.Key()}
	private, err := MarshalPrivate(signer, o.Passphrase)
	if err != nil {
		return Created{}, err
	}
	files := []newFile{{c.KeyFile, private, 0o600}}
	if o.LedgerOrigin != "" {
		skey, vkey, err := note.GenerateKey(rand.Reader, o.LedgerOrigin)
		if err != nil {
			return Created{}, assay.Errorf(assay.CodeInternal, "ledger key cannot be made: %w", err)
		}
		sealed, err := MarshalLedger(skey, o.Passphrase)
		if err != nil {
			return Created{}, err
		}
		c.Public.Ledger, c.LedgerFile = vkey, filepath.Join(dir, name+".ledger.key")
		files = append(files, newFile{c.LedgerFile, sealed, 0o600})
	}
	public, err := MarshalPublic(c.Public)
	if err != nil {
		return Created{}, err
	}
	if err := writeAll(dir, append(files, newFile{c.PublicFile, public, 0o644})); err != nil {
		return Created{}, err
	}
	return c, nil
}

type newFile struct {
	path string
	data []byte
	mode fs.FileMode
}

// writeAll writes all files or none.
func writeAll(dir string, files []newFile) (err error) {
	var written []string
	defer func() {
		if err != nil {
			for _, path := range written {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}()
	for _, f := range files {
		if err := writeNew(dir, f); err != nil {
			return err
		}
		written = append(written, f.path)
	}
	if err := durable.SyncDir(dir); err != nil {
		return ioError("key folder cannot be synced", err)
	}
	return nil
}

// writeNew makes f appear whole or not at all, and only where nothing is: the
// link fails if the name is taken, whoever took it in the meantime.
func writeNew(dir string, f newFile) error {
	t, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return ioError("key file cannot be written", err)
	}
	defer os.Remove(t.Name())
	_, err = t.Write(f.data)
	err = errors.Join(err, t.Chmod(f.mode), t.Sync(), t.Close())
	if err != nil {
		return ioError("key file cannot be written", err)
	}
	if err := os.Link(t.Name(), f.path); errors.Is(err, fs.ErrExist) {
		e := assay.Errorf(assay.CodeConflict, "exists already; a key is never overwritten").In(f.path)
		e.Hint = "choose another name, or move the file away"
		return e
	} else if err != nil {
		return ioError("key file cannot be written", err)
	}
	return nil
}

// Load reads a signing key file. A file that its group or others may access is
// refused with assay.CodeDenied, a wrong passphrase likewise.
func Load(path string, passphrase []byte) (*Signer, error) {
	data, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	s, err := ParsePrivate(data, passphrase)
	return s, in(path, err)
}

// LoadLedger reads a ledger key file under the same rules and returns the
// signer line "PRIVATE+KEY+…", which is a secret.
func LoadLedger(path string, passphrase []byte) (string, error) {
	data, err := readPrivate(path)
	if err != nil {
		return "", err
	}
	skey, err := ParseLedger(data, passphrase)
	return skey, in(path, err)
}

// LoadPublic reads a public file.
func LoadPublic(path string) (Public, error) {
	f, err := os.Open(path)
	if err != nil {
		return Public{}, ioError("public file cannot be read", err)
	}
	defer f.Close()
	data, err := readLimited(f)
	if err != nil {
		return Public{}, in(path, err)
	}
	p, err := ParsePublic(data)
	return p, in(path, err)
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, ioError("key file cannot be read", err)
	}
	defer f.Close()
	// Of the opened file, so that it cannot be exchanged in between.
	info, err := f.Stat()
	if err != nil {
		return nil, ioError("key file cannot be read", err)
	}
	if !info.Mode().IsRegular() {
		return nil, assay.Errorf(assay.CodeInvalid, "is not a regular file").In(path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		e := assay.Errorf(assay.CodeDenied, "has mode %04o: others than its owner may use the private key in it", perm).In(path)
		e.Hint = fmt.Sprintf("chmod 600 %s", path)
		return nil, e
	}
	data, err := readLimited(f)
	return data, in(path, err)
}

func readLimited(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, ioError("key file cannot be read", err)
	}
	if len(data) > MaxFile {
		return nil, assay.Errorf(assay.CodeTooLarge, "key file has more than %d bytes", MaxFile)
	}
	return data, nil
}

// in names the file in an error of ours.
func in(path string, err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return e.In(path)
	}
	return err
}

func ioError(what string, err error) error {
	code := assay.CodeInternal
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = assay.CodeNotFound
	case errors.Is(err, fs.ErrPermission):
		code = assay.CodeDenied
	}
	return assay.Errorf(code, "%s: %w", what, err)
}
