package report

import (
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
)

func TestEveryFrameworkIsCompleteAndHonest(t *testing.T) {
	if !slices.Equal(Frameworks(), []string{"slsa", "soc2", "ssdf"}) {
		t.Errorf("frameworks: %q", Frameworks())
	}
	for _, name := range Frameworks() {
		f, err := Lookup(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		covered, uncovered := 0, 0
		for _, c := range f.Controls {
			if c.Uncovered != "" {
				uncovered++
				continue
			}
			covered++
			for _, q := range c.Queries {
				if q.Evidence != "" && !slices.Contains(assay.EvidenceKinds, q.Evidence) {
					t.Errorf("%s %s: %q is no kind of evidence", name, c.ID, q.Evidence)
				}
				if q.Evidence != "" && !slices.Equal(q.Facts, []string{assay.FactVerdict}) {
					t.Errorf("%s %s: only verdicts have required evidence", name, c.ID)
				}
				for _, kind := range q.Facts {
					if !strings.Contains(kind, ".") {
						t.Errorf("%s %s: %q is no kind of fact", name, c.ID, kind)
					}
				}
			}
		}
		if f.Name != name || covered == 0 || uncovered == 0 {
			t.Errorf("%s: %d controls covered, %d not", name, covered, uncovered)
		}
	}
	if _, err := Lookup("../slsa"); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("a framework that does not exist: %v", err)
	}
}

func TestAFrameworkWithAMistakeIsRefused(t *testing.T) {
	const head = "name: x\ntitle: X\nversion: '1'\nsource: s\ncontrols:\n"
	for name, text := range map[string]string{
		"nothing":       "",
		"no controls":   "name: x\ntitle: X\nversion: '1'\nsource: s\ncontrols: []\n",
		"unknown field": head + "  - {id: a, title: A, text: T, uncovred: no}\n",
		"neither":       head + "  - {id: a, title: A, text: T}\n",
		"both":          head + "  - {id: a, title: A, text: T, uncovered: U, queries: [{title: Q, facts: [gate.verdict]}]}\n",
		"twice":         head + "  - {id: a, title: A, text: T, uncovered: U}\n  - {id: a, title: A, text: T, uncovered: U}\n",
		"empty query":   head + "  - {id: a, title: A, text: T, queries: [{title: Q}]}\n",
		"above all":     head + "  - {id: a, title: A, text: T, queries: [{title: Q, coverage: 2}]}\n",
	} {
		if _, err := ParseFramework([]byte(text)); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseFramework(make([]byte, MaxFramework+1)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("a large one: %v", err)
	}
}

func FuzzParseFramework(f *testing.F) {
	for _, name := range Frameworks() {
		data, err := files.ReadFile("frameworks/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = ParseFramework(data) })
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(`{"type":"` + ReportType + `","controls":[{"id":"a","found":[{"title":"q","lines":[{"fact":"x","proved":true,"proof":{}}]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseReport(data)
		if err != nil {
			return
		}
		_, _ = Verify(r, "key")
	})
}
