package strict_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// sound checks what every error of this package promises.
func sound(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*assay.Error](err)
	if !ok {
		t.Fatalf("%v is no *assay.Error", err)
	}
	if s := err.Error(); e.Line < 1 || e.Column < 1 || e.Field == "" || strings.ContainsAny(s, "\n\r\x1b\x00") {
		t.Fatalf("error %q at %d:%d in field %q", s, e.Line, e.Column, e.Field)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"name":"a","count":1,"list":[{"deep":"x"}],"when":"2026-01-01T00:00:00Z","map":{"a":1},"any":[1,null]}`,
		`{"nam":1}`, `{"count":1e9}`, `{"a":1,"a":2}`, "null", "[[[[", "{} {}", `{"bytes":"aGk=","raw":{"a":1},"pair":[1,2],"colour":"red"}`, `{"a/b~":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d document
		if err := strict.JSON(data, &d); err != nil {
			sound(t, err)
			return
		}
		if strict.CheckJSON(data) != nil || !json.Valid(data) || !utf8.Valid(data) {
			t.Fatalf("decoded %q, which is not strict JSON", data)
		}
	})
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"name: a\ncount: 1\nlist:\n- deep: x\nmap: {a: 1}\nany: [1, ~, x]\n", "a: &x 1\nb: *x", "<<: {a: 1}", "name: 'x", "---\n---\n",
		"count: 010", "? a\n: b", "name: !!str x", "when: 2026-01-01T00:00:00Z\ncolour: red\nbytes: aGk=\npair: [1, 2]\nraw: {a: 1}", "map: {\"a.b\": x, 1: 2}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d document
		if err := strict.YAML(data, &d); err != nil {
			sound(t, err)
			return
		}
		// What was understood can be said in JSON, and is understood the same way.
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again document
		if err := json.Unmarshal(b, &again); err != nil && d.Colour.name != "" {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	for _, s := range []string{`{"name":"a","new":{"a":1}}`, `{"name":"a","new":{"a":1,"a":2}}`, `{"name":1}`, `{"name":"a\u0000"}`, "{\"name\":\"\x7f\"}",
		`{"new":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, `{"name":"a"} {}`, `{"name":"[[[["}`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d struct {
			Name string          `json:"name"`
			Raw  json.RawMessage `json:"raw"`
		}
		form, err := strict.Open(data, &d)
		check := strict.CheckJSON(data)
		if err == nil && check != nil {
			t.Fatalf("decoded %q, whose form is refused: %v", data, check)
		}
		if form != (check != nil) {
			t.Fatalf("%q: form %v, %v; its form is refused with %v", data, form, err, check)
		}
	})
}
