package proxy_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/enforce"
	"assay.dev/assay/enforce/proxy"
)

func TestANewTrustCountsForVersionsThatHaveTraffic(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	d := open(t, shop(version(t, s, "v1", backend(t, says("one")), 100)), s)
	if a := d.get("/"); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	revoked := s.trust()
	revoked.Keys[0].Revoked = &attest.Revocation{CompromisedSince: time.Now(), Reason: "laptop stolen"}
	for name, c := range map[string]struct {
		trust attest.TrustPolicy
		why   string
	}{
		"revoked key": {revoked, "laptop stolen"},
		"another key": {other.trust(), "no signature is by one of the 1 trusted key(s)"},
		"nobody":      {attest.TrustPolicy{}, "no key is trusted"},
	} {
		if err := d.p.Believe(c.trust, nil); err != nil {
			t.Fatal(err)
		}
		if p := d.get("/").problem(t); p.Code != assay.CodeDenied || p.Refusal == nil || !strings.Contains(p.Refusal.Detail, c.why) {
			t.Errorf("%s: %+v; want it refused with %q", name, p, c.why)
		}
		if v := d.version("v1"); v.Refusal == nil {
			t.Errorf("%s: the status does not show the refusal", name)
		}
		if err := d.p.Believe(s.trust(), nil); err != nil {
			t.Fatal(err)
		}
		if a := d.get("/"); a.status != http.StatusOK {
			t.Errorf("%s: believed again and refused: %d", name, a.status)
		}
	}
}

func TestAVersionMayComeWithWhatOnlyTheOperatorsVerifierReads(t *testing.T) {
	s := newSigner(t)
	v := version(t, s, "v1", backend(t, says("one")), 100)
	d := open(t, shop(v), s)
	var seen []byte
	recorded := time.Now().Add(-time.Hour)
	trust := s.trust()
	trust.Keys[0].Revoked = &attest.Revocation{CompromisedSince: recorded.Add(time.Minute), Reason: "stolen"}
	err := d.p.Believe(trust, func(data []byte, p attest.TrustPolicy, want attest.Expect, now time.Time) attest.Report {
		seen = data
		want.Recorded = recorded // as a proof in the file would show
		return attest.Verify(data, p, want, now)
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := d.get("/"); a.status != http.StatusOK || string(seen) != string(v.Attestations[0]) {
		t.Errorf("%d %s; want what was recorded before the compromise let in", a.status, a.body)
	}
}

func TestARevokedAttestationIsRefusedBeforeAndAfterARestartInWhateverFormItWasHandedIn(t *testing.T) {
	s := newSigner(t)
	signed := s.attests(t, "v1", time.Now())
	var spaced bytes.Buffer
	if err := json.Indent(&spaced, signed, "", "  "); err != nil {
		t.Fatal(err)
	}
	proof, err := attest.MarshalProof(attest.Proof{Bundle: signed, Fact: []byte("fact"), Leaf: []byte("leaf"), TlogProof: "proof"})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(data []byte, p attest.TrustPolicy, want attest.Expect, now time.Time) attest.Report {
		if proof, err := attest.ParseProof(data); err == nil {
			data = proof.Bundle
		}
		return attest.Verify(data, p, want, now)
	}
	for name, form := range map[string][]byte{"as it was signed": signed, "with spaces": spaced.Bytes(), "in a proof file": proof} {
		t.Run(name, func(t *testing.T) {
			v := version(t, s, "v1", backend(t, says("one")), 100)
			v.Attestations = []json.RawMessage{form}
			conf, dir := shop(v), t.TempDir()
			serve := func(initial enforce.Config, want int) *door {
				t.Helper()
				d := open(t, initial, s, func(o *proxy.Options) { o.Dir = dir })
				if err := d.p.Believe(s.trust(), verify); err != nil {
					t.Fatal(err)
				}
				if a := d.get("/"); a.status != want {
					t.Errorf("%d %s; want %d", a.status, a.body, want)
				}
				return d
			}
			d := serve(conf, http.StatusOK)
			revoked := conf
			revoked.Revoked = []assay.Digest{digest(string(signed))}
			if a := d.call(http.MethodPut, "/v1/config", enforce.Replacement{Generation: 1, Key: "k", Config: revoked}, nil); a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if a := d.get("/"); a.status != http.StatusForbidden || a.problem(t).Refusal.Name != "revocation" {
				t.Errorf("once it is revoked: %d %s", a.status, a.body)
			}
			d.stop()
			serve(enforce.Config{}, http.StatusForbidden).stop() // from what it stored
			dir = t.TempDir()
			serve(revoked, http.StatusForbidden).stop() // from the file, which no hop has written anew
		})
	}
}
