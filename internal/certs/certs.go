// Package certs makes the certificates of a server, and serves them from files that
// may be replaced while it runs.
//
// Make keeps a small authority of its own beside the certificate: who trusts its
// ca.crt trusts every later certificate, so rotation needs no one's help. Watch
// looks at the files again when a client shakes hands, and keeps the last pair that
// was good.
package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"assay.dev/assay"
)

// Names of the files that Make writes.
const (
	CAName    = "ca.crt" // what clients trust
	CAKeyName = "ca.key" // secret: signs the next certificate
	CertName  = "tls.crt"
	KeyName   = "tls.key" // secret
)

// caLife is how long an authority lasts: clients are told of it by hand.
const caLife = 10 * 365 * 24 * time.Hour

// skew is how far other clocks may be behind ours.
const skew = 5 * time.Minute

// Make writes a certificate of a server into dir, for these DNS names and IP
// addresses, signed by the authority of dir, which it makes if there is none. The
// files of an older certificate are replaced, key first.
func Make(dir string, hosts []string, life time.Duration, now time.Time) error {
	if len(hosts) == 0 {
		return assay.Errorf(assay.CodeInvalid, "a certificate needs at least one host")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, caKey, err := authority(dir, now)
	if err != nil {
		return err
	}
	if end := now.Add(life); end.After(ca.NotAfter) {
		return assay.Errorf(assay.CodeConflict, "the authority ends at %s, before the certificate would; remove %s and %s to make another, and tell its clients",
			ca.NotAfter.UTC().Format(time.RFC3339), CAName, CAKeyName).In(dir)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: hosts[0]}, NotBefore: now.Add(-skew), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err := sign(template, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	return writePair(filepath.Join(dir, CertName), cert, filepath.Join(dir, KeyName), key)
}

// authority loads dir's authority, or makes it.
func authority(dir string, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	certPath, keyPath := filepath.Join(dir, CAName), filepath.Join(dir, CAKeyName)
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err == nil {
		signer, ok := pair.PrivateKey.(crypto.Signer)
		if !ok || !pair.Leaf.IsCA {
			return nil, nil, assay.Errorf(assay.CodeInvalid, "is not the certificate of an authority").In(certPath)
		}
		return pair.Leaf, signer, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, assay.Errorf(assay.CodeInvalid, "the authority cannot be loaded: %w", err).In(certPath)
	}
	if _, err := os.Stat(certPath); err == nil {
		return nil, nil, assay.Errorf(assay.CodeNotFound, "the authority's key is not there; a new authority would be one that nobody trusts").In(keyPath)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Assay admission authority"}, NotBefore: now.Add(-skew), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, MaxPathLenZero: true,
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	return cert, key, writePair(certPath, cert, keyPath, key)
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func writePair(certPath string, cert *x509.Certificate, keyPath string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := replace(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	return replace(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o644)
}

// replace writes a file as a whole: whoever reads it meets the old or the new content.
func replace(path string, data []byte, perm fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error tells more
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(perm), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// Files are a certificate and its key, in PEM.
type Files struct{ Cert, Key string }

// Watched is a certificate that follows its files. It is safe for concurrent use.
type Watched struct {
	files  Files
	every  time.Duration
	now    func() time.Time
	failed func(error)

	mu     sync.Mutex
	pair   *tls.Certificate
	ended  bool     // it was said that pair has ended
	seen   [2]stamp // of the files that pair, or a pair that was refused, came from
	looked time.Time
}

// stamp tells one content of a file from the next.
type stamp struct {
	time time.Time
	size int64
}

// Watch loads the files and returns what serves them. It looks at them again at a
// handshake, at most once in every; files that make no pair are told to failed,
// which may be nil, and the last good pair stays. A certificate that has ended is served,
// for there is no other, and told to failed once, with assay.CodeUnverified.
func Watch(files Files, every time.Duration, now func() time.Time, failed func(error)) (*Watched, error) {
	w := &Watched{files: files, every: every, now: now, failed: failed}
	if err := w.load(); err != nil {
		return nil, err
	}
	w.looked = now()
	w.tellEnded()
	return w, nil
}

// tellEnded says once that clients refuse what is served.
func (w *Watched) tellEnded() {
	if w.ended || w.failed == nil || !w.now().After(w.pair.Leaf.NotAfter) {
		return
	}
	w.ended = true
	e := assay.Errorf(assay.CodeUnverified, "has ended on %s, and clients refuse it", w.pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	e.Hint = "replace it with its key; the new pair is taken over while the server runs"
	w.failed(e.In(w.files.Cert))
}

// Get is a tls.Config's GetCertificate.
func (w *Watched) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.now(); now.Sub(w.looked) >= w.every {
		w.looked = now
		if err := w.load(); err != nil && w.failed != nil {
			w.failed(err)
		}
		w.tellEnded()
	}
	return w.pair, nil
}

// load takes the files' pair over if they changed.
func (w *Watched) load() error {
	var seen [2]stamp
	for i, path := range []string{w.files.Cert, w.files.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return assay.Errorf(assay.CodeNotFound, "cannot be read: %w", err).In(path)
		}
		seen[i] = stamp{info.ModTime(), info.Size()}
	}
	if w.pair != nil && seen == w.seen {
		return nil
	}
	w.seen = seen
	pair, err := tls.LoadX509KeyPair(w.files.Cert, w.files.Key)
	if err != nil {
		// Between the two renames of a rotation the halves do not fit: look again.
		w.seen = [2]stamp{}
		return assay.Errorf(assay.CodeInvalid, "is no certificate with its key: %w", err).In(w.files.Cert)
	}
	w.pair, w.ended = &pair, false
	return nil
}

// Config is a server's TLS configuration that serves what is watched: TLS 1.2 and later,
// with the library's own choice of ciphers.
func (w *Watched) Config() *tls.Config {
	return &tls.Config{GetCertificate: w.Get, MinVersion: tls.VersionTLS12}
}
