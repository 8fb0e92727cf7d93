package policy

import (
	"strings"
	"testing"

	"assay.dev/assay"
)

const producerYAML = `apiVersion: assay.dev/v1alpha1
kind: Producer
metadata: {name: vendor}
spec:
  keys:
    - |
      -----BEGIN PUBLIC KEY-----
      MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFubMlv7qAGVQB497Y3jA8NChqQGh
      9jCierJhAzeoCSiVtEcOKnvty0wvbIRskCueKM8eeFj0pVhMIyOocfcYUQ==
      -----END PUBLIC KEY-----
`

const vendorGateYAML = `apiVersion: assay.dev/v1alpha1
kind: Gate
metadata: {name: strict}
spec:
  vex: {producers: [vendor]}
  requires:
    - {name: scan, kind: vulnerabilities, producers: [vendor]}
`

func TestGateNamesOnlyProducersThatAreDeclared(t *testing.T) {
	rev, err := NewRevision([]File{file("g.yaml", vendorGateYAML), file("p.yaml", producerYAML)})
	if err != nil || len(rev.Producers("default")) != 1 || len(rev.Producers("other")) != 0 {
		t.Fatalf("%v", err)
	}
	for name, c := range map[string]struct{ gate, want string }{
		"unknown in vex":         {strings.Replace(vendorGateYAML, "vex: {producers: [vendor]}", "vex: {producers: [vendro]}", 1), `g.yaml:1:1: spec.vex.producers names Producer "vendro", which is not declared in namespace default (did you mean "vendor"?)`},
		"unknown in requirement": {strings.Replace(vendorGateYAML, "vulnerabilities, producers: [vendor]", "vulnerabilities, producers: [ci]", 1), `spec.requires[0].producers names Producer "ci"`},
		"of another namespace":   {strings.Replace(vendorGateYAML, "{name: strict}", "{name: strict, namespace: team}", 1), "not declared in namespace team"},
	} {
		_, err := NewRevision([]File{file("g.yaml", c.gate), file("p.yaml", producerYAML)})
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		wantError(t, err, assay.CodeInvalid, c.want)
	}
	_, err = NewRevision([]File{file("p.yaml", producerYAML), file("q.yaml", producerYAML)})
	wantError(t, err, assay.CodeInvalid, `Producer "vendor" of namespace default is declared twice`)
}

func TestProducerWithoutAUsableKeyIsRefused(t *testing.T) {
	head, _, _ := strings.Cut(producerYAML, "  keys:")
	for keys, want := range map[string]string{
		"  keys: []\n":       "spec.keys has 0 entries; expected 1 to 16 public keys",
		"  keys: [secret]\n": "spec.keys[0] is not one public key in PEM",
		"  keys:\n    - |\n      -----BEGIN PUBLIC KEY-----\n      AAAA\n      -----END PUBLIC KEY-----\n":             "spec.keys[0] is not a public key",
		"  keys:\n    - |\n      -----BEGIN PRIVATE KEY-----\n      AAAA\n      -----END PRIVATE KEY-----\n":           "is not one public key in PEM",
		"  keys:\n    - |\n      -----BEGIN PUBLIC KEY-----\n      AAAA\n      -----END PUBLIC KEY-----\n      more\n": "is not one public key in PEM",
	} {
		_, err := Parse("p.yaml", []byte(head+keys))
		wantError(t, err, assay.CodeInvalid, want)
	}
}
