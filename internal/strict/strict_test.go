package strict_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

type common struct {
	Shared string `json:"shared"`
}

type item struct {
	Deep string `json:"deep"`
}

// colour is a word with rules of its own.
type colour struct{ name string }

func (c colour) MarshalText() ([]byte, error) { return []byte(c.name), nil }

func (c *colour) UnmarshalText(b []byte) error {
	if string(b) != "red" {
		return errors.New("only red will do")
	}
	c.name = "red"
	return nil
}

type document struct {
	common
	Name   string          `json:"name"`
	Count  int             `json:"count"`
	On     bool            `json:"on"`
	Rate   float64         `json:"rate"`
	When   time.Time       `json:"when"`
	Ptr    *item           `json:"ptr"`
	List   []item          `json:"list"`
	Map    map[string]int  `json:"map"`
	Any    any             `json:"any"`
	Raw    json.RawMessage `json:"raw"`
	Bytes  []byte          `json:"bytes"`
	Pair   [2]int          `json:"pair"`
	Colour colour          `json:"colour"`
	Small  uint8           `json:"small"`
	Hidden string          `json:"-"`
}

const keys = "known keys: shared, name, count, on, rate, when, ptr, list, map, any, raw, bytes, pair, colour, small"

func TestYAMLAndJSONDecodeTheSame(t *testing.T) {
	const y = `
shared: all
name: 1.20        # a string is what its field is
count: -7
on: true
rate: 2.5
when: 2026-11-21T10:00:00Z
ptr: {deep: x}
list:
  - deep: "a"
  - deep: |
      two
      lines
map: {a: 1, "b.c": 2}
any: {x: [1, two, 2.5, null, true, 2026-01-01, "010"]}
raw: {a: [1]}
bytes: aGk=
pair: [1, 2]
colour: red
`
	const j = `{"shared":"all","name":"1.20","count":-7,"on":true,"rate":2.5,"when":"2026-11-21T10:00:00Z","ptr":{"deep":"x"},
		"list":[{"deep":"a"},{"deep":"two\nlines\n"}],"map":{"a":1,"b.c":2},"any":{"x":[1,"two",2.5,null,true,"2026-01-01","010"]},
		"raw":{"a":[1]},"bytes":"aGk=","pair":[1,2],"colour":"red"}`
	var a, b document
	if err := strict.YAML([]byte(y), &a); err != nil {
		t.Fatal(err)
	}
	if err := strict.JSON([]byte(j), &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("YAML %+v\nJSON %+v", a, b)
	}
}

func TestJSONKeepsFieldsThatAreNull(t *testing.T) {
	d := document{Name: "kept"}
	if err := strict.JSON([]byte(`{"name":null,"list":null,"ptr":null}`), &d); err != nil || d.Name != "kept" {
		t.Errorf("%v, %+v", err, d)
	}
}

func TestJSONRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "line 1, column 1: document is empty; expected a JSON value",
		"null":                              "line 1, column 1: document has the wrong type: found null, expected an object",
		"[]":                                "line 1, column 1: document has the wrong type: found a list, expected an object",
		"{":                                 "line 1, column 2: document is cut off: the JSON ends before its value does",
		`{"name":"x`:                        "line 1, column 11: name is cut off: the JSON ends before its value does",
		"{}\n{}":                            "line 2, column 2: document has data after the end of the JSON value",
		`{"nam":"x"}`:                       `line 1, column 2: nam is not a known key (did you mean "name"?)`,
		`{"NAME":"x"}`:                      `line 1, column 2: NAME is not a known key (did you mean "name"?)`,
		`{"shard":"x"}`:                     `line 1, column 2: shard is not a known key (did you mean "shared"?)`,
		`{"Hidden":"x"}`:                    `line 1, column 2: Hidden is not a known key (` + keys + `)`,
		`{"something":1}`:                   `line 1, column 2: something is not a known key (` + keys + `)`,
		`{"ptr":{"deeep":1}}`:               `line 1, column 9: ptr.deeep is not a known key (did you mean "deep"?)`,
		`{"list":[{"deep":"a"},{"dep":1}]}`: `line 1, column 24: list[1].dep is not a known key (did you mean "deep"?)`,
		`{"name":"a","name":"b"}`:           "line 1, column 13: name is a duplicate key",
		`{"any":{"a":1,"a":2}}`:             "line 1, column 15: any.a is a duplicate key",
		`{"name":1}`:                        "line 1, column 9: name has the wrong type: found 1, expected a string",
		`{"count":"1"}`:                     "line 1, column 10: count has the wrong type: found a string, expected a whole number",
		`{"count":1.5}`:                     "line 1, column 10: count has the wrong type: found 1.5, expected a whole number",
		`{"count":99999999999999999999}`:    "line 1, column 10: count 99999999999999999999 is not a whole number from -9223372036854775808 to 9223372036854775807",
		"{\n \"count\":\n  true}":           "line 3, column 3: count has the wrong type: found a boolean, expected a whole number",
		`{"map":{"a":"x"}}`:                 "line 1, column 13: map.a has the wrong type: found a string, expected a whole number",
		`{"list":"x"}`:                      "line 1, column 9: list has the wrong type: found a string, expected a list",
		`{"when":"noon"}`:                   `line 1, column 9: when "noon" is not a time; expected RFC 3339, for example 2026-11-21T15:04:05Z`,
		`{"when":1}`:                        "line 1, column 9: when has the wrong type: found 1, expected an RFC 3339 time",
		`{"colour":"blue"}`:                 `line 1, column 11: colour "blue" is not valid: only red will do`,
		`{"colour":["red"]}`:                "line 1, column 11: colour has the wrong type: found a list, expected a string",
		`{"bytes":"!!"}`:                    "line 1, column 10: bytes is not base64",
		`{"name":"\u001b[2J"}`:              "line 1, column 20: name contains a control character",
		`{"name":"\u202e"}`:                 "line 1, column 17: name contains a control character",
		`{"\u001b[2J":1}`:                   "line 1, column 13:  [2J contains a control character",
		"{\"name\":\"\xff\"}":               "line 1, column 10: name is not valid JSON: invalid UTF-8",
		"\ufeff{}":                          `line 1, column 1: document is not valid JSON: invalid character '\ufeff' at start of value`,
		"{'name':1}":                        `line 1, column 2: document is not valid JSON: invalid character '\'' at start of value`,
	} {
		refused(t, in, strict.JSON([]byte(in), new(document)), want)
	}
}

func TestYAMLRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "line 1, column 1: document is empty; expected one YAML document",
		"# nothing\n---\n":               "line 1, column 1: document is empty; expected one YAML document",
		"name: a\n---\nname: b":          "line 3, column 1: document is one of 2 YAML documents; expected one",
		"just text":                      `line 1, column 1: document has the wrong type: found "just text", expected an object`,
		"[a]":                            "line 1, column 1: document has the wrong type: found a list, expected an object",
		"Name: x":                        `line 1, column 1: Name is not a known key (did you mean "name"?)`,
		"sharde: q":                      `line 1, column 1: sharde is not a known key (did you mean "shared"?)`,
		"something: q":                   `line 1, column 1: something is not a known key (` + keys + `)`,
		"list:\n- deep: b\n- dep: c":     `line 3, column 3: list[1].dep is not a known key (did you mean "deep"?)`,
		"ptr:\n  deep: a\n  deep: b":     "line 3, column 3: ptr.deep is a duplicate key; first on line 2",
		"map: {a: 1, a: 2}":              "line 1, column 13: map.a is a duplicate key; first on line 1",
		"any: {a: 1, a: 2}":              "line 1, column 13: any.a is a duplicate key; first on line 1",
		"any: &x 1\nname: *x":            "line 1, column 6: any uses a YAML anchor or alias; write the value out",
		"ptr: &b {deep: x}\n<<: *b":      "line 1, column 6: ptr uses a YAML anchor or alias; write the value out",
		"<<: {name: x}":                  "line 1, column 1: document has a key that is not a plain word",
		"&k name: x":                     "line 1, column 1: document has a key that is not a plain word",
		"? [a]\n: b":                     "line 1, column 3: document has a key that is not a plain word",
		"name: !custom x":                `line 1, column 7: name uses the YAML tag "!custom"; write the value plainly`,
		"name: !!binary aGk=":            `line 1, column 7: name uses the YAML tag "!!binary"; write the value plainly`,
		"name:":                          "line 1, column 6: name has the wrong type: found null, expected a string",
		"name: ~":                        "line 1, column 7: name has the wrong type: found null, expected a string",
		"ptr: null":                      "line 1, column 6: ptr has the wrong type: found null, expected an object",
		"list: null":                     "line 1, column 7: list has the wrong type: found null, expected a list",
		"when: null":                     "line 1, column 7: when has the wrong type: found null, expected an RFC 3339 time",
		"name: [a]":                      "line 1, column 7: name has the wrong type: found a list, expected a string",
		"list: a":                        `line 1, column 7: list has the wrong type: found "a", expected a list`,
		"count: '7'":                     `line 1, column 8: count has the wrong type: found "7", expected a whole number`,
		"count: 1.5":                     `line 1, column 8: count has the wrong type: found "1.5", expected a whole number`,
		"count: 1e3":                     `line 1, column 8: count has the wrong type: found "1e3", expected a whole number`,
		"count: 010":                     `line 1, column 8: count "010" is not a plain decimal number; expected a whole number`,
		"count: 0x10":                    `line 1, column 8: count "0x10" is not a plain decimal number; expected a whole number`,
		"count: 1_000":                   `line 1, column 8: count "1_000" is not a plain decimal number; expected a whole number`,
		"count: 9999999999999999999":     "line 1, column 8: count 9999999999999999999 is not a whole number from -9223372036854775808 to 9223372036854775807",
		"count: 123456789012345678901":   "line 1, column 8: count 123456789012345678901 is not a whole number from -9223372036854775808 to 9223372036854775807",
		"count: '123456789012345678901'": `line 1, column 8: count has the wrong type: found "123456789012345678901", expected a whole number`,
		"small: 256":                     "line 1, column 8: small 256 is not a whole number from 0 to 255",
		"small: -1":                      "line 1, column 8: small -1 is not a whole number from 0 to 255",
		"rate: .inf":                     `line 1, column 7: rate ".inf" is not a plain decimal number; expected a number`,
		"any: {a: [.nan]}":               `line 1, column 11: any.a[0] ".nan" is not a plain decimal number; quote it if it is a word`,
		"any: 010":                       `line 1, column 6: any "010" is not a plain decimal number; quote it if it is a word`,
		"any: 1e999":                     `line 1, column 6: any "1e999" is not a plain decimal number; quote it if it is a word`,
		"on: yes":                        `line 1, column 5: on has the wrong type: found "yes", expected a boolean`,
		"on: 'true'":                     `line 1, column 5: on has the wrong type: found "true", expected a boolean`,
		"when: noon":                     `line 1, column 7: when "noon" is not a time; expected RFC 3339, for example 2026-11-21T15:04:05Z`,
		"when: 2026-01-01":               `line 1, column 7: when "2026-01-01" is not a time; expected RFC 3339, for example 2026-11-21T15:04:05Z`,
		"when: [1]":                      "line 1, column 7: when has the wrong type: found a list, expected an RFC 3339 time",
		"colour: blue":                   `line 1, column 9: colour "blue" is not valid: only red will do`,
		"bytes: '!!'":                    "line 1, column 8: bytes is not base64",
		"name: \"\\x1b[31m\"":            "line 1, column 7: name contains a control character",
		"\"\\x1b\": x":                   "line 1, column 1: document has a key with a control character",
		"name: a\nname: \xff":            "line 2, column 7: document is not valid UTF-8",
		"\tname: x":                      "line 1, column 1: document is not valid YAML: found character that cannot start any token",
		"name: 'x":                       "line 1, column 1: document is not valid YAML: found unexpected end of stream",
	} {
		refused(t, in, strict.YAML([]byte(in), new(document)), want)
	}
}

func TestJSONSurvivesHostileDocuments(t *testing.T) {
	for _, in := range []string{
		strings.Repeat("[", 1<<20),
		`{"any":` + strings.Repeat(`{"a":`, 1<<18),
		`{"any":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "}",
		`{"` + strings.Repeat("k", 1<<20) + `":1}`,
		`{"count":` + strings.Repeat("9", 1<<20) + "}",
		`{"when":"` + strings.Repeat("9", 1<<20) + `"}`,
	} {
		refusedLong(t, strict.JSON([]byte(in), new(document)))
	}
}

func refused(t *testing.T, in string, err error, want string) {
	t.Helper()
	if assay.CodeOf(err) != assay.CodeInvalid || err.Error() != want {
		t.Errorf("%q:\ngot  %v\nwant %s", in, err, want)
	}
}

// refusedLong checks an error about a huge document: still one short line.
func refusedLong(t *testing.T, err error) {
	t.Helper()
	if err == nil || len(err.Error()) > 700 || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want a refusal of one short line", err)
	}
}

// A document of a megabyte that is made to hurt is refused, or read, in well under its time limit.
func TestYAMLSurvivesHostileDocuments(t *testing.T) {
	steps := &strings.Builder{}
	for i := range 1000 {
		fmt.Fprintf(steps, "%sa:\n", strings.Repeat(" ", i))
	}
	for name, in := range map[string]string{
		"flow lists":      strings.Repeat("[", 1<<20),
		"closed lists":    strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"flow objects":    strings.Repeat("{a: ", 1<<18),
		"block lists":     strings.Repeat("- ", 1<<19),
		"block objects":   steps.String(),
		"complex keys":    strings.Repeat("? ", 1<<19),
		"huge whole":      "count: " + strings.Repeat("9", 1<<20),
		"huge any":        "any: " + strings.Repeat("9", 1<<20),
		"huge key":        strings.Repeat("k", 1000) + ": 1",
		"many documents":  strings.Repeat("---\na: 1\n", 1<<16),
		"billion laughs":  "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]",
		"unclosed quote":  "name: \"" + strings.Repeat("x\\n", 1<<18),
		"empty list tail": "any: [" + strings.Repeat("[],", 1<<16),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			refusedLong(t, strict.YAML([]byte(in), new(document)))
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestBoundedReadsUpToItsLimit(t *testing.T) {
	if b, err := strict.Bounded(strings.NewReader("1234"), 4, "the policy"); err != nil || string(b) != "1234" {
		t.Errorf("%q, %v", b, err)
	}
	_, err := strict.Bounded(strings.NewReader("12345"), 4, "the policy")
	if assay.CodeOf(err) != assay.CodeTooLarge || err.Error() != "the policy is larger than 4 bytes" {
		t.Errorf("%v", err)
	}
}

func TestOneOfSuggests(t *testing.T) {
	modes := []string{"off", "dry-run", "warn", "enforce"}
	for found, want := range map[string]string{
		"enforced":                `"enforced" is not one of off, dry-run, warn, enforce (did you mean "enforce"?)`,
		"ENFORCE":                 `"ENFORCE" is not one of off, dry-run, warn, enforce (did you mean "enforce"?)`,
		"completely-different":    `"completely-different" is not one of off, dry-run, warn, enforce`,
		strings.Repeat("x", 1000): `"` + strings.Repeat("x", 80) + `…" is not one of off, dry-run, warn, enforce`,
	} {
		if got := strict.OneOf(found, modes); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
