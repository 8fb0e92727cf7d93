package sigstore_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/sigstore"
	"github.com/transparency-dev/merkle/rfc6962"
)

// private are the options of a deployment without a certificate log, as the world of these tests is.
var private = sigstore.Options{IgnoreSCT: true}

func digest(of string) assay.Digest { return assay.DigestOf(sha256.Sum256([]byte(of))) }

// summary is a verification summary about the artifact "binary".
func summary(t testing.TB) []byte {
	t.Helper()
	s, err := attest.VSA(assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Environment: "prod", Outcome: assay.OutcomePass, Time: now,
		Subject: assay.Subject{Name: "greet", Digest: digest("binary"), URI: "pkg:generic/greet"},
		Policy:  assay.PolicyRef{URI: "dir:policies", Digest: digest("policy")}, Levels: []string{"RELEASE"},
	}, attest.VSAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func expect() attest.Expect {
	return attest.Expect{Subject: string(digest("binary")), ResourceURI: "pkg:generic/greet", Levels: []string{"RELEASE"}}
}

func (w *world) policy() attest.TrustPolicy {
	return attest.TrustPolicy{
		Authority:  w.authority(private),
		Identities: []attest.TrustedIdentity{{Issuer: attest.Exactly(issuer), Subject: attest.Exactly(identity), VerifierIDs: []string{assay.DefaultVerifierID}}},
	}
}

// wantStop demands that exactly this step failed, with these words.
func wantStop(t *testing.T, r attest.Report, step, words string) {
	t.Helper()
	for _, s := range r.Steps {
		if s.OK {
			continue
		}
		if s.Name != step || !strings.Contains(s.Detail, words) {
			t.Errorf("step %d (%s): %s; want %s to fail with %q", s.N, s.Name, s.Detail, step, words)
		}
		return
	}
	t.Errorf("nothing failed: %+v; want %s to fail with %q", r.Steps, step, words)
}

func TestKeylessSummaryWalksTheSevenSteps(t *testing.T) {
	w := newWorld(t, now.AddDate(-1, 0, 0))
	r := attest.Verify(w.sign(summary(t), signing{}), w.policy(), expect(), now.Add(time.Minute))
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if len(r.Steps) != 9 || r.Signer == nil || r.Signer.Subject != identity || r.Signer.Issuer != issuer || !r.SignedAt.Equal(now) || r.Summary == nil {
		t.Errorf("report = %+v; want nine steps, the signer, the time and the summary", r)
	}
	if d := r.Steps[0].Detail; !strings.Contains(d, identity) || !strings.Contains(d, "timestamp authority https://time.example.com") {
		t.Errorf("step 1 says %q; want who signed, and who saw it", d)
	}
	if d := r.Steps[3].Detail; !strings.Contains(d, "may sign for "+assay.DefaultVerifierID) {
		t.Errorf("step 4 says %q; want the pair of identity and verifier", d)
	}
}

func TestWhatIsTrustedOfAnIdentity(t *testing.T) {
	w := newWorld(t, now.AddDate(-1, 0, 0))
	good := w.sign(summary(t), signing{})
	fitting := func(expr string) attest.Match {
		m, err := attest.Fitting(expr)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, c := range []struct {
		name   string
		change func(*attest.TrustedIdentity)
		step   string // "" if it verifies
		words  string
	}{
		{"another identity", func(i *attest.TrustedIdentity) { i.Subject = attest.Exactly("https://github.com/example/other") }, "signature", "signed by identity"},
		{"another issuer", func(i *attest.TrustedIdentity) { i.Issuer = attest.Exactly("https://accounts.example.com") }, "signature", "vouched for by issuer"},
		{"a pattern that fits", func(i *attest.TrustedIdentity) { i.Subject = fitting(`https://github\.com/example/greet/.*`) }, "", ""},
		{"a pattern that fits a part only", func(i *attest.TrustedIdentity) { i.Subject = fitting(`github\.com/example/greet`) }, "signature", "one that fits"},
		{"nothing said", func(i *attest.TrustedIdentity) { i.Subject = attest.Match{} }, "signature", "signed by identity"},
		{"another verifier", func(i *attest.TrustedIdentity) { i.VerifierIDs = []string{"https://example.com/gate"} }, "verifier", "expected https://example.com/gate with this identity"},
		{"no verifier", func(i *attest.TrustedIdentity) { i.VerifierIDs = nil }, "verifier", "not trusted for any verifier"},
		{"another environment", func(i *attest.TrustedIdentity) { i.Environments = []string{"staging"} }, "verifier", `found environment "prod"`},
		{"no longer trusted when it signed", func(i *attest.TrustedIdentity) { i.NotAfter = now.Add(-time.Second) }, "verifier", "trusted until"},
		{"not yet trusted when it signed", func(i *attest.TrustedIdentity) { i.NotBefore = now.Add(time.Second) }, "verifier", "not trusted before"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := w.policy()
			c.change(&p.Identities[0])
			r := attest.Verify(good, p, expect(), now)
			if c.step != "" {
				wantStop(t, r, c.step, c.words)
			} else if err := r.Err(); err != nil {
				t.Error(err)
			}
		})
	}
	none := w.policy()
	none.Identities = nil
	wantStop(t, attest.Verify(good, none, expect(), now), "signature", "no certificate identity is trusted")
	for _, broken := range []string{"(", `a)|(?:.*`, `a)\z|(?:`, `a)(?:.*`} { // the latter leave the brackets that anchor them
		if m, err := attest.Fitting(broken); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("pattern %s is taken as %s, %v; want invalid", broken, m, err)
		}
	}
}

// Every way in which a keyless bundle can be wrong has its own answer.
func TestBadKeylessInput(t *testing.T) {
	w := newWorld(t, now.AddDate(-1, 0, 0))
	stranger := newWorld(t, now.AddDate(-1, 0, 0))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other := newKey(t, elliptic.P256())
	for _, c := range []struct {
		name  string
		how   signing
		words string
	}{
		{"expired certificate", signing{certificate: now.Add(-time.Hour)}, "certificate: it was not valid at the time of signing"},
		{"clock skew: certificate not yet valid", signing{certificate: now.Add(time.Second)}, "certificate: it was not valid at the time of signing"},
		{"certificate by a stranger", signing{parent: &stranger.middle}, "no authority of the trusted root issued it"},
		{"algorithm confusion: RSA-PSS where PKCS #1 is meant", signing{key: rsaKey, sign: func(m []byte) []byte {
			sum := sha256.Sum256(m)
			sig, _ := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, sum[:], nil)
			return sig
		}}, "signature: it does not fit the statement and the signer's key"},
		{"algorithm confusion: signed by a key of another kind", signing{sign: func(m []byte) []byte {
			sum := sha256.Sum256(m)
			sig, _ := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
			return sig
		}}, "signature: it does not fit the statement and the signer's key"},
		{"wrong key", signing{sign: func(m []byte) []byte {
			sum := sha256.Sum256(m)
			sig, _ := other.Sign(rand.Reader, sum[:], crypto.SHA256)
			return sig
		}}, "signature: it does not fit the statement and the signer's key"},
		{"forked checkpoint: the log signed another tree", signing{tree: func([]byte) (int, []byte) {
			return 2, rfc6962.DefaultHasher.HashLeaf([]byte("fork"))
		}}, "the log does not hold this signature"},
		{"tampered checkpoint", signing{note: func(s string) string { return strings.Replace(s, "\n2\n", "\n3\n", 1) }}, "the checkpoint was changed after the log signed it"},
		{"checkpoint of another log", signing{note: func(s string) string { return strings.ReplaceAll(s, logName, "rekor.example.org") }}, "the checkpoint is not signed by the log"},
		{"timestamp over another signature", signing{stamped: func([]byte) []byte { return []byte("x") }}, "timestamp: it is over another signature"},
		{"no log entry", signing{change: func(_, m, _ map[string]any) { delete(m, "tlogEntries") }}, "transparency log: the bundle has no log entry"},
		{"no timestamp", signing{change: func(_, m, _ map[string]any) { delete(m, "timestampVerificationData") }}, "timestamp: there is none"},
		{"two signatures in a bundle", signing{change: func(b, _, _ map[string]any) {
			e := b["dsseEnvelope"].(map[string]any)
			e["signatures"] = append(e["signatures"].([]any), e["signatures"].([]any)...)
		}}, "exactly one"},
		{"too many log entries", signing{change: func(_, m, e map[string]any) {
			for range attest.MaxLogEntries {
				m["tlogEntries"] = append(m["tlogEntries"].([]any), e)
			}
		}}, "at most 32"},
		{"the same entry twice", signing{change: func(_, m, e map[string]any) { m["tlogEntries"] = []any{e, e} }}, "stands in the bundle twice"},
		{"zip bomb: a length of a gigabyte in the timestamp", signing{change: func(_, m, _ map[string]any) {
			m["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": gigabyteDER()}}}
		}}, "timestamp: none holds"},
		{"zip bomb: a length of a gigabyte in the certificate", signing{change: func(_, m, _ map[string]any) {
			m["certificate"] = map[string]any{"rawBytes": gigabyteDER()}
		}}, "certificate: "},
		{"zip bomb: a log entry of deep JSON", signing{change: func(_, _, e map[string]any) {
			e["canonicalizedBody"] = []byte(strings.Repeat(`{"a":`, 1<<19) + "1" + strings.Repeat("}", 1<<19))
		}}, "transparency log: the entry cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			wantStop(t, attest.Verify(w.sign(summary(t), c.how), w.policy(), expect(), now), "signature", c.words)
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("it took %s to refuse", d)
			}
		})
	}
	t.Run("clock skew: signed in the future", func(t *testing.T) {
		wantStop(t, attest.Verify(w.sign(summary(t), signing{}), w.policy(), expect(), now.Add(-time.Hour)), "time", "in the future")
	})
	t.Run("replayed bundle: another artifact", func(t *testing.T) {
		want := expect()
		want.Subject = string(digest("other"))
		wantStop(t, attest.Verify(w.sign(summary(t), signing{}), w.policy(), want, now), "subject digest", "expected "+want.Subject)
	})
	t.Run("a root of another world", func(t *testing.T) {
		p := w.policy()
		p.Authority = stranger.authority(private)
		wantStop(t, attest.Verify(w.sign(summary(t), signing{}), p, expect(), now), "signature", "no entry is by a log that the trusted root names")
	})
	t.Run("a certificate log is demanded by default", func(t *testing.T) {
		p := w.policy()
		p.Authority = w.authority(sigstore.Options{})
		wantStop(t, attest.Verify(w.sign(summary(t), signing{}), p, expect(), now), "signature", "certificate log: ")
	})
}

// gigabyteDER begins an ASN.1 sequence that claims a gigabyte, and ends.
func gigabyteDER() []byte { return []byte{0x30, 0x84, 0x40, 0, 0, 0, 0x30, 0x03, 2, 1, 0} }

func TestOptionsTakeAwayDemandsOneByOne(t *testing.T) {
	w := newWorld(t, now.AddDate(-1, 0, 0))
	unlogged := w.sign(summary(t), signing{change: func(_, m, _ map[string]any) { delete(m, "tlogEntries") }})
	unstamped := w.sign(summary(t), signing{change: func(_, m, _ map[string]any) { delete(m, "timestampVerificationData") }})
	p := w.policy()
	p.Authority = w.authority(sigstore.Options{IgnoreSCT: true, IgnoreLog: true})
	if err := attest.Verify(unlogged, p, expect(), now).Err(); err != nil {
		t.Errorf("without a log entry, which is not demanded: %v", err)
	}
	wantStop(t, attest.Verify(unstamped, p, expect(), now), "signature", "timestamp: ")
	p.Authority = w.authority(sigstore.Options{IgnoreSCT: true, SignedTimestamps: true})
	if err := attest.Verify(w.sign(summary(t), signing{}), p, expect(), now).Err(); err != nil {
		t.Errorf("with a signed timestamp, which is demanded: %v", err)
	}
	a, b := w.authority(private), w.authority(sigstore.Options{})
	if a.ID() == b.ID() {
		t.Error("authorities that demand different things have one ID")
	}
}

func TestPlainSignatureOfAFile(t *testing.T) {
	w := newWorld(t, now.AddDate(-1, 0, 0))
	bundle := w.sign(nil, signing{plain: []byte("binary")})
	want := attest.Expect{Subject: string(digest("binary")), Type: attest.TypeSignature}
	r := attest.Verify(bundle, w.policy(), want, now)
	if err := r.Err(); err != nil || r.Statement != nil || r.Signer == nil {
		t.Errorf("report = %+v, %v; want a signer and no statement", r, err)
	}
	want.Subject = string(digest("other"))
	wantStop(t, attest.Verify(bundle, w.policy(), want, now), "signature", "the signature is over "+string(digest("binary")))
	want.Subject = ""
	wantStop(t, attest.Verify(bundle, w.policy(), want, now), "signature", "no expected subject")
	wantStop(t, attest.Verify(bundle, w.policy(), expect(), now), "signature", "signs a file, not a statement")
	want.Subject = string(digest("binary"))
	wantStop(t, attest.Verify(w.sign(summary(t), signing{}), w.policy(), want, now), "signature", "holds a statement")
}

func TestTrustedRootIsReadStrictly(t *testing.T) {
	good := string(newWorld(t, now.AddDate(-1, 0, 0)).trustedRoot())
	for name, c := range map[string]struct{ data, words string }{
		"not JSON":         {"{", "ends before"},
		"an unknown field": {strings.Replace(good, "{", `{"extraTrust":1,`, 1), "is not a trusted root"},
		"a duplicate key":  {strings.Replace(good, "{", `{"tlogs":[],`, 1), "duplicate key"},
		"another type":     {strings.Replace(good, "trustedroot", "trustedtree", 1), "media type"},
		"a broken key":     {strings.Replace(good, "MCowBQ", "AAAABQ", 1), "is not a trusted root"},
		"too large":        {good + strings.Repeat(" ", sigstore.MaxTrustedRoot), "at most 4194304"},
	} {
		if _, err := sigstore.ParseTrustedRoot([]byte(c.data), sigstore.Options{}); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v; want an error with %q", name, err, c.words)
		}
	}
}
