package attest_test

import (
	"bytes"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

func FuzzParseBundle(f *testing.F) {
	s := newSigner(f, "ed25519")
	f.Add(signed(f, s, statement(f, verdict(assay.OutcomePass, assay.ModeEnforce))))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{"payload":"aGk","payloadType":"t","signatures":[{"sig":"AA"}]}}`))
	f.Add([]byte(`{"mediaType":null,"verificationMaterial":{"certificate":{"rawBytes":""}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := attest.ParseBundle(data)
		if err != nil {
			wantOneLine(t, err)
			return
		}
		if b.Certificate {
			return // kept as its signer wrote it
		}
		b.Envelope.Signatures[0].KeyID = b.Hint
		again, err := attest.MarshalBundle(b)
		if err != nil {
			t.Fatal(err)
		}
		c, err := attest.ParseBundle(again)
		if err != nil || !bytes.Equal(c.Envelope.Payload, b.Envelope.Payload) {
			t.Fatalf("a bundle does not survive writing: %v", err)
		}
	})
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add(helloEnvelope("aGVsbG8gd29ybGQ=", helloType, "k", helloSig))
	f.Add([]byte(`{"payload":"","signatures":[{"sig":"_-"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := attest.ParseEnvelope(data); err != nil {
			wantOneLine(t, err)
		} else if len(e.Payload) == 0 && len(e.Signatures) == 0 {
			t.Fatal("an envelope without content was accepted")
		}
	})
}

func FuzzParseSigned(f *testing.F) {
	s := newSigner(f, "ed25519")
	f.Add(signed(f, s, statement(f, verdict(assay.OutcomeFail, assay.ModeEnforce))))
	f.Add(helloEnvelope("aGVsbG8gd29ybGQ=", helloType, "k", helloSig))
	policy := trust(s.key)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := attest.ParseSigned(data); err != nil {
			wantOneLine(t, err)
		}
		if r := attest.Verify(data, policy, expect(), now); r.OK() {
			t.Fatal("input of the fuzzer verified")
		}
	})
}

func FuzzParseStatement(f *testing.F) {
	f.Add(statement(f, verdict(assay.OutcomePass, assay.ModeEnforce)))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"a":"b"}}],"predicateType":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := attest.ParseStatement(data); err != nil {
			wantOneLine(t, err)
		}
	})
}

func FuzzParseSummary(f *testing.F) {
	for _, o := range []assay.Outcome{assay.OutcomePass, assay.OutcomeAbsent} {
		st, err := attest.ParseStatement(statement(f, verdict(o, assay.ModeEnforce)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(st.Predicate))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := attest.ParseSummary(data)
		if err != nil {
			wantOneLine(t, err)
		} else if s.VerificationResult != attest.ResultPassed && s.VerificationResult != attest.ResultFailed {
			t.Fatalf("result %q was accepted", s.VerificationResult)
		}
	})
}

func FuzzParseTestResult(f *testing.F) {
	f.Add([]byte(`{"result":"PASSED","configuration":[{"digest":{"sha256":"aa"}}],"passedTests":["a"]}`))
	f.Add([]byte(`{"result":"WARNED","configuration":[{}],"https://assay.dev/test-result/counts/v1":{"passed":1,"failed":0,"skipped":0,"flaky":1,"listed":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := attest.ParseTestResult(data)
		if err != nil {
			wantOneLine(t, err)
		} else if r.Describe() == "" || r.Result == attest.ResultPassed && len(r.FailedTests) > 0 {
			t.Fatalf("accepted %+v", r)
		}
	})
}

func FuzzParseVulns(f *testing.F) {
	f.Add(true, []byte(`{"scanner":{"uri":"x","result":{"a":1}},"metadata":{}}`))
	f.Add(false, []byte(`{"scanner":{"uri":"x","version":"1","db":{"lastUpdate":"2026-10-01T00:00:00Z"},"result":[{"id":"CVE-1","severity":[{"method":"nvd","score":"9.8"}]}]}}`))
	f.Fuzz(func(t *testing.T, cosign bool, data []byte) {
		kind := assay.VulnsPredicateType
		if cosign {
			kind = "https://cosign.sigstore.dev/attestation/vuln/v1"
		}
		v, err := attest.ParseVulns(kind, data)
		if err != nil {
			wantOneLine(t, err)
		} else if v.Scanner.URI == "" || cosign != (v.Scanner.Report != nil) {
			t.Fatalf("accepted %+v", v)
		}
	})
}

func FuzzParseException(f *testing.F) {
	x, err := attest.ExceptionStatement(assay.Exception{ID: "x", State: assay.ExceptionApproved, Approver: "kim", NotAfter: now})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := attest.ParseException(data); err != nil {
			wantOneLine(t, err)
		}
	})
}

func FuzzParseProof(f *testing.F) {
	p, err := attest.MarshalProof(proof(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := attest.ParseProof(data)
		if err != nil {
			wantOneLine(t, err)
			return
		}
		again, err := attest.MarshalProof(p)
		if err != nil {
			t.Fatalf("a proof that was read cannot be written: %v", err)
		}
		if q, err := attest.ParseProof(again); err != nil || q.BundleDigest() != p.BundleDigest() {
			t.Fatalf("a proof does not survive writing: %v", err)
		}
	})
}

// wantOneLine demands an error a person can act on: with a code, on one line, without control characters.
func wantOneLine(t *testing.T, err error) {
	t.Helper()
	if c := assay.CodeOf(err); c == assay.CodeInternal || c == "" {
		t.Fatalf("error without a useful code: %v", err)
	}
	for _, r := range err.Error() {
		if r < 0x20 || r == 0x7f {
			t.Fatalf("error holds a control character: %q", err)
		}
	}
}
