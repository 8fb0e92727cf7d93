# METADATA
# title: What may be released
package release

# METADATA
# title: No active finding of a scanner is critical
deny contains {
	"rule": "no-critical",
	"msg": sprintf("%s in %s", [finding.rule, finding.package.name]),
	"severity": finding.severity,
	"kind": evidence.kind,
	"package": finding.package,
	"fingerprint": finding.fingerprint,
	"remedy": "update the package",
} if {
	some evidence in input.evidence
	some finding in evidence.findings
	finding.severity == "critical"
	not finding.suppressed
	not finding.rule in data.lists.ignored
}

# METADATA
# title: Releases are built from a known commit
warn contains "the artifact does not say which commit it was built from" if {
	not input.subject.commit
}
