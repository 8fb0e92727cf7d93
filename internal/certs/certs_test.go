package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/certs"
)

func make2(t *testing.T, dir string) certs.Files {
	t.Helper()
	if err := certs.Make(dir, []string{"door.example", "127.0.0.1"}, time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	return certs.Files{Cert: filepath.Join(dir, certs.CertName), Key: filepath.Join(dir, certs.KeyName)}
}

func TestACertificateIsTrustedThroughItsAuthorityBeforeAndAfterRotation(t *testing.T) {
	dir := t.TempDir()
	files := make2(t, dir)
	ca, err := os.ReadFile(filepath.Join(dir, certs.CAName))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	var serials []string
	for range 2 {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"door.example", "127.0.0.1"} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host}); err != nil {
				t.Errorf("%s: %v", host, err)
			}
		}
		serials = append(serials, pair.Leaf.SerialNumber.String())
		make2(t, dir)
	}
	if serials[0] == serials[1] {
		t.Error("the second certificate is the first one")
	}
	for _, secret := range []string{certs.CAKeyName, certs.KeyName} {
		if info, err := os.Stat(filepath.Join(dir, secret)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want it readable by its owner alone", secret, info.Mode(), err)
		}
	}
}

func TestAWatchedCertificateFollowsItsFilesAndKeepsTheLastGoodPair(t *testing.T) {
	dir := t.TempDir()
	files := make2(t, dir)
	now := time.Now()
	var failed []error
	w, err := certs.Watch(files, time.Second, func() time.Time { return now }, func(err error) { failed = append(failed, err) })
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		t.Helper()
		pair, err := w.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.String()
	}
	first := serial()
	make2(t, dir)
	if serial() != first {
		t.Error("the files are looked at before the interval is over")
	}
	now = now.Add(time.Second)
	second := serial()
	if second == first {
		t.Error("the new certificate is not served")
	}
	key, err := os.ReadFile(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.Key, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if serial() != second || len(failed) != 1 {
		t.Errorf("serial %s, failures %v; want the last good pair, and one failure told", serial(), failed)
	}
	if err := os.WriteFile(files.Key, key, 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if serial() != second || len(failed) != 1 {
		t.Errorf("failures %v; want none after the repair", failed)
	}
}

func TestACertificateThatHasEndedIsServedAndSaidOnce(t *testing.T) {
	files := make2(t, t.TempDir())
	now := time.Now()
	var failed []error
	watch := func() *certs.Watched {
		w, err := certs.Watch(files, time.Second, func() time.Time { return now }, func(err error) { failed = append(failed, err) })
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := watch()
	pair, err := w.Get(nil)
	if err != nil || len(failed) != 0 {
		t.Fatal(err, failed)
	}
	now = pair.Leaf.NotAfter.Add(time.Second) // while the server runs
	for range 3 {
		if got, err := w.Get(nil); err != nil || got != pair {
			t.Errorf("%v, %v: another than the only pair that there is", got, err)
		}
		now = now.Add(time.Minute)
	}
	watch() // or before it was started
	if len(failed) != 2 || assay.CodeOf(failed[0]) != assay.CodeUnverified || failed[0].Error() != failed[1].Error() || !strings.Contains(failed[0].Error(), "has ended on "+pair.Leaf.NotAfter.UTC().Format(time.RFC3339)) {
		t.Errorf("told %v", failed)
	}
}

func TestAnAuthorityIsNeverReplacedInSilence(t *testing.T) {
	dir := t.TempDir()
	make2(t, dir)
	for _, c := range []struct {
		name string
		do   func() error
		life time.Duration
		code assay.Code
	}{
		{"a certificate beyond the authority's end", func() error { return nil }, 20 * 365 * 24 * time.Hour, assay.CodeConflict},
		{"an authority without its key", func() error { return os.Remove(filepath.Join(dir, certs.CAKeyName)) }, time.Hour, assay.CodeNotFound},
		{"a damaged authority", func() error { return os.WriteFile(filepath.Join(dir, certs.CAKeyName), []byte("x"), 0o600) }, time.Hour, assay.CodeInvalid},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if err := certs.Make(dir, []string{"door.example"}, c.life, time.Now()); assay.CodeOf(err) != c.code {
			t.Errorf("%s: %v; want %s", c.name, err, c.code)
		}
	}
}
