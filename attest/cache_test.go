package attest_test

import (
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

func TestCacheRemembersSignaturesAndNothingThatMayChange(t *testing.T) {
	s, other := newSigner(t, "ecdsa"), newSigner(t, "ed25519")
	bundle := signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
	cache := attest.NewCache(1 << 20)
	policy := func(keys ...attest.Key) attest.TrustPolicy {
		p := trust(keys...)
		p.Cache = cache
		return p
	}
	first := attest.Verify(bundle, policy(s.key), expect(), now)
	wantOK(t, first)
	if st := cache.Stats(); st.Hits != 0 || st.Misses != 1 || st.Entries != 1 {
		t.Errorf("after the first verification: %+v; want a miss and an entry", st)
	}
	again := attest.Verify(bundle, policy(s.key), expect(), now)
	wantOK(t, again)
	if st := cache.Stats(); st.Hits != 1 {
		t.Errorf("after the second verification: %+v; want a hit", st)
	}
	for i, step := range again.Steps {
		if step != first.Steps[i] {
			t.Errorf("step %d from the cache is %+v; want %+v", step.N, step, first.Steps[i])
		}
	}
	// What is asked anew: trust, revocation, windows, time, subject, resource, level.
	wantStop(t, attest.Verify(bundle, policy(other.key), expect(), now), "signature", "no signature is by one of the 1 trusted key(s)")
	wantStop(t, attest.Verify(bundle, policy(), expect(), now), "signature", "no key is trusted")
	revoked := policy(s.key)
	revoked.Keys[0].Revoked = &attest.Revocation{Reason: "stolen"}
	wantStop(t, attest.Verify(bundle, revoked, expect(), now), "verifier", "revoked")
	ended := policy(s.key)
	ended.Keys[0].NotAfter = now.Add(-time.Second)
	wantStop(t, attest.Verify(bundle, ended, expect(), now), "verifier", "expired")
	late := expect()
	late.MaxAge = time.Minute
	wantStop(t, attest.Verify(bundle, policy(s.key), late, now.Add(time.Hour)), "time", "expected at most 1m0s")
	replay := expect()
	replay.Subject = string(digest("other"))
	wantStop(t, attest.Verify(bundle, policy(s.key), replay, now), "subject digest", "expected "+replay.Subject)
	// A key that joins the policy is asked, and the answer for both is kept.
	both := policy(other.key, s.key)
	wantOK(t, attest.Verify(bundle, both, expect(), now))
	before := cache.Stats().Hits
	wantOK(t, attest.Verify(bundle, both, expect(), now))
	if got := cache.Stats().Hits; got != before+1 {
		t.Errorf("hits went from %d to %d; want one more", before, got)
	}
	two := both
	two.Threshold = 2
	wantStop(t, attest.Verify(bundle, two, expect(), now), "signature", "1 trusted key(s) signed; expected at least 2")
}

func TestCacheIsBoundedAndKeepsOutWhatNobodyTrustedSigned(t *testing.T) {
	s, stranger := newSigner(t, "ed25519"), newSigner(t, "ed25519")
	cache := attest.NewCache(100 << 10)
	p := trust(s.key)
	p.Cache = cache
	bundle := func(by memSigner, minutes int) []byte {
		v := verdict(assay.OutcomePass, assay.ModeEnforce)
		v.Time = now.Add(-time.Duration(minutes) * time.Minute)
		return signed(t, by, statement(t, v))
	}
	for i := range 20 {
		attest.Verify(bundle(stranger, i), p, expect(), now)
	}
	if st := cache.Stats(); st.Entries != 0 {
		t.Errorf("strangers filled the cache: %+v", st)
	}
	for i := range 50 {
		wantOK(t, attest.Verify(bundle(s, i), p, expect(), now))
	}
	st := cache.Stats()
	if st.Bytes > 100<<10 || st.Entries == 0 || st.Entries >= 50 {
		t.Errorf("50 documents: %+v; want at most 100 KiB, the newest of them", st)
	}
	wantOK(t, attest.Verify(bundle(s, 49), p, expect(), now))
	if got := cache.Stats().Hits; got != st.Hits+1 {
		t.Errorf("the newest was dropped: %+v", cache.Stats())
	}
	tiny := trust(s.key)
	tiny.Cache = attest.NewCache(1)
	wantOK(t, attest.Verify(bundle(s, 0), tiny, expect(), now))
	if st := tiny.Cache.Stats(); st.Entries != 0 || st.Bytes != 0 {
		t.Errorf("a document above the limit was kept: %+v", st)
	}
}

func TestCacheServesManyAtOnce(t *testing.T) {
	s := newSigner(t, "ed25519")
	p := trust(s.key)
	p.Cache = attest.NewCache(64 << 10)
	var bundles [][]byte
	for i := range 20 {
		v := verdict(assay.OutcomePass, assay.ModeEnforce)
		v.Time = now.Add(-time.Duration(i) * time.Minute)
		bundles = append(bundles, signed(t, s, statement(t, v)))
	}
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 100 {
				if err := attest.Verify(bundles[(i*7+g)%len(bundles)], p, expect(), now).Err(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkVerifyCached(b *testing.B) {
	s := newSigner(b, "ecdsa")
	bundle := signed(b, s, statement(b, verdict(assay.OutcomePass, assay.ModeEnforce)))
	policy, want := trust(s.key), expect()
	policy.Cache = attest.NewCache(1 << 20)
	for b.Loop() {
		if !attest.Verify(bundle, policy, want, now).OK() {
			b.Fatal("does not verify")
		}
	}
}
