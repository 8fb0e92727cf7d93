package attest

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"assay.dev/assay"
	"github.com/go-json-experiment/json/jsontext"
)

// Statement is an in-toto Statement v1: a claim (Predicate) of a stated kind about Subjects.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Descriptor    `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Descriptor is an in-toto ResourceDescriptor. Digest maps an algorithm to a
// value, which is lower-case hexadecimal for the algorithms that hash bytes.
type Descriptor struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations json.RawMessage   `json:"annotations,omitempty"`
}

// Has reports whether d carries the digest "algorithm:value".
func (d Descriptor) Has(digest string) bool {
	alg, value, ok := strings.Cut(digest, ":")
	return ok && value != "" && d.Digest[alg] == value
}

// digests returns d's digests as text, for people.
func (d Descriptor) digests() string {
	var all []string
	for alg, v := range d.Digest {
		all = append(all, alg+":"+v)
	}
	if len(all) == 1 {
		return clip(all[0], 120)
	}
	return strconv.Itoa(len(all)) + " digests"
}

// oldStatementType is the version before v1, of the same shape. cosign still writes it.
const oldStatementType = "https://in-toto.io/Statement/v0.1"

// ParseStatement reads an in-toto Statement v1, or v0.1 as cosign writes it. Fields it does not know are
// ignored, as in-toto demands; duplicate keys are refused.
func ParseStatement(data []byte) (Statement, error) {
	if len(data) > MaxStatement {
		return Statement{}, tooLarge("statement", len(data), MaxStatement)
	}
	if err := checkPlain(data); err != nil {
		return Statement{}, err
	}
	var s Statement
	if err := decodeOpen(data, &s); err != nil {
		return Statement{}, err
	}
	if s.Type != assay.StatementType && s.Type != oldStatementType {
		return Statement{}, fieldError("_type", "is "+quote(s.Type)+"; expected "+strconv.Quote(assay.StatementType))
	}
	if len(s.Subject) == 0 {
		return Statement{}, fieldError("subject", "is empty; a statement is about at least one subject")
	}
	if len(s.Subject) > MaxSubjects {
		return Statement{}, tooLarge("subject", len(s.Subject), MaxSubjects)
	}
	for i, d := range s.Subject {
		if len(d.Digest) == 0 {
			return Statement{}, fieldError("subject["+strconv.Itoa(i)+"].digest", "is missing; only a digest identifies a subject")
		}
	}
	if s.PredicateType == "" {
		return Statement{}, fieldError("predicateType", "is missing")
	}
	return s, nil
}

// marshalStatement encodes a statement about subjects with the given predicate.
// Control characters from tool reports become spaces: a reader refuses them,
// and they could drive the terminal of whoever prints the statement.
func marshalStatement(subjects []Descriptor, predicateType string, predicate any, members ...member) ([]byte, error) {
	p, err := json.Marshal(predicate)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "predicate cannot be encoded: %w", err)
	}
	for _, m := range members {
		v, err := json.Marshal(m.value)
		if err != nil {
			return nil, assay.Errorf(assay.CodeInternal, "%s cannot be encoded: %w", m.name, err)
		}
		p = append(p[:len(p)-1], ","+strconv.Quote(m.name)+":"...)
		p = append(append(p, v...), '}')
	}
	data, err := json.Marshal(Statement{
		Type: assay.StatementType, Subject: subjects, PredicateType: predicateType, Predicate: p,
	})
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "statement cannot be encoded: %w", err)
	}
	if !scrubbed(data) {
		if data, err = scrub(data); err != nil {
			return nil, assay.Errorf(assay.CodeInternal, "statement cannot be encoded: %w", err)
		}
	}
	if len(data) > MaxStatement {
		return nil, tooLarge("statement", len(data), MaxStatement)
	}
	return data, nil
}

// member is an extension field of a predicate: its name is a URI.
type member struct {
	name  string
	value any
}

// scrub replaces control characters in every string of a JSON document by spaces.
func scrub(data []byte) ([]byte, error) {
	in := jsontext.NewDecoder(strings.NewReader(string(data)))
	var out strings.Builder
	enc := jsontext.NewEncoder(&out, jsontext.Multiline(false), jsontext.SpaceAfterComma(false))
	for {
		tok, err := in.ReadToken()
		if err != nil {
			return nil, err
		}
		if tok.Kind() == '"' {
			tok = jsontext.String(strings.Map(noControl, tok.String()))
		}
		if err := enc.WriteToken(tok); err != nil {
			return nil, err
		}
		if in.StackDepth() == 0 {
			return []byte(strings.TrimSuffix(out.String(), "\n")), nil
		}
	}
}

// scrubbed reports whether scrub would leave a document of encoding/json as it is:
// printable ASCII without escapes.
func scrubbed(data []byte) bool {
	return !slices.ContainsFunc(data, func(c byte) bool { return c == '\\' || c < 0x20 || c >= 0x7f })
}

func noControl(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// digestSet is the in-toto form of a Digest.
func digestSet(d assay.Digest) map[string]string { return map[string]string{"sha256": d.Hex()} }

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
