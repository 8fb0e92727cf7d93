package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestAURINamesOneKey(t *testing.T) {
	t.Setenv("ASSAY_PKCS11_MODULE", "/default.so")
	for s, want := range map[string]uri{
		"pkcs11:token=a;object=b":                                      {token: "a", object: []byte("b"), module: "/default.so"},
		"pkcs11:serial=1;id=%01%ff;type=private":                       {serial: "1", id: []byte{1, 255}, module: "/default.so"},
		"pkcs11:token=a%20b;object=c?module-path=/m.so&pin-source=/p":  {token: "a b", object: []byte("c"), module: "/m.so", pinSource: "/p"},
		"pkcs11:token=a;object=b?pin-source=file:/run/secrets/the-pin": {token: "a", object: []byte("b"), module: "/default.so", pinSource: "/run/secrets/the-pin"},
	} {
		if got, err := parseURI(s); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", s, got, err, want)
		}
	}
	for s, why := range map[string]string{
		"":                                     "not a PKCS#11 URI",
		"file:key":                             "not a PKCS#11 URI",
		"pkcs11:object=b":                      "names no token",
		"pkcs11:token=a;serial=1;object=b":     "names no token",
		"pkcs11:token=a":                       "names no key",
		"pkcs11:token=a;object=b?pin-value=1":  "holds a PIN",
		"pkcs11:token=a;object=b;colour=blue":  "not understood",
		"pkcs11:token=a;object=%zz":            "expected name=value",
		"pkcs11:token=a;object=b;type=public":  "not understood",
		"pkcs11:token=a;object=b?module-path=": "expected name=value",
	} {
		if _, err := parseURI(s); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v; want %q", s, err, why)
		}
	}
	t.Setenv("ASSAY_PKCS11_MODULE", "")
	if _, err := parseURI("pkcs11:token=a;object=b"); err == nil || !strings.Contains(err.Error(), "no PKCS#11 module") {
		t.Errorf("no module: %v", err)
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=a;object=b?module-path=/m.so&pin-source=/p")
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := parseURI(s); err == nil && (u.token == "") == (u.serial == "") {
			t.Errorf("%q names no token", s)
		}
	})
}
