# METADATA
# title: What encrypts in an image is maintained
package cryptography

# The least major and minor version that is maintained, by the name of the package.
least := {
	"openssl": [3, 0],
	"libssl": [3, 0],
	"libssl1.0": [3, 0],
	"libssl1.1": [3, 0],
	"gnutls": [3, 7],
	"libgcrypt20": [1, 10],
	"mbedtls": [3, 6],
	"bcprov-jdk15on": [1, 78],
}

# METADATA
# title: No outdated cryptographic library
# description: Protocols and ciphers that are broken stay in libraries that nobody maintains.
deny contains violation if {
	some report in input.evidence
	report.kind == "sbom"
	some component in report.components
	wanted := least[component.name]
	older(numbers(component.version), wanted)
	violation := {
		"rule": "maintained-cryptography",
		"severity": "high",
		"kind": report.kind,
		"package": component,
		"msg": sprintf("%s %s is not maintained any more", [component.name, component.version]),
		"remedy": sprintf("build on an image with %s %d.%d or newer", [component.name, wanted[0], wanted[1]]),
	}
}

# METADATA
# title: A version that cannot be compared is not known to be maintained
deny contains violation if {
	some report in input.evidence
	report.kind == "sbom"
	some component in report.components
	least[component.name]
	not numbers(component.version)
	violation := {
		"rule": "maintained-cryptography",
		"severity": "high",
		"kind": report.kind,
		"package": component,
		"msg": sprintf("nobody can tell how old %s %s is", [component.name, component.version]),
		"remedy": "state its version in the bill of materials",
	}
}

# numbers are the first two of a version such as 1:1.1.1w-0+deb11u1; there are none in "unknown".
numbers(version) := [to_number(found[0][2]), to_number(found[0][3])] if {
	found := regex.find_all_string_submatch_n(`^([0-9]+:)?v?([0-9]+)\.([0-9]+)`, version, 1)
	count(found) == 1
}

older(a, b) if a[0] < b[0]

older(a, b) if {
	a[0] == b[0]
	a[1] < b[1]
}
