package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// SignerProgram returns the path of a signer program of the module signer/, for
// example SignerProgram(t, "pkcs11"). It is built once for each state of its
// sources. The one for PKCS#11 needs a C compiler.
func SignerProgram(t testing.TB, name string) string {
	t.Helper()
	if name == "pkcs11" {
		Tool(t, "gcc", "apt-get install gcc libc6-dev")
	}
	source := filepath.Join(ModuleRoot(t), "signer")
	version, err := sourceDigest(source)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "assay-test", "signer-"+version)
	bin := filepath.Join(dir, "assay-signer-"+name)
	cgo := "CGO_ENABLED=0"
	if name == "pkcs11" {
		cgo = "CGO_ENABLED=1"
	}
	err = buildOnce(bin, func(half string) error { return compile(source, half, "./"+name, cgo) })
	if err != nil {
		missing(t, "signer program %s cannot be built: %v", name, err)
	}
	return bin
}

// sourceDigest names the state of all files below a folder.
func sourceDigest(root string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			_, err = fmt.Fprintf(h, "%q %d\n%s", path, len(data), data)
		}
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// Token is a SoftHSM token of one test.
type Token struct {
	Module string   // the PKCS#11 module's path
	Label  string   // of the token
	PIN    string   // of its user
	Env    []string // variables that make the module find the token
	dir    string
}

// SoftHSM makes a fresh token.
func SoftHSM(t testing.TB) *Token {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		if os.Geteuid() != 0 || os.Getenv("ASSAY_REQUIRE_ALL") != "1" && os.Getenv("CI") == "" {
			missing(t, "SoftHSM is not installed; get it with: apt-get install softhsm2")
		}
		if err := aptInstall("softhsm2"); err != nil {
			missing(t, "SoftHSM cannot be installed: %v", err)
		}
	}
	modules, err := filepath.Glob("/usr/lib*/softhsm/libsofthsm2.so")
	if more, _ := filepath.Glob("/usr/lib/*/softhsm/libsofthsm2.so"); err == nil {
		modules = append(modules, more...)
	}
	if len(modules) == 0 {
		missing(t, "SoftHSM is installed, but its module libsofthsm2.so is not found")
	}
	k := &Token{Module: modules[0], Label: "assay", PIN: "1234", dir: t.TempDir()}
	config := filepath.Join(k.dir, "softhsm2.conf")
	write(t, config, "directories.tokendir = "+k.dir+"\nobjectstore.backend = file\nlog.level = ERROR\n")
	k.Env = []string{"SOFTHSM2_CONF=" + config}
	k.util(t, "--init-token", "--free", "--label", k.Label, "--so-pin", "5678", "--pin", k.PIN)
	return k
}

// Import puts a private key, PKCS #8 in PEM, into the token. id is hexadecimal.
func (k *Token) Import(t testing.TB, label, id string, pkcs8 []byte) {
	t.Helper()
	file := filepath.Join(k.dir, id+".pem")
	if err := os.WriteFile(file, pkcs8, 0o600); err != nil {
		t.Fatal(err)
	}
	k.util(t, "--import", file, "--token", k.Label, "--label", label, "--id", id, "--pin", k.PIN)
}

func (k *Token) util(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command("softhsm2-util", args...)
	cmd.Env = append(os.Environ(), k.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util %s: %v\n%s", strings.Join(args[:1], " "), err, out)
	}
}
