package rego

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// AllowedBuiltins lists every built-in function that a policy may call. A name
// that is not here does not exist for policies, so a new engine version cannot
// add one unnoticed. Left out on purpose: whatever reaches the network, the clock,
// randomness, the environment or time zones of the machine, key material, or
// allocates without bound.
var AllowedBuiltins = strings.Fields(`
	eq assign equal neq lt lte gt gte
	plus minus mul div rem abs ceil floor round bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor
	and or intersection union set_diff
	count sum product max min sort
	array.concat array.flatten array.reverse array.slice
	object.filter object.get object.keys object.remove object.subset object.union object.union_n
	concat contains endswith startswith format_int indexof indexof_n lower upper replace split sprintf substring
	strings.any_prefix_match strings.any_suffix_match strings.count strings.replace_n strings.reverse strings.split_n
	trim trim_left trim_prefix trim_right trim_space trim_suffix to_number
	regex.find_all_string_submatch_n regex.find_n regex.is_valid regex.match regex.replace regex.split
	glob.match glob.quote_meta
	is_array is_boolean is_null is_number is_object is_set is_string type_name
	json.filter json.is_valid json.marshal json.patch json.remove json.unmarshal
	base64.decode base64.encode base64.is_valid base64url.decode base64url.encode hex.decode hex.encode urlquery.decode urlquery.encode
	crypto.sha256
	semver.compare semver.is_valid
	time.add_date time.parse_duration_ns time.parse_rfc3339_ns
	units.parse units.parse_bytes
	walk graph.reachable
	rego.metadata.chain rego.metadata.rule
	print
	internal.member_2 internal.member_3 internal.print internal.template_string internal.test_case
`)

// reasons says why a family of built-in functions does not exist here.
var reasons = []struct{ prefix, why string }{
	{"http.", "a verdict must not depend on the network"},
	{"net.", "a verdict must not depend on the network"},
	{"opa.runtime", "a verdict must not depend on the machine"},
	{"time.now_ns", "a verdict is about the instant in input.time"},
	{"time.", "time zones differ between machines; use time.parse_rfc3339_ns(input.time)"},
	{"rand.", "a verdict must not depend on chance"},
	{"uuid.", "a verdict must not depend on chance"},
	{"io.jwt.", "signatures are checked before policies run"},
	{"crypto.", "signatures are checked before policies run; crypto.sha256 is available"},
	{"trace", "use print in tests"},
	{"numbers.range", "it allocates without bound"},
}

// Capabilities is what a policy may use: the allowed built-in functions of the
// linked engine, Rego v1, and no network.
func Capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), func(b *ast.Builtin) bool {
		return !slices.Contains(AllowedBuiltins, b.Name)
	})
	c.AllowNet = []string{}
	return c
}

// forbidden says why a built-in function that the engine has is not available; ok is false if the engine has none of that name.
func forbidden(name string) (why string, ok bool) {
	if _, exists := ast.BuiltinMap[name]; !exists || slices.Contains(AllowedBuiltins, name) {
		return "", false
	}
	for _, r := range reasons {
		if strings.HasPrefix(name, r.prefix) {
			return r.why, true
		}
	}
	return "it is not in the list of functions that policies may call", true
}
