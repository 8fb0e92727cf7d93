package bench

# METADATA
# title: High findings in components that are shipped
deny contains {
	"rule": "shipped",
	"msg": sprintf("%s is in %s", [finding.rule, finding.package.name]),
	"severity": finding.severity,
	"kind": "vulnerabilities",
	"package": finding.package,
	"fingerprint": finding.fingerprint,
} if {
	some evidence in input.evidence
	some finding in evidence.findings
	finding.severity == "high"
	finding.package.purl in shipped
}

# METADATA
# title: Every component has a licence we know
deny contains {
	"rule": "licence",
	"msg": sprintf("%d components have a licence that is not known", [count(unknown)]),
} if {
	count(unknown) > 10
}

shipped contains component.purl if {
	some evidence in input.evidence
	some component in evidence.components
}

unknown contains component.purl if {
	some evidence in input.evidence
	some component in evidence.components
	not "MIT" in component.licenses
}
