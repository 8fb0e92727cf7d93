package policy

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

const gateYAML = `apiVersion: assay.dev/v1alpha1
kind: Gate
metadata:
  name: release
spec:
  resourceUri: pkg:generic/assay
  levels: [SLSA_BUILD_LEVEL_1, EXAMPLE_TESTED]
  requires:
    - name: tests
      kind: test-results
      maxAge: 7d
    - name: vulnerabilities
      kind: vulnerabilities
      origins: [live, recorded]
      maxSeverity: high
  policies: [release]
`

const policyYAML = `apiVersion: assay.dev/v1alpha1
kind: Policy
metadata:
  name: release
spec:
  package: release
  mode: warn
`

func wantError(t *testing.T, err error, code assay.Code, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", text)
	}
	if assay.CodeOf(err) != code {
		t.Errorf("code %s, want %s: %v", assay.CodeOf(err), code, err)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q does not contain %q", err, text)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error is not one line: %q", err)
	}
}

func TestParseReadsAGateAndFillsDefaults(t *testing.T) {
	res, err := Parse("gate.yaml", []byte(gateYAML+"---\n"+policyYAML))
	if err != nil {
		t.Fatal(err)
	}
	g := res.Gates[0]
	if g.Spec.Mode != assay.ModeEnforce || g.Metadata.Namespace != DefaultNamespace {
		t.Errorf("defaults are %q and %q", g.Spec.Mode, g.Metadata.Namespace)
	}
	if got := g.Spec.Requires[0].MaxAge.Value(); got != 7*24*time.Hour {
		t.Errorf("7d is %s", got)
	}
	if got := g.Spec.Requires[0].Accepts(); len(got) != 1 || got[0] != assay.OriginLive {
		t.Errorf("origins accepted by default: %v", got)
	}
	if p := res.Policies[0]; p.Spec.Mode != assay.ModeWarn || p.Place != (Place{"gate.yaml", 18}) {
		t.Errorf("policy %+v at %+v", p.Spec, p.Place)
	}
}

func TestParseRefusesWhatIsWrongWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown kind", "kind: Gate", "kind: Gaet", `gate.yaml:2:7: kind "Gaet" is not known here; known: Gate, Policy, Rollout, ExceptionPolicy`},
		{"no kind", "kind: Gate\n", "", "gate.yaml:1:1: document has no kind"},
		{"wrong version", "v1alpha1", "v1", `gate.yaml:1:13: apiVersion "assay.dev/v1" is not known here; write assay.dev/v1alpha1`},
		{"misspelt key", "  requires:", "  require:", `gate.yaml:8:3: spec.require is not a known key (did you mean "requires"?)`},
		{"misspelt mode", "spec:\n", "spec:\n  mode: enforced\n", `gate.yaml:6:9: spec.mode "enforced" is not one of off, dry-run, warn, enforce (did you mean "enforce"?)`},
		{"misspelt evidence kind", "kind: test-results", "kind: test-result", `spec.requires[0].kind "test-result" is not one of`},
		{"bad duration", "maxAge: 7d", "maxAge: 7 days", `gate.yaml:11:15: spec.requires[0].maxAge "7 days" is not a duration`},
		{"negative duration", "maxAge: 7d", "maxAge: -1h", `is not between`},
		{"same requirement twice", "name: vulnerabilities", "name: tests", `spec.requires[1].name "tests" is used twice`},
		{"invented SLSA level", "SLSA_BUILD_LEVEL_1", "SLSA_BUILD_LEVEL_9", "own levels must not start with SLSA_"},
		{"two levels of a track", "EXAMPLE_TESTED", "SLSA_BUILD_LEVEL_2", "levels of the same track"},
		{"granting failure", "EXAMPLE_TESTED", "FAILED", "cannot be granted"},
		{"unknown origin", "[live, recorded]", "[live, replay]", `spec.requires[1].origins[1] "replay" is not one of`},
		{"no origin", "[live, recorded]", "[]", "is empty; name live"},
		{"severity of nothing", "maxSeverity: high", "maxSeverity: none", `"none" is not one of`},
		{"threshold of another kind", "maxSeverity: high", "maxFailed: 0", "only applies to kind test-results"},
		{"severity of tests", "maxAge: 7d", "maxSeverity: high", "only applies to kinds static-analysis"},
		{"zero tests required", "maxAge: 7d", "minTests: 0", "expected at least 1"},
		{"not a URI", "pkg:generic/assay", "generic", "is not a URI"},
		{"upper-case name", "name: release", "name: Release", "metadata.name"},
		{"requirement named like a policy", "name: tests", "name: release", `spec.requires[0].name "release" is also a policy of this gate`},
		{"reserved requirement name", "name: tests", "name: absent", "reserved"},
		{"alias", "maxAge: 7d", "maxAge: &x 7d", "anchor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(gateYAML, c.old, c.new, 1)
			if bad == gateYAML {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse("gate.yaml", []byte(bad))
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
}

func TestParseRefusesAGateThatRequiresNothing(t *testing.T) {
	head, _, _ := strings.Cut(gateYAML, "  requires:")
	_, err := Parse("gate.yaml", []byte(head+"  requires: []\n"))
	wantError(t, err, assay.CodeInvalid, "gate.yaml:8:13: spec.requires is empty; a gate that requires nothing passes on nothing")
}

func TestParseRefusesPackagesThatAreNotRegoPackages(t *testing.T) {
	for pkg, want := range map[string]string{
		"data.release": "write release", "a-b": "is not a Rego package path", `""`: "is missing", "a..b": "is not a Rego package path",
	} {
		_, err := Parse("p.yaml", []byte(strings.Replace(policyYAML, "package: release", "package: "+pkg, 1)))
		wantError(t, err, assay.CodeInvalid, want)
	}
}

func TestParseRefusesFilesAboveTheLimit(t *testing.T) {
	_, err := Parse("big.yaml", make([]byte, MaxFileBytes+1))
	wantError(t, err, assay.CodeTooLarge, "a policy file has at most 1048576")
	_, err = Parse("many.yaml", []byte(strings.Repeat("---\na: b\n", MaxResources+1)))
	wantError(t, err, assay.CodeTooLarge, "at most 1000 fit in one file")
}

func file(path, content string) File { return File{Path: path, Content: []byte(content)} }

func TestRevisionDigestCoversWhatCanInfluenceAVerdict(t *testing.T) {
	base := []File{file("gate.yaml", gateYAML), file("p.yaml", policyYAML), file("r.rego", "package release\n"), file("lists/data.json", "{}")}
	digest := func(files ...File) assay.Digest {
		t.Helper()
		rev, err := NewRevision(files)
		if err != nil {
			t.Fatal(err)
		}
		return rev.Digest()
	}
	want := digest(base...)
	for _, f := range []File{file("r_test.rego", "package release_test\n"), file("README.md", "x"), file("testdata/x.yaml", "{"), file(".git/x.yaml", "{")} {
		if got := digest(append([]File{f}, base...)...); got != want {
			t.Errorf("%s changes the digest, but cannot influence a verdict", f.Path)
		}
	}
	for i, f := range base {
		changed := append([]File{}, base...)
		changed[i] = file(f.Path, string(f.Content)+"\n")
		if digest(changed...) == want {
			t.Errorf("one more byte in %s does not change the digest", f.Path)
		}
	}
	if digest(base[3], base[1], base[0], base[2]) != want {
		t.Error("the order of files changes the digest")
	}
	moved := append([]File{}, base...)
	moved[2] = file("sub/r.rego", "package release\n")
	if digest(moved...) == want {
		t.Error("moving a module does not change the digest")
	}
}

func TestRevisionDigestIsTheDocumentedText(t *testing.T) {
	rev, err := NewRevision([]File{file("b.rego", "package b\n"), file("a.rego", "package a\n")})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("assay-policy-revision/v1\n%x  a.rego\n%x  b.rego\n",
		sha256.Sum256([]byte("package a\n")), sha256.Sum256([]byte("package b\n")))
	if want := assay.DigestOf(sha256.Sum256([]byte(text))); rev.Digest() != want {
		t.Errorf("digest %s, want %s", rev.Digest(), want)
	}
	if ref := rev.Ref("git+https://example.com/p"); ref.Digest != rev.Digest() || ref.URI != "git+https://example.com/p" {
		t.Errorf("ref %+v", ref)
	}
}

func TestRevisionRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []File
		want  string
	}{
		{"a missing policy", []File{file("gate.yaml", gateYAML)}, `gate.yaml:1:1: spec.policies[0] names Policy "release", which is not declared in namespace default`},
		{"a misspelt policy", []File{file("gate.yaml", strings.Replace(gateYAML, "[release]", "[relaese]", 1)), file("p.yaml", policyYAML)}, `(did you mean "release"?)`},
		{"a policy of another namespace", []File{file("gate.yaml", gateYAML), file("p.yaml", strings.Replace(policyYAML, "name: release", "name: release\n  namespace: other", 1))}, "not declared in namespace default"},
		{"a duplicate policy", []File{file("p.yaml", policyYAML), file("q.yaml", policyYAML)}, `q.yaml:1:1: metadata.name Policy "release" of namespace default is declared twice; first at p.yaml:1`},
		{"a file given twice", []File{file("p.yaml", policyYAML), file("p.yaml", policyYAML)}, "is given twice"},
		{"a path that climbs", []File{file("../p.yaml", policyYAML)}, "not a clean relative path"},
		{"a path with a line feed", []File{file("p\n.yaml", policyYAML)}, "not a clean relative path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewRevision(c.files)
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
	_, err := NewRevision(make([]File, MaxFiles+1))
	wantError(t, err, assay.CodeTooLarge, "at most 10000 files")
}

func TestGateIsFoundByNameWithASuggestionOtherwise(t *testing.T) {
	other := strings.NewReplacer("name: release\n", "name: release\n  namespace: team\n", "  policies: [release]\n", "").Replace(gateYAML)
	rev, err := NewRevision([]File{file("gate.yaml", gateYAML), file("other.yaml", other), file("p.yaml", policyYAML)})
	if err != nil {
		t.Fatal(err)
	}
	g, err := rev.Gate("team/release")
	if err != nil || g.Metadata.Namespace != "team" {
		t.Fatalf("%+v, %v", g.Metadata, err)
	}
	_, err = rev.Gate("release")
	wantError(t, err, assay.CodeInvalid, "several namespaces")
	_, err = rev.Gate("relase")
	wantError(t, err, assay.CodeNotFound, `did you mean "release"?`)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(gateYAML))
	f.Add([]byte(policyYAML + "---\n" + gateYAML))
	f.Add([]byte("apiVersion: assay.dev/v1alpha1\nkind: Gate\nmetadata: {name: x}\nspec: {requires: [{name: a, kind: sbom, minComponents: -1}]}"))
	f.Add([]byte(rolloutYAML))
	f.Add([]byte("apiVersion: assay.dev/v1alpha1\nkind: Rollout\nmetadata: {name: x}\nspec: {service: x, margin: 1e308, indicators: [{name: a, buckets: b, bounds: [1e-300, .inf]}]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		res, err := Parse("f.yaml", data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error is not one clean line: %q", err)
			}
			return
		}
		for _, g := range res.Gates {
			if len(g.Spec.Requires) == 0 || g.Spec.Mode == "" {
				t.Errorf("accepted a gate without requirements or mode: %+v", g)
			}
		}
		for _, r := range res.Rollouts {
			p, err := r.Plan()
			if err != nil {
				t.Fatalf("accepted a rollout whose plan is refused: %v", err)
			}
			p.Canary, p.Control = "new", "old"
			if _, err := decide.Begin(p, time.Unix(0, 0)); err != nil {
				t.Errorf("accepted a plan that cannot begin: %v", err)
			}
		}
	})
}
