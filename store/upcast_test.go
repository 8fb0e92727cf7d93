package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

// wrap returns an upcaster that shows in the payload which step ran.
func wrap(step string) store.Upcast {
	return func(p json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(fmt.Sprintf(`{%q:%s}`, step, p)), nil
	}
}

func newUpcasters(t *testing.T, kinds ...store.KindVersions) store.Upcasters {
	t.Helper()
	u, err := store.NewUpcasters(kinds...)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestReadersGetTheNewestVersionWhateverWasWritten(t *testing.T) {
	u := newUpcasters(t, store.KindVersions{Kind: "a.b", Steps: []store.Upcast{wrap("2"), wrap("3")}})
	s := mem.New(mem.Config{Upcasters: u})
	want := map[int]string{1: `{"3":{"2":0}}`, 2: `{"3":0}`, 3: `0`}
	for version, payload := range want {
		f := assay.Fact{ID: store.NewFactID(), Kind: "a.b", Version: version, Namespace: "n", Actor: "x",
			Retention: assay.RetainAudit, Payload: json.RawMessage(`0`)}
		err := s.Update(t.Context(), func(tx store.Tx) error {
			if _, err := tx.Append(f); err != nil {
				return err
			}
			_, err := tx.Append(f) // the same as it was written, not as it is read
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var row store.Row
		err = s.View(t.Context(), func(r store.Reader) (err error) {
			row, err = r.Fact("n", f.ID)
			return err
		})
		if err != nil || row.Fact.Version != 3 || string(row.Fact.Payload) != payload {
			t.Errorf("version %d reads as %d %s, %v; want 3 %s", version, row.Fact.Version, row.Fact.Payload, err, payload)
		}
		e, err := s.Entry(t.Context(), "n", f.ID)
		if err != nil || e.Fact.Version != version || string(e.Fact.Payload) != "0" {
			t.Errorf("the outbox has version %d %s, %v; want what was written", e.Fact.Version, e.Fact.Payload, err)
		}
	}
}

func TestAFactOfANewerVersionIsNotGuessed(t *testing.T) {
	u := newUpcasters(t, store.KindVersions{Kind: "a.b", Steps: []store.Upcast{wrap("2")}})
	_, err := u.Fact(assay.Fact{ID: "id", Kind: "a.b", Version: 3})
	want := "fact id is a.b/v3, written by a newer assay; this one reads up to v2 (upgrade this assay)"
	if assay.CodeOf(err) != assay.CodeUnavailable || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if f, err := u.Fact(assay.Fact{Kind: "other", Version: 9}); err != nil || f.Version != 9 {
		t.Errorf("a kind that is not listed: %+v, %v", f, err)
	}
	if _, err := (store.Upcasters{}).Fact(assay.Fact{Kind: "a.b", Version: 3}); err != nil {
		t.Errorf("no upcasters: %v", err)
	}
}

func TestAFailingUpcasterIsNamed(t *testing.T) {
	broken := errors.New("broken")
	u := newUpcasters(t, store.KindVersions{Kind: "a.b", Steps: []store.Upcast{func(json.RawMessage) (json.RawMessage, error) { return nil, broken }}})
	_, err := u.Fact(assay.Fact{ID: "id", Kind: "a.b", Version: 1})
	if !errors.Is(err, broken) || assay.CodeOf(err) != assay.CodeInternal || !strings.Contains(err.Error(), "a.b from v1 to v2") {
		t.Errorf("error %v", err)
	}
}

func TestUpcastersRefuseAListWithGaps(t *testing.T) {
	for what, kinds := range map[string][]store.KindVersions{
		"no name":      {{}},
		"twice":        {{Kind: "a"}, {Kind: "a"}},
		"missing step": {{Kind: "a", Steps: []store.Upcast{wrap("2"), nil}}},
	} {
		if _, err := store.NewUpcasters(kinds...); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v, want %s", what, err, assay.CodeInvalid)
		}
	}
}

// TestEveryFactEverWrittenCanBeRead reads the golden corpus: one file for each
// kind of fact and version that a release wrote. Files are added, never changed.
func TestEveryFactEverWrittenCanBeRead(t *testing.T) {
	u := store.BuiltinUpcasters()
	s := mem.New(mem.Config{Upcasters: u})
	have := map[string][]int{}
	paths, err := filepath.Glob("testdata/facts/v*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f := readFact(t, path)
		if want := fmt.Sprintf("v%d/%s.json", f.Version, f.Kind); !strings.HasSuffix(filepath.ToSlash(path), want) {
			t.Errorf("%s holds %s/v%d", path, f.Kind, f.Version)
		}
		have[f.Kind] = append(have[f.Kind], f.Version)
		f.Causes = nil // they are not in this store
		if err := s.Update(t.Context(), func(tx store.Tx) error { _, err := tx.Append(f); return err }); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		err := s.View(t.Context(), func(r store.Reader) error {
			row, err := r.Fact(f.Namespace, f.ID)
			if newest, ok := u.Newest(f.Kind); err == nil && (!ok || row.Fact.Version != newest) {
				err = fmt.Errorf("reads as version %d, want %d, known %v", row.Fact.Version, newest, ok)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, kind := range u.Kinds() {
		newest, _ := u.Newest(kind)
		for v := range newest {
			if !slices.Contains(have[kind], v+1) {
				t.Errorf("the corpus has no %s of version %d", kind, v+1)
			}
		}
	}
}

// readFact reads one file of the corpus and wants it to be exactly a fact, so
// that a renamed or removed field is noticed.
func readFact(t *testing.T, path string) assay.Fact {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f assay.Fact
	if err := strict.JSON(data, &f); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	again, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if string(again)+"\n" != string(data) {
		t.Errorf("%s is written differently now:\n%s", path, again)
	}
	return f
}

// TestBuiltinUpcastersKnowEveryKindOfFact reads the constants themselves: a reader that
// does not know a kind would hand a newer version of it on as if it were its own.
func TestBuiltinUpcastersKnowEveryKindOfFact(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "fact.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	u, seen := store.BuiltinUpcasters(), 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is || len(spec.Names) != 1 || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Fact") {
			return true
		}
		kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if _, listed := u.Newest(kind); !listed {
			t.Errorf("%s (%s) is not listed", spec.Names[0].Name, kind)
		}
		return true
	})
	if got := len(u.Kinds()); seen == 0 || got != seen {
		t.Errorf("%d kinds are listed, and fact.go has %d", got, seen)
	}
}
