package attest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"pgregory.net/rapid"
)

func TestAKeyIsJudgedAtTheMomentOfTheAttestation(t *testing.T) {
	key := newSigner(t, "ecdsa").key
	day := func(d int) time.Time { return now.AddDate(0, 0, d) }
	window := attest.TrustedKey{Key: key, NotBefore: day(0), NotAfter: day(10)}
	stolen := attest.TrustedKey{Key: key, Revoked: &attest.Revocation{CompromisedSince: day(5), Reason: "laptop stolen"}}
	both := attest.TrustedKey{Key: key, NotBefore: day(0), NotAfter: day(10), Revoked: stolen.Revoked}
	never := attest.TrustedKey{Key: key, Revoked: &attest.Revocation{Reason: "test key"}}
	for _, c := range []struct {
		name   string
		key    attest.TrustedKey
		moment attest.Moment
		why    string // "" means accepted
	}{
		{"no window, no time", attest.TrustedKey{Key: key}, attest.Moment{}, ""},
		{"first instant", window, attest.Moment{Stated: day(0)}, ""},
		{"last instant", window, attest.Moment{Stated: day(10)}, ""},
		{"key not yet valid", window, attest.Moment{Stated: day(0).Add(-1)}, "not trusted yet"},
		{"expired key", window, attest.Moment{Stated: day(10).Add(1)}, "is expired"},
		{"window, but no time at all", window, attest.Moment{}, "states no time"},
		{"recorded inside, stated before", window, attest.Moment{Stated: day(-1), Recorded: day(1)}, ""},
		{"recorded after the end, dated back", window, attest.Moment{Stated: day(9), Recorded: day(11)}, "is expired"},
		{"recorded only", window, attest.Moment{Recorded: day(3)}, ""},

		{"revoked, recorded before", stolen, attest.Moment{Stated: day(4), Recorded: day(5).Add(-1)}, ""},
		{"revoked, recorded at that instant", stolen, attest.Moment{Stated: day(4), Recorded: day(5)}, "was recorded at"},
		{"revoked, recorded later", stolen, attest.Moment{Stated: day(4), Recorded: day(6)}, "was recorded at"},
		{"revoked, dated back without a record", stolen, attest.Moment{Stated: day(1)}, "without a proof"},
		{"revoked, no time at all", stolen, attest.Moment{}, "without a proof"},
		{"revoked for all time", never, attest.Moment{Stated: day(-99), Recorded: day(-99)}, "for all time"},

		{"window and revocation, inside both", both, attest.Moment{Recorded: day(2)}, ""},
		{"window and revocation, before the window", both, attest.Moment{Recorded: day(-2)}, "not trusted yet"},
		{"window and revocation, after it was stolen", both, attest.Moment{Recorded: day(7)}, "laptop stolen"},
	} {
		err := c.key.Accepts(c.moment)
		if c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: %v; want %q", c.name, err, c.why)
		}
	}
}

func TestTheKeyThatSpeaksIsFoundAmongThoseThatSigned(t *testing.T) {
	a, b, c := newSigner(t, "ecdsa").key, newSigner(t, "ed25519").key, newSigner(t, "ecdsa").key
	revoked := &attest.Revocation{CompromisedSince: now, Reason: "lost"}
	policy := attest.TrustPolicy{Keys: []attest.TrustedKey{
		{Name: "a", Key: a, VerifierIDs: []string{"v"}, Environments: []string{"prod"}},
		{Name: "b", Key: b, VerifierIDs: []string{"v"}, Revoked: revoked},
		{Name: "c", Key: c, VerifierIDs: []string{"w"}},
		{Name: "b again", Key: b, VerifierIDs: []string{"w"}},
	}}
	m := attest.Moment{Stated: now}
	for _, x := range []struct {
		name                  string
		ids                   []string
		verifier, environment string
		found, why            string
	}{
		{"its environment", []string{a.KeyID()}, "v", "prod", "a", ""},
		{"another environment", []string{a.KeyID()}, "v", "dev", "", `found environment "dev"; key "a"`},
		{"no environment", []string{a.KeyID()}, "v", "", "", "found environment no value"},
		{"another verifier", []string{c.KeyID()}, "v", "prod", "", `found verifier "v"; expected w`},
		{"nobody signed", nil, "v", "prod", "", "not trusted for any verifier"},
		{"one of two is revoked", []string{b.KeyID(), a.KeyID()}, "v", "prod", "a", ""},
		{"a revocation counts for every entry of the key", []string{b.KeyID()}, "w", "prod", "", `"lost"`},
	} {
		k, err := policy.Judge(x.ids, x.verifier, x.environment, m)
		if x.why == "" && (err != nil || k.Name != x.found) || x.why != "" && (err == nil || !strings.Contains(err.Error(), x.why)) {
			t.Errorf("%s: key %q, %v; want %q %q", x.name, k.Name, err, x.found, x.why)
		}
	}
}

// moments draws instants that often fall on the edges of the windows.
func moments(t *rapid.T, label string) time.Time {
	return now.Add(time.Duration(rapid.Int64Range(-3, 3).Draw(t, label)) * time.Second)
}

func TestTrustProperties(t *testing.T) {
	key := newSigner(t, "ed25519").key
	rapid.Check(t, func(t *rapid.T) {
		k := attest.TrustedKey{Key: key}
		if rapid.Bool().Draw(t, "begins") {
			k.NotBefore = moments(t, "not before")
		}
		if rapid.Bool().Draw(t, "ends") {
			k.NotAfter = moments(t, "not after")
		}
		m := attest.Moment{Stated: moments(t, "stated")}
		if rapid.Bool().Draw(t, "is recorded") {
			m.Recorded = moments(t, "recorded")
		}
		since := moments(t, "since")
		revoked := k
		revoked.Revoked = &attest.Revocation{CompromisedSince: since, Reason: "x"}
		before, after := k.Accepts(m) == nil, revoked.Accepts(m) == nil
		if after && !before {
			t.Fatal("a revocation made an attestation good")
		}
		if good := before && !m.Recorded.IsZero() && m.Recorded.Before(since); good != after {
			t.Fatalf("revoked key accepts: %v; want %v", after, good)
		}
		earlier := revoked
		earlier.Revoked = &attest.Revocation{CompromisedSince: since.Add(-time.Second), Reason: "x"}
		if earlier.Accepts(m) == nil && !after {
			t.Fatal("an earlier compromise made an attestation good")
		}
		if m.Recorded.IsZero() {
			return
		}
		lie := m
		lie.Stated = moments(t, "another word of the signer")
		if (revoked.Accepts(lie) == nil) != after || (k.Accepts(lie) == nil) != before {
			t.Fatal("what is recorded was judged by the signer's word")
		}
	})
}

func TestARevokedKeyIsRefusedByVerify(t *testing.T) {
	s := newSigner(t, "ecdsa")
	bundle := signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
	policy := trust(s.key)
	if r := attest.Verify(bundle, policy, expect(), now); !r.OK() {
		t.Fatal(r.Err())
	}
	policy.Keys[0].Revoked = &attest.Revocation{CompromisedSince: now.Add(time.Hour), Reason: "stolen"}
	r := attest.Verify(bundle, policy, expect(), now)
	if r.OK() || !strings.Contains(r.Err().Error(), "step 4 (verifier)") || !strings.Contains(r.Err().Error(), "without a proof") {
		t.Errorf("without a proof of time: %v", r.Err())
	}
	want := expect()
	want.Recorded = now
	if r := attest.Verify(bundle, policy, want, now); !r.OK() {
		t.Errorf("recorded before the compromise: %v", r.Err())
	}
	want.Recorded = now.Add(time.Hour)
	if r := attest.Verify(bundle, policy, want, now.Add(2*time.Hour)); r.OK() {
		t.Error("recorded when the key was compromised already, and accepted")
	}
}

const trustHead = "apiVersion: assay.dev/v1alpha1\nkind: Trust\nmetadata: {name: release}\nspec:\n  keys:\n"

// entry is one key of a trust file, with more lines.
func entry(t testing.TB, k attest.Key, more ...string) string {
	t.Helper()
	block, err := attest.MarshalPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("    - publicKey: |\n")
	for line := range strings.Lines(string(block)) {
		b.WriteString("        " + line)
	}
	for _, line := range more {
		b.WriteString("      " + line + "\n")
	}
	return b.String()
}

func fitting(t testing.TB, expr string) attest.Match {
	t.Helper()
	m, err := attest.Fitting(expr)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestATrustFileSurvivesWritingAndReading(t *testing.T) {
	a, b := newSigner(t, "ecdsa").key, newSigner(t, "ed25519").key
	want := attest.Trust{Name: "release", Ledger: "example.com/log+1+a", Policy: attest.TrustPolicy{Keys: []attest.TrustedKey{
		{Name: "old", Key: a, VerifierIDs: []string{"https://assay.dev/gate"}, NotAfter: now.Add(time.Hour),
			Revoked: &attest.Revocation{CompromisedSince: now, Reason: "it's gone: \"stolen\""}},
		{Key: b, VerifierIDs: []string{"x", "y"}, Environments: []string{"prod"}, NotBefore: now.Add(1)},
	}, Identities: []attest.TrustedIdentity{
		{Issuer: attest.Exactly("https://issuer.example"), Subject: fitting(t, "https://example.com/.*"), VerifierIDs: []string{"v"}, NotAfter: now},
	}}}
	data, err := attest.MarshalTrust(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := attest.ParseTrust(data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read back %+v, %v\nwant %+v\n%s", got, err, want, data)
	}
}

func TestATrustFileIsReadStrictly(t *testing.T) {
	k := newSigner(t, "ecdsa").key
	good := entry(t, k, "verifiers: [v]")
	if _, err := attest.ParseTrust([]byte(trustHead + good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, data, why string }{
		{"nothing", "", ""},
		{"not YAML", "{", ""},
		{"another kind", "apiVersion: assay.dev/v1alpha1\nkind: Gate\n", `kind is "Gate"; expected Trust`},
		{"another version", "apiVersion: v1\nkind: Trust\n", `write assay.dev/v1alpha1`},
		{"two documents", trustHead + good + "---\n" + trustHead + good, "holds 2 documents"},
		{"unknown field", trustHead + entry(t, k, "verifers: [v]"), "verifers"},
		{"no keys", "apiVersion: assay.dev/v1alpha1\nkind: Trust\nmetadata: {name: x}\nspec: {keys: []}\n", "nobody would be believed"},
		{"no name", strings.Replace(trustHead, "release", "''", 1) + good, "metadata.name"},
		{"no verifier", trustHead + entry(t, k, "verifiers: []"), "spec.keys[0].verifiers is empty"},
		{"a key twice", trustHead + good + good, "which spec.keys[0] holds already"},
		{"window that never was", trustHead + entry(t, k, "verifiers: [v]", "notBefore: 2026-02-01T00:00:00Z", "notAfter: 2026-01-01T00:00:00Z"), "it would never be valid"},
		{"date without a time", trustHead + entry(t, k, "verifiers: [v]", "notAfter: 2026-01-01"), "not a time"},
		{"revoked without a reason", trustHead + entry(t, k, "verifiers: [v]", "revoked: {compromisedSince: 2026-01-01T00:00:00Z}"), "say why"},
		{"line break in a name", trustHead + entry(t, k, "verifiers: [v]", `name: "a\nb"`), "spec.keys[0].name"},
		{"identity without a subject", trustHead + good + "  identities:\n    - {issuer: i, verifiers: [v]}\n", "spec.identities[0].subject is missing"},
		{"identity with two issuers", trustHead + good + "  identities:\n    - {issuer: i, issuerPattern: i, subject: s, verifiers: [v]}\n", "given twice"},
		{"identity for nothing", trustHead + good + "  identities:\n    - {issuer: i, subject: s}\n", "spec.identities[0].verifiers is empty"},
		{"pattern that is none", trustHead + good + "  identities:\n    - {issuer: i, subjectPattern: '(', verifiers: [v]}\n", "not a regular expression"},
		{"too many keys", trustHead + strings.Repeat(good, attest.MaxTrustedKeys+1), "at most 64"},
		{"too large", strings.Repeat("#", attest.MaxTrust+1), "at most"},
	} {
		_, err := attest.ParseTrust([]byte(c.data))
		if err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v; want %q", c.name, err, c.why)
		}
	}
}

func TestAKeyThatIsNotAcceptedSaysWhy(t *testing.T) {
	spki := func(pub any) []byte {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// A weak key that Go itself no longer makes: openssl genrsa 1024.
	weak := `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDEhz6JI2aax0yYD7P4gHs9a+R4
yoDnu0lz2TAT1IoHww5VXyrTmL6SaAhiYgofH0+oIFg0mexvTMWJLxcX2dVBBUEa
jGM8fw+B9dC0pbLrYTwwe3jjm2CXhkIT+xRSY5ijeYlftTMWlQdsgfIDpAF/bQP/
2y1THNFbRG87Aohe5wIDAQAB
-----END PUBLIC KEY-----
`
	for _, c := range []struct {
		name string
		data []byte
		why  string
	}{
		{"RSA", spki(&strong.PublicKey), "is RSA with 2048 bits; expected ECDSA P-256 or Ed25519"},
		{"weak RSA", []byte(weak), "is RSA with 1024 bits, which is weak"},
		{"P-384", spki(&p384.PublicKey), "is ECDSA P-384"},
		{"private key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte{0}}), "private key"},
		{"certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0}}), `PEM block "CERTIFICATE"`},
		{"damaged", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{0x30, 0}}), "damaged or of an unknown type"},
		{"two keys", append(spki(&p384.PublicKey), spki(&p384.PublicKey)...), "expected one key"},
		{"no PEM", []byte("ssh-ed25519 AAAA"), "is not PEM"},
	} {
		_, err := attest.ParsePublicKey(c.data)
		if assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v; want %q", c.name, err, c.why)
		}
	}
}

func FuzzParseTrust(f *testing.F) {
	k := newSigner(f, "ed25519").key
	f.Add([]byte(trustHead + entry(f, k, "verifiers: [v]", "name: a")))
	f.Add([]byte(trustHead + entry(f, k, "verifiers: [v]", "revoked: {reason: x, compromisedSince: 2026-01-01T00:00:00Z}", "notAfter: 2026-01-01T00:00:00.5+01:00")))
	f.Fuzz(func(t *testing.T, data []byte) {
		trust, err := attest.ParseTrust(data)
		if err != nil {
			wantOneLine(t, err)
			return
		}
		again, err := attest.MarshalTrust(trust)
		if err != nil {
			t.Fatalf("a trust file that was read cannot be written: %v", err)
		}
		same, err := attest.ParseTrust(again)
		if err != nil || fmt.Sprint(len(same.Policy.Keys), same.Name) != fmt.Sprint(len(trust.Policy.Keys), trust.Name) {
			t.Fatalf("it does not survive writing: %v", err)
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	block, err := attest.MarshalPublicKey(newSigner(f, "ecdsa").key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(block)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := attest.ParsePublicKey(data); err != nil {
			wantOneLine(t, err)
		}
		if _, err := attest.ParsePublicDER(data); err != nil {
			wantOneLine(t, err)
		}
	})
}
