//go:build !race

package attest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

// Megabytes that are refused, and a bundle that is damaged at every byte: work of one goroutine,
// which takes ten times as long under the race detector. It watches a sample (sample_test.go).

func TestEveryByteFlipFailsOrChangesNothing(t *testing.T) { flipBytes(t, 1) }

// Every kind of bad input has its own answer, soon and in little memory.
func TestBadInput(t *testing.T) {
	s, stranger, ed := newSigner(t, "ecdsa"), newSigner(t, "ecdsa"), newSigner(t, "ed25519")
	pass := statement(t, verdict(assay.OutcomePass, assay.ModeEnforce))
	good := signed(t, s, pass)
	deep := strings.Repeat(`{"a":`, 1<<19) + "1" + strings.Repeat("}", 1<<19)
	bomb := gzipped(t, bytes.Repeat([]byte{' '}, 64<<20))
	stripped := func(field string) []byte {
		var st map[string]any
		if err := json.Unmarshal(pass, &st); err != nil {
			t.Fatal(err)
		}
		delete(st["predicate"].(map[string]any), field)
		out, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		return signed(t, s, out)
	}
	expired := trust(s.key)
	expired.Keys[0].NotAfter = now.Add(-time.Hour)
	replay := expect()
	replay.Subject = string(digest("another artifact"))
	elsewhere := expect()
	elsewhere.ResourceURI = "pkg:generic/another"
	two := edit(t, good, func(_, _, e map[string]any) {
		e["signatures"] = append(e["signatures"].([]any), e["signatures"].([]any)[0])
	})
	for _, c := range []struct {
		name   string
		data   []byte
		policy attest.TrustPolicy
		want   attest.Expect
		step   string
		words  string
	}{
		{"wrong key", good, trust(stranger.key), expect(), "signature", "no signature is by one of the 1 trusted key(s)"},
		{"expired key", good, expired, expect(), "verifier", "expired"},
		{"wrong subject", good, trust(s.key), replay, "subject digest", "expected " + replay.Subject},
		{"replayed bundle: another resource", good, trust(s.key), elsewhere, "resource URI", `expected "pkg:generic/another"`},
		{"two signatures in a bundle", two, trust(s.key), expect(), "signature", "exactly one"},
		{"algorithm confusion: an ECDSA signature under an Ed25519 key", good, trust(ed.key), expect(), "signature", "no signature is by"},
		{"algorithm confusion: an Ed25519 signature that claims an ECDSA key", edit(t, signed(t, ed, pass), func(_, m, e map[string]any) {
			m["publicKey"] = map[string]any{"hint": s.KeyID()}
			e["signatures"].([]any)[0].(map[string]any)["keyid"] = s.KeyID()
		}), trust(s.key), expect(), "signature", "was changed after signing"},
		{"stripped VSA: no verifier", stripped("verifier"), trust(s.key), expect(), "predicate type", "verifier.id is missing"},
		{"stripped VSA: no resource", stripped("resourceUri"), trust(s.key), expect(), "predicate type", "resourceUri is missing"},
		{"stripped VSA: no result", stripped("verificationResult"), trust(s.key), expect(), "predicate type", "verificationResult is missing"},
		{"stripped VSA: no levels", stripped("verifiedLevels"), trust(s.key), expect(), "predicate type", "verifiedLevels is missing"},
		{"stripped VSA: no policy", stripped("policy"), trust(s.key), expect(), "predicate type", "policy.uri is missing"},
		{"clock skew: a summary of the future", signed(t, s, bytes.Replace(pass, []byte("2026-11-02T09:30:00Z"), []byte("2026-11-02T10:30:00Z"), 1)), trust(s.key), expect(), "time", "in the future"},
		{"zip bomb: a compressed bundle", bomb, trust(s.key), expect(), "signature", "compressed (gzip)"},
		{"zip bomb: a compressed payload", foreign(t, s, bomb), trust(s.key), expect(), "subject digest", "compressed (gzip)"},
		{"zip bomb: deep JSON around the envelope", []byte(`{"mediaType":` + deep + `}`), trust(s.key), expect(), "signature", "deep"},
		{"zip bomb: a signed payload of deep JSON", foreign(t, s, []byte(deep)), trust(s.key), expect(), "subject digest", "deep"},
		{"zip bomb: a signature that claims a gigabyte", edit(t, good, func(_, _, e map[string]any) {
			e["signatures"].([]any)[0].(map[string]any)["sig"] = base64.StdEncoding.EncodeToString([]byte{0x30, 0x84, 0x40, 0, 0, 0, 2, 1, 1})
		}), trust(s.key), expect(), "signature", "was changed after signing"},
		{"a bundle above the limit", append(bytes.Clone(good), bytes.Repeat([]byte{' '}, attest.MaxBundle)...), trust(s.key), expect(), "signature", "at most 8388608"},
		{"a payload above the limit", foreign(t, s, bytes.Repeat([]byte{' '}, attest.MaxStatement+1)), trust(s.key), expect(), "signature", "at most 4194304"},
		{"no input", nil, trust(s.key), expect(), "signature", "there is no attestation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			r := attest.Verify(c.data, c.policy, c.want, now)
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			wantStop(t, r, c.step, c.words)
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 128 || took > 5*time.Second {
				t.Errorf("refused after %s and %d MiB; want less than 5 s and 128 MiB", took, mib)
			}
		})
	}
}
