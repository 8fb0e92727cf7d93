package attest

import (
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
)

// Predicate types that are read besides those that are written.
const (
	// vulnsOldPredicateType is the version before, of the same shape.
	vulnsOldPredicateType = "https://in-toto.io/attestation/vulns/v0.1"
	// cosignVulnPredicateType is what cosign calls a scan: another URI, another shape.
	cosignVulnPredicateType = "https://cosign.sigstore.dev/attestation/vuln/v1"
)

// predicateAliases are short names that people know, cosign's among them. The
// first type of each is the one that is written.
var predicateAliases = []struct {
	name  string
	types []string
}{
	{"vsa", []string{assay.VSAPredicateType}},
	{"test-result", []string{assay.TestResultPredicateType}},
	{"vulns", []string{assay.VulnsPredicateType, vulnsOldPredicateType, cosignVulnPredicateType}},
	{"vuln", []string{cosignVulnPredicateType, assay.VulnsPredicateType, vulnsOldPredicateType}},
	{"exception", []string{assay.ExceptionPredicateType}},
	{"slsaprovenance", []string{"https://slsa.dev/provenance/v0.2"}},
	{"slsaprovenance02", []string{"https://slsa.dev/provenance/v0.2"}},
	{"slsaprovenance1", []string{"https://slsa.dev/provenance/v1"}},
	{"spdx", []string{"https://spdx.dev/Document"}},
	{"spdxjson", []string{"https://spdx.dev/Document"}},
	{"cyclonedx", []string{"https://cyclonedx.org/bom"}},
	{"link", []string{"https://in-toto.io/Link/v1"}},
	{"openvex", []string{"https://openvex.dev/ns"}},
}

// PredicateTypes returns the predicate types that a name stands for: those of an
// alias, or the type itself if it is a URI. TypeAny and TypeSignature stand for
// themselves. An unknown word is assay.CodeInvalid and names the known ones.
func PredicateTypes(name string) ([]string, error) {
	if name == TypeAny || name == TypeSignature || strings.Contains(name, ":") {
		return []string{name}, nil
	}
	names := []string{TypeAny, TypeSignature}
	for _, a := range predicateAliases {
		if a.name == name {
			return a.types, nil
		}
		names = append(names, a.name)
	}
	return nil, assay.Errorf(assay.CodeInvalid, "type %s is not known; expected a predicate type (a URI) or one of %s", quote(name), strings.Join(names, ", "))
}

// readPredicate checks that the statement is of the wanted type, and says what
// its predicate holds if Assay can read it. One that it should be able to read
// and cannot is refused.
func readPredicate(st Statement, want string) (string, error) {
	types, err := PredicateTypes(want)
	if err != nil {
		return "", err
	}
	if !slices.Contains(types, st.PredicateType) {
		return "", fmt.Errorf("found predicate type %s; expected %s", quote(st.PredicateType), strings.Join(types, " or "))
	}
	says, err := describe(st)
	if err != nil {
		return "", err
	}
	if says != "" {
		says = ": " + says
	}
	return "is " + clip(st.PredicateType, 200) + says, nil
}

// Describe says in one line what an unsigned statement of a known kind holds.
func Describe(statement []byte) (string, error) {
	st, err := ParseStatement(statement)
	if err != nil {
		return "", err
	}
	return describe(st)
}

// describe reads a predicate that Assay knows, and says what it holds; "" of one
// that it does not know.
func describe(st Statement) (string, error) {
	switch st.PredicateType {
	case assay.TestResultPredicateType:
		r, err := ParseTestResult(st.Predicate)
		if err != nil {
			return "", fmt.Errorf("the test result cannot be read: %w", err)
		}
		return r.Describe(), nil
	case assay.VulnsPredicateType, vulnsOldPredicateType, cosignVulnPredicateType:
		v, err := ParseVulns(st.PredicateType, st.Predicate)
		if err != nil {
			return "", fmt.Errorf("the scan cannot be read: %w", err)
		}
		return v.Describe(), nil
	}
	return "", nil
}
