package ledger_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/memtree"
	"assay.dev/assay/store/mem"
	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

var clock = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

// cosigner is a witness key; seed tells keys apart.
func cosigner(t testing.TB, seed uint64, name string, now time.Time) *ledger.Cosigner {
	t.Helper()
	skey, _, err := ledger.GenerateKey(&stream{seed}, name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ledger.NewCosigner(skey, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func policy(t testing.TB, text string) *ledger.WitnessPolicy {
	t.Helper()
	p, err := ledger.ParseWitnessPolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// history is a log and all its heads, by size.
type history struct {
	log   *memtree.Log
	heads [][]byte
	vkey  string
}

// newHistory makes a log of n leaves. Logs of one seed have one key; leaves differ
// from the first on if fork is set.
func newHistory(t *testing.T, seed uint64, origin string, n int) *history {
	t.Helper()
	signer, _ := keys(t, seed, origin)
	_, vkey, err := ledger.GenerateKey(&stream{seed}, origin)
	if err != nil {
		t.Fatal(err)
	}
	h := &history{vkey: vkey}
	h.log = newLog(t, signer, func(_ int, cp []byte) { h.heads = append(h.heads, bytes.Clone(cp)) }, n)
	return h
}

// offer is a request for a cosignature as C2SP defines it.
func (h *history) offer(t *testing.T, older, newer int) string {
	t.Helper()
	hashes, err := ledger.ConsistencyHashes(t.Context(), h.log, uint64(older), uint64(newer))
	if err != nil {
		t.Fatal(err)
	}
	return request(older, hashes, h.heads[newer])
}

func request(older int, hashes [][]byte, head []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", older)
	for _, x := range hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(x) + "\n")
	}
	return b.String() + "\n" + string(head)
}

func post(t *testing.T, h http.Handler, body string) (status int, kind, answer string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/add-checkpoint", strings.NewReader(body)))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, w.Header().Get("Content-Type"), string(b)
}

func newWitness(t testing.TB, s *mem.Store, c *ledger.Cosigner, logs ...string) *ledger.WitnessHandler {
	t.Helper()
	h, err := ledger.NewWitnessHandler(ledger.WitnessConfig{Store: s, Cosigner: c, Logs: logs})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestWitnessAnswersAsC2SPSays(t *testing.T) {
	log := newHistory(t, 1, "log.example/a", 20)
	stranger := newHistory(t, 2, "log.example/stranger", 3)
	impostor := newHistory(t, 3, "log.example/a", 5) // the name of a, another key
	fork := forked(t, 1, "log.example/a", 20)
	state := mem.New(mem.Config{})
	c := cosigner(t, 9, "witness.example/w", clock)
	h := newWitness(t, state, c, log.vkey)

	many := make([][]byte, ledger.MaxWitnessHashes+1)
	for i := range many {
		many[i] = make([]byte, 32)
	}
	hashes, err := ledger.ConsistencyHashes(t.Context(), log.log, 8, 12)
	if err != nil {
		t.Fatal(err)
	}
	wrong := append([][]byte{bytes.Repeat([]byte{7}, 32)}, hashes[1:]...)
	steps := []struct {
		name, body string
		status     int
		says       string
	}{
		{"an unknown origin", stranger.offer(t, 0, 3), 404, "log.example/stranger"},
		{"no signature of the log's key", impostor.offer(t, 0, 5), 403, "no signature of key"},
		{"an old size that is not the kept one", log.offer(t, 3, 8), 409, "0\n"},
		{"an old size above the checkpoint's", request(9, nil, log.heads[8]), 400, "above"},
		{"a first head", log.offer(t, 0, 8), 200, "— witness.example/w "},
		{"the same head again", log.offer(t, 8, 8), 200, "— witness.example/w "},
		{"an old size from before", log.offer(t, 0, 12), 409, "8\n"},
		{"a proof with a wrong hash", request(8, wrong, log.heads[12]), 422, "log.example/a"},
		{"a proof that is cut off", request(8, hashes[1:], log.heads[12]), 422, "log.example/a"},
		{"a forked head of the same size", fork.offer(t, 8, 8), 422, "log.example/a"},
		{"a forked head that is newer", fork.offer(t, 8, 12), 422, "log.example/a: the head of size 12 does not extend the one of size 8"},
		{"what follows", log.offer(t, 8, 20), 200, "— witness.example/w "},
		{"an older head", request(8, nil, log.heads[8]), 409, "20\n"},
		{"64 hashes", request(20, many, log.heads[20]), 400, "more than 63 hashes"},
		{"a checkpoint above the limit", request(20, nil, append(bytes.Clone(log.heads[20]), bytes.Repeat([]byte("— x AAAAAAAA\n"), 6000)...)), 400, "more than"},
		{"no old line", string(log.heads[20]), 400, "old SIZE"},
		{"a negative old size", "old -1\n\n" + string(log.heads[20]), 400, "old SIZE"},
		{"an old size with a zero before it", "old 020\n\n" + string(log.heads[20]), 400, "old SIZE"},
		{"a hash that is no base64", "old 20\n!\n\n" + string(log.heads[20]), 400, "base64"},
		{"nothing", "", 400, "old SIZE"},
		{"no checkpoint", "old 20\n\n", 400, "checkpoint"},
	}
	for _, s := range steps {
		status, kind, answer := post(t, h, s.body)
		if status != s.status || !strings.Contains(answer, s.says) {
			t.Errorf("%s: %d %q, want %d with %q", s.name, status, answer, s.status, s.says)
		}
		if isSize := kind == "text/x.tlog.size"; isSize != (s.status == 409) {
			t.Errorf("%s: content type %q with status %d", s.name, kind, status)
		}
	}
	// A new process with the same store remembers.
	if status, _, answer := post(t, newWitness(t, state, c, log.vkey), log.offer(t, 0, 20)); status != 409 || answer != "20\n" {
		t.Errorf("after a restart the witness answered %d %q, want 409 with size 20", status, answer)
	}
}

// forked is a log with the key and name of another, and other leaves.
func forked(t *testing.T, seed uint64, origin string, n int) *history {
	t.Helper()
	signer, _ := keys(t, seed, origin)
	h := &history{log: memtree.New(signer)}
	tree, err := h.log.Opener()(t.Context(), func(context.Context, ledger.Tree) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i := range n + 1 {
		cp, err := h.log.ReadCheckpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h.heads = append(h.heads, bytes.Clone(cp))
		if _, err := tree.Append(t.Context(), [][]byte{fmt.Appendf(nil, "forged leaf %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestCosignaturesAreThoseOfTransparencyDevFormats(t *testing.T) {
	log := newHistory(t, 1, "log.example/a", 3)
	c := cosigner(t, 9, "witness.example/w", clock)
	h := newWitness(t, mem.New(mem.Config{}), c, log.vkey)
	_, _, line := post(t, h, log.offer(t, 0, 3))
	theirs, err := f_note.NewVerifierForCosignatureV1(c.VKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(append(bytes.Clone(log.heads[3]), line...), note.VerifierList(theirs))
	if err != nil {
		t.Fatal(err)
	}
	at, err := f_note.CoSigV1Timestamp(n.Sigs[0])
	if err != nil || !at.Equal(clock) {
		t.Errorf("cosigned at %v (%v), want %v", at, err, clock)
	}

	// And the other way round: what the library signs, we verify.
	skey, _, err := ledger.GenerateKey(&stream{11}, "witness.example/theirs")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := f_note.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	_, vkey, err := ledger.GenerateKey(&stream{11}, "witness.example/theirs")
	if err != nil {
		t.Fatal(err)
	}
	if vkey, err = f_note.VKeyToCosignatureV1(vkey); err != nil {
		t.Fatal(err)
	}
	text, _, _ := bytes.Cut(log.heads[3], []byte("\n\n"))
	cosigned, err := note.Sign(&note.Note{Text: string(text) + "\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	q, err := policy(t, "witness them "+vkey+"\nquorum them\n").Check(cosigned, time.Now())
	if err != nil || !q.Met || len(q.Cosignatures) != 1 {
		t.Errorf("quorum %+v, %v; want it met by the library's cosignature", q, err)
	}
}

func TestPostQuantumCosignaturesAreThoseOfTransparencyDevFormats(t *testing.T) {
	log := newHistory(t, 1, "log.example/a", 3)
	skey, err := ledger.GenerateWitnessKey(&stream{12}, "witness.example/pq", ledger.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ledger.NewCosigner(skey, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	status, _, line := post(t, newWitness(t, mem.New(mem.Config{}), c, log.vkey), log.offer(t, 0, 3))
	if status != http.StatusOK {
		t.Fatalf("witness answered %d: %s", status, line)
	}
	head := append(bytes.Clone(log.heads[3]), line...)
	theirs, err := f_note.NewMLDSAVerifier(c.VKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(head, note.VerifierList(theirs)); err != nil {
		t.Fatalf("the library refuses our cosignature: %v", err)
	}
	ours := policy(t, "witness w "+c.VKey()+"\nquorum w\n")
	if q, err := ours.Check(head, clock); err != nil || !q.Met || !q.Cosignatures[0].Time.Equal(clock) {
		t.Errorf("quorum %+v, %v; want it met at %v", q, err, clock)
	}
	bent := bytes.Replace(head, []byte("log.example/a\n3\n"), []byte("log.example/a\n4\n"), 1)
	if _, err := ours.Check(bent, clock); assay.CodeOf(err) != assay.CodeUnverified {
		t.Errorf("a head of another size: %v, want unverified", err)
	}

	// And the other way round: what the library signs, we verify.
	skey, vkey, err := f_note.GenerateMLDSAKey("witness.example/theirs")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := f_note.NewMLDSASigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := bytes.Cut(log.heads[3], []byte("\n\n"))
	cosigned, err := note.Sign(&note.Note{Text: string(text) + "\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := policy(t, "witness them "+vkey+"\nquorum them\n").Check(cosigned, time.Now()); err != nil || !q.Met {
		t.Errorf("quorum %+v, %v; want it met by the library's cosignature", q, err)
	}
	if again, err := ledger.NewCosigner(skey, time.Now); err != nil || again.VKey() != vkey {
		t.Errorf("the library's secret key is not read: %v", err)
	}
}

func TestPolicyCountsCosignaturesAsItsGroupsSay(t *testing.T) {
	log := newHistory(t, 1, "log.example/a", 3)
	var vkeys, lines []string
	for i := range 4 {
		c := cosigner(t, uint64(20+i), fmt.Sprintf("witness.example/%d", i), clock)
		_, _, line := post(t, newWitness(t, mem.New(mem.Config{}), c, log.vkey), log.offer(t, 0, 3))
		vkeys, lines = append(vkeys, c.VKey()), append(lines, line)
	}
	var text strings.Builder
	text.WriteString("log " + log.vkey + " # ours\n")
	for i, k := range vkeys {
		text.WriteString(fmt.Sprintf("witness w%d %s https://w%d.example/\n", i, k, i))
	}
	for _, c := range []struct {
		quorum string
		have   []int
		met    bool
	}{
		{"quorum none", nil, true},
		{"quorum w0", nil, false},
		{"quorum w0", []int{0}, true},
		{"quorum w0", []int{1}, false},
		{"group g any w0 w1\nquorum g", []int{1}, true},
		{"group g all w0 w1\nquorum g", []int{1}, false},
		{"group g all w0 w1\nquorum g", []int{1, 0}, true},
		{"group g 2 w0 w1 w2\nquorum g", []int{2}, false},
		{"group g 2 w0 w1 w2\nquorum g", []int{2, 2}, false}, // one witness twice is one
		{"group g 2 w0 w1 w2\nquorum g", []int{2, 0}, true},
		{"group a any w0 w1\ngroup b any w2 w3\ngroup g all a b\nquorum g", []int{0, 1}, false},
		{"group a any w0 w1\ngroup b any w2 w3\ngroup g all a b\nquorum g", []int{0, 3}, true},
	} {
		head := bytes.Clone(log.heads[3])
		for _, i := range c.have {
			head = append(head, lines[i]...)
		}
		q, err := policy(t, text.String()+c.quorum+"\n").Check(head, clock)
		if err != nil || q.Met != c.met {
			t.Errorf("%q with %v: %+v, %v; want met %v", c.quorum, c.have, q, err, c.met)
		}
	}
}

func TestUnknownCosignaturesAreIgnoredAndFailingKnownOnesReject(t *testing.T) {
	log := newHistory(t, 1, "log.example/a", 3)
	known, unknown := cosigner(t, 20, "witness.example/known", clock), cosigner(t, 21, "witness.example/unknown", clock)
	p := policy(t, "witness known "+known.VKey()+"\nquorum known\n")
	line := func(c *ledger.Cosigner, h *history, size int) string {
		_, _, l := post(t, newWitness(t, mem.New(mem.Config{}), c, log.vkey), h.offer(t, 0, size))
		return l
	}
	q, err := p.Check(append(bytes.Clone(log.heads[3]), line(unknown, log, 3)...), clock)
	if err != nil || q.Met || len(q.Cosignatures) != 0 {
		t.Errorf("a stranger's cosignature: %+v, %v; want it ignored", q, err)
	}
	// The known witness's signature of another head.
	_, err = p.Check(append(bytes.Clone(log.heads[3]), line(known, log, 2)...), clock)
	if assay.CodeOf(err) != assay.CodeUnverified || !strings.Contains(err.Error(), "witness.example/known") {
		t.Errorf("a known witness's cosignature of another head: %v; want it refused by name", err)
	}
}

func TestCosignatureFromTheFutureIsRefusedForClockSkew(t *testing.T) {
	log := newHistory(t, 1, "log.example/a", 3)
	for _, c := range []struct {
		ahead time.Duration
		ok    bool
	}{{-24 * 365 * time.Hour, true}, {0, true}, {ledger.MaxClockSkew, true}, {ledger.MaxClockSkew + time.Second, false}, {24 * time.Hour, false}} {
		w := cosigner(t, 20, "witness.example/w", clock.Add(c.ahead))
		_, _, line := post(t, newWitness(t, mem.New(mem.Config{}), w, log.vkey), log.offer(t, 0, 3))
		q, err := policy(t, "witness w "+w.VKey()+"\nquorum w\n").Check(append(bytes.Clone(log.heads[3]), line...), clock)
		if (err == nil) != c.ok || q.Met != c.ok {
			t.Errorf("%v ahead: %+v, %v; want accepted %v", c.ahead, q, err, c.ok)
		}
		if err != nil && !strings.Contains(err.Error(), "in the future") {
			t.Errorf("%v ahead: %v does not say why", c.ahead, err)
		}
	}
}

func TestWitnessPolicyRefusesWhatItCannotMean(t *testing.T) {
	a, b := cosigner(t, 20, "w.example/a", clock).VKey(), cosigner(t, 21, "w.example/b", clock).VKey()
	_, logKey, err := ledger.GenerateKey(&stream{1}, "log.example/a")
	if err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{
		"":                                     "no quorum",
		"witness a " + a:                       "no quorum",
		"quorum a\n":                           "defined before",
		"frob x\nquorum none\n":                "not a line",
		"witness a " + logKey + "\nquorum a\n": "0x04",
		"witness a " + a + "\nwitness a " + b + "\nquorum a\n":                              "defined twice",
		"witness a " + a + "\nwitness b " + a + "\nquorum a\n":                              "has the key of witness a",
		"witness any " + a + "\nquorum any\n":                                               "word of the format",
		"witness a " + a + " ftp://x\nquorum a\n":                                           "http or https",
		"witness a " + a + "\ngroup g 2 a\nquorum g\n":                                      "threshold",
		"witness a " + a + "\ngroup g 0 a\nquorum g\n":                                      "threshold",
		"witness a " + a + "\ngroup g any a a\nquorum g\n":                                  "twice",
		"group g any g\nquorum g\n":                                                         "not defined",
		"witness a " + a + "\nquorum a\nquorum none\n":                                      "expected one line",
		"log " + a + "\nquorum none\n":                                                      "log:",
		"witness a " + strings.Replace(a, "w.example/a", "w.example/z", 1) + "\nquorum a\n": "altered",
		strings.Repeat("# x\n", ledger.MaxWitnessPolicy/4+1):                                "limit",
	} {
		_, err := ledger.ParseWitnessPolicy([]byte(text))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: %v, want %q", text, err, says)
		}
	}
}

func FuzzParseWitnessPolicy(f *testing.F) {
	a := cosigner(f, 20, "w.example/a", clock).VKey()
	f.Add([]byte("witness a " + a + " https://w.example\ngroup g any a\nquorum g\n"))
	f.Add([]byte("quorum none\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ledger.ParseWitnessPolicy(raw)
		if (err == nil) != (p != nil) {
			t.Errorf("policy %v with error %v", p, err)
		}
		if p != nil {
			_, _ = p.Check([]byte("o\n1\nAAAA\n\n— x AAAAAA\n"), clock) // must not panic
		}
	})
}

func FuzzParseWitnessKey(f *testing.F) {
	f.Add(cosigner(f, 20, "w.example/a", clock).VKey())
	f.Add("w+01234567+BAAA")
	f.Fuzz(func(t *testing.T, vkey string) {
		v, err := ledger.ParseWitnessKey(vkey)
		if err == nil && (v.Name() == "" || v.Verify([]byte("text"), make([]byte, 72))) {
			t.Errorf("%q is a key that verifies nothing signed", vkey)
		}
	})
}

func FuzzWitnessAnswersEveryRequest(f *testing.F) {
	_, vkey, err := ledger.GenerateKey(&stream{1}, "log.example/a")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("old 0\n\nlog.example/a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— log.example/a AAAA\n"))
	f.Add([]byte("old 1\nAAAA\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h := newWitness(t, mem.New(mem.Config{}), cosigner(t, 9, "w", clock), vkey)
		if status, _, answer := post(t, h, string(raw)); status == 200 || answer == "" {
			t.Errorf("status %d, answer %q for what the log did not sign", status, answer)
		}
	})
}
