package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/golden"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
	"pgregory.net/rapid"
)

func fullFact() assay.Fact {
	d := assay.DigestOf(sha256.Sum256([]byte("artifact")))
	return assay.Fact{
		ID: "018c0f2e-7a10-7c3b-8f00-000000000001", Kind: assay.FactVerdict, Version: 2,
		Time: time.Unix(1700000000, 123456789).UTC(), Recorded: time.Unix(1700000001, 0).UTC(),
		Namespace: "shop", Service: "cart", Environment: "prod", Subject: d, TraceID: "t", DeploymentID: "d",
		PolicyRevision: d, Actor: "Ann <ann@example.com>", Causes: []assay.FactID{"018c0f2e-7a10-7c3b-8f00-000000000000"},
		Retention: assay.RetainAudit, Payload: []byte(`{"b": [1.0, 2],"a":"<é>" }`),
	}
}

func entry(seq uint64, f assay.Fact) store.Entry {
	return store.Entry{Numbered: true, Seq: seq, Fact: f}
}

// These bytes are a format: a change of them is a new leaf version.
func TestFormatsOfLeafAndFactDigestNeverChange(t *testing.T) {
	l, err := ledger.LeafOf(entry(41, fullFact()), salt)
	if err != nil {
		t.Fatal(err)
	}
	old := ledger.Checkpoint{Origin: assay.DefaultOrigin, Size: 7, Root: sha256.Sum256(nil), Raw: []byte("old")}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\n%s\n", ledger.CanonicalFact(fullFact()), l.Marshal(), ledger.EpochLeaf(old, 5, 9, 1700000000000000000).Marshal())
	golden.Equal(t, "testdata/formats-v1.golden", b.Bytes())
}

func TestFactDigestSeesEveryFieldButRecorded(t *testing.T) {
	base := ledger.FactDigest(fullFact())
	for name, c := range map[string]struct {
		change func(*assay.Fact)
		same   bool
	}{
		"recorded":            {func(f *assay.Fact) { f.Recorded = time.Time{} }, true},
		"payload white space": {func(f *assay.Fact) { f.Payload = []byte(`{"a":"<é>","b":[1.0,2]}`) }, true},
		"time zone":           {func(f *assay.Fact) { f.Time = f.Time.In(time.FixedZone("x", 3600)) }, true},
		"payload number form": {func(f *assay.Fact) { f.Payload = []byte(`{"a":"<é>","b":[1,2]}`) }, false},
		"payload value":       {func(f *assay.Fact) { f.Payload = []byte(`{"a":"<e>","b":[1.0,2]}`) }, false},
		"not JSON":            {func(f *assay.Fact) { f.Payload = []byte(`{`) }, false},
		"id":                  {func(f *assay.Fact) { f.ID = "x" }, false},
		"kind":                {func(f *assay.Fact) { f.Kind = "x" }, false},
		"version":             {func(f *assay.Fact) { f.Version++ }, false},
		"time":                {func(f *assay.Fact) { f.Time = f.Time.Add(1) }, false},
		"namespace":           {func(f *assay.Fact) { f.Namespace = "x" }, false},
		"service":             {func(f *assay.Fact) { f.Service = "x" }, false},
		"environment":         {func(f *assay.Fact) { f.Environment = "x" }, false},
		"subject":             {func(f *assay.Fact) { f.Subject = "" }, false},
		"trace":               {func(f *assay.Fact) { f.TraceID = "" }, false},
		"deployment":          {func(f *assay.Fact) { f.DeploymentID = "" }, false},
		"policy":              {func(f *assay.Fact) { f.PolicyRevision = "" }, false},
		"actor":               {func(f *assay.Fact) { f.Actor = "x" }, false},
		"causes":              {func(f *assay.Fact) { f.Causes = nil }, false},
		"retention":           {func(f *assay.Fact) { f.Retention = assay.RetainOperational }, false},
	} {
		f := fullFact()
		c.change(&f)
		if got := ledger.FactDigest(f); (got == base) != c.same {
			t.Errorf("%s: same digest %v, want %v", name, got == base, c.same)
		}
	}
	big := func(n string) assay.Digest { return ledger.FactDigest(assay.Fact{Payload: []byte(n)}) }
	if big("9007199254740993") == big("9007199254740992") {
		t.Error("two integers above 2^53 have one digest")
	}
}

func TestEveryFactThatAStoreTakesHasALeaf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := fact(1)
		f.Kind = rapid.StringN(1, 300, 1024).Draw(t, "kind")
		f.Version = rapid.IntRange(1, 1<<40).Draw(t, "version")
		f.Time = time.Unix(0, rapid.Int64().Draw(t, "time"))
		f.ID = "018c0f2e-7a10-7c3b-8f00-000000000001"
		l, err := ledger.LeafOf(entry(rapid.Uint64Range(0, 1<<53-1).Draw(t, "seq"), f), salt)
		if err != nil {
			t.Fatal(err)
		}
		raw := l.Marshal()
		back, err := ledger.ParseLeaf(raw)
		if err != nil || back != l || len(raw) > ledger.MaxLeaf {
			t.Fatalf("%q came back as %+v, %v", raw, back, err)
		}
	})
}

func TestParseLeafRefusesAllButTheCanonicalForm(t *testing.T) {
	l, err := ledger.LeafOf(entry(41, fullFact()), salt)
	if err != nil {
		t.Fatal(err)
	}
	good := string(l.Marshal())
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for name, raw := range map[string]string{
		"empty":            "",
		"truncated":        good[:len(good)-1],
		"trailing data":    good + "\n",
		"white space":      replace(`,"seq"`, `, "seq"`),
		"unknown key":      replace(`"v":1`, `"v":1,"x":1`),
		"duplicate key":    replace(`"v":1`, `"v":1,"v":1`),
		"missing key":      replace(`,"policy":"`+string(l.Policy)+`"`, ""),
		"other order":      replace(`"v":1,"seq":41`, `"seq":41,"v":1`),
		"case of key":      replace(`"seq"`, `"Seq"`),
		"escaped letter":   replace(`"gate.verdict"`, `"\u0067ate.verdict"`),
		"number form":      replace(`"seq":41`, `"seq":41.0`),
		"negative":         replace(`"seq":41`, `"seq":-1`),
		"above 2^53":       replace(`"seq":41`, `"seq":9007199254740992`),
		"time as number":   replace(`"time":"1700000000123456789"`, `"time":1700000000123456789`),
		"leaf version":     replace(`"v":1`, `"v":2`),
		"digest form":      replace(`"digest":"sha256:`, `"digest":"sha512:`),
		"namespace form":   replace(`"namespace":"`, `"namespace":"x`),
		"previous null":    replace(`}`, `,"previous":null}`),
		"kind form":        replace(`gate.verdict`, `Gate Verdict`),
		"fact form":        replace(`018c0f2e-`, `018C0F2E-`),
		"deep nesting":     strings.Repeat("[", 2000),
		"above the limit":  good + strings.Repeat(" ", ledger.MaxLeaf),
		"control in value": replace(`gate.`, "gate\x01"),
	} {
		if _, err := ledger.ParseLeaf([]byte(raw)); err == nil {
			t.Errorf("%s: accepted %q", name, raw)
		} else if name == "above the limit" && assay.CodeOf(err) != assay.CodeTooLarge {
			t.Errorf("%s: %v, want too large", name, err)
		}
	}
}

func TestNamespaceDigestDependsOnSaltAndName(t *testing.T) {
	a := ledger.SaltNamespace(salt, "shop")
	if a == ledger.SaltNamespace([]byte("another salt of 16"), "shop") || a == ledger.SaltNamespace(salt, "bank") || len(a) != 64 {
		t.Errorf("namespace digest %q does not depend on salt and name", a)
	}
}
