# METADATA
# title: Rules that look at every component and at every finding
package bench

# METADATA
# title: No component under a licence that nobody agreed to
deny contains violation if {
	some report in input.evidence
	report.kind == "sbom"
	some component in report.components
	not licensed(component)
	violation := {
		"rule": "licence",
		"severity": "high",
		"kind": report.kind,
		"package": component,
		"msg": sprintf("%s %s is under %v", [component.name, component.version, object.get(component, "licenses", [])]),
		"remedy": "replace it, or ask for an exception",
	}
}

# METADATA
# title: No finding of the rules that we decided never to accept
deny contains violation if {
	some report in input.evidence
	report.kind == "static-analysis"
	some finding in report.findings
	finding.rule in never
	not finding.suppressed
	violation := {
		"rule": "never",
		"severity": finding.severity,
		"kind": report.kind,
		"location": finding.location,
		"fingerprint": finding.fingerprint,
		"msg": sprintf("%s: %s", [finding.rule, finding.message]),
	}
}

# METADATA
# title: Findings in generated code are worth a look
warn contains advice if {
	some report in input.evidence
	report.kind == "static-analysis"
	some finding in report.findings
	startswith(finding.location.file, "src/package7/")
	advice := {
		"rule": "generated",
		"severity": "low",
		"kind": report.kind,
		"location": finding.location,
		"fingerprint": finding.fingerprint,
		"msg": sprintf("%s in generated code", [finding.rule]),
	}
}

never := {"R007", "R042", "R099"}

licensed(component) if "Apache-2.0" in component.licenses

licensed(component) if "MIT" in component.licenses
