# METADATA
# title: What a release of the shop must not have
package shop

# METADATA
# title: No critical or high vulnerability that nobody excused
deny contains violation if {
	some report in input.evidence
	report.kind == "vulnerabilities"
	some finding in report.findings
	finding.severity in {"critical", "high"}
	not finding.suppressed
	violation := {
		"rule": "no-critical-vulnerabilities",
		"severity": finding.severity,
		"kind": report.kind,
		"package": finding.package,
		"fingerprint": finding.fingerprint,
		"msg": sprintf("%s in %s %s", [finding.rule, finding.package.name, finding.package.version]),
		"remedy": upgrade(finding),
	}
}

# METADATA
# title: Say when a report was not made for this run
warn contains advice if {
	some report in input.evidence
	report.origin == "recorded"
	advice := {
		"rule": "recorded-evidence",
		"severity": "low",
		"kind": report.kind,
		"msg": sprintf("the %s report was recorded earlier; it is not a scan of this build", [report.kind]),
		"remedy": "replace it with a live report of your scanner",
	}
}

upgrade(finding) := sprintf("upgrade %s to %s", [finding.package.name, finding.fixed_in[0]])

upgrade(finding) := "no fixed version is known; remove the package or ask for an exception" if not finding.fixed_in
