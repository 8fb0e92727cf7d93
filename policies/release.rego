# METADATA
# title: What a release of Assay must not have
package release

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
# title: An analysis of code that does not compile says nothing
# description: Staticcheck reports a broken build as one finding without a level, and calls its run successful.
deny contains violation if {
	some report in input.evidence
	report.kind == "static-analysis"
	some finding in report.findings
	finding.rule == "compile"
	violation := {
		"rule": "analysed-code-compiles",
		"severity": "high",
		"kind": report.kind,
		"location": object.get(finding, "location", {}),
		"fingerprint": finding.fingerprint,
		"msg": sprintf("static analysis could not compile the code: %s", [finding.message]),
		"remedy": "make the code compile, then run the analysis again",
	}
}

# METADATA
# title: Only the storage engine we know
# description: Every fact goes through SQLite. A second database driver in the binary is a mistake or an attack.
deny contains violation if {
	some report in input.evidence
	report.kind == "sbom"
	some component in report.components
	component.name in {"github.com/mattn/go-sqlite3", "github.com/go-sql-driver/mysql"}
	violation := {
		"rule": "one-storage-engine",
		"severity": "high",
		"kind": report.kind,
		"package": component,
		"msg": sprintf("the binary contains the database driver %s", [component.name]),
		"remedy": sprintf("find who imports it with: go mod why -m %s", [component.name]),
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
