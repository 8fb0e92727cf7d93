package main

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/certs"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ui"
	"github.com/spf13/cobra"
)

// certificateEvery is how often the files of a certificate are looked at, at most.
const certificateEvery = time.Second

// sessionKeyFile holds the key that seals the sessions of browsers, in the state directory.
const sessionKeyFile = "session.key"

// tlsFlags are those of the pages' and the API's certificate.
type tlsFlags struct{ cert, key string }

func (f *tlsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cert, "tls-cert", "", "certificate (PEM, with its chain) to serve pages and API with; read again when it changes")
	cmd.Flags().StringVar(&f.key, "tls-key", "", "private key of that certificate")
}

// config is what to serve pages and API with, nil without TLS.
func (f tlsFlags) config(a *app) (*tls.Config, error) {
	switch {
	case f.cert == "" && f.key == "":
		return nil, nil
	case f.cert == "" || f.key == "":
		return nil, usageError{errors.New("--tls-cert and --tls-key go together")}
	}
	return a.watchCertificate(certs.Files{Cert: f.cert, Key: f.key})
}

// watchCertificate serves a certificate that may be replaced while the server runs.
func (a *app) watchCertificate(files certs.Files) (*tls.Config, error) {
	watched, err := certs.Watch(files, certificateEvery, time.Now, func(err error) {
		if assay.CodeOf(err) == assay.CodeUnverified {
			a.log.Error("the certificate is no longer valid", "error", err)
			return
		}
		a.log.Error("certificate refused; the old one stays in use", "error", err)
	})
	if err != nil {
		return nil, err
	}
	return watched.Config(), nil
}

// sessionKey is the key that seals sessions, made when it is first asked for. It is kept
// in a file that nobody else may read: who is signed in stays so over a restart.
func sessionKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, sessionKeyFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, ui.SessionKeyBytes)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		return key, durable.WriteFile(path, key, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, &assay.Error{Code: assay.CodeDenied, File: path, Msg: "can be read by others, who could make sessions with it", Hint: "remove it, and a new one is made; everybody signs in again"}
	}
	key, err := readFile(path, ui.SessionKeyBytes)
	if err == nil && len(key) != ui.SessionKeyBytes {
		err = &assay.Error{Code: assay.CodeInvalid, File: path, Msg: "is no key of sessions", Hint: "remove it, and a new one is made; everybody signs in again"}
	}
	return key, err
}

// scheme is the beginning of the server's address.
func scheme(secure *tls.Config) string {
	if secure == nil {
		return "http"
	}
	return "https"
}
