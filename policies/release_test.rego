package release_test

import data.release

log4j := {
	"rule": "CVE-2021-44228",
	"severity": "critical",
	"fingerprint": "f1",
	"package": {"name": "log4j-core", "version": "2.14.1"},
	"fixed_in": ["2.17.1"],
}

scan(findings) := {"evidence": [{"kind": "vulnerabilities", "origin": "live", "findings": findings}]}

test_a_critical_vulnerability_is_denied_with_its_fix if {
	some v in release.deny with input as scan([log4j])
	v.rule == "no-critical-vulnerabilities"
	v.remedy == "upgrade log4j-core to 2.17.1"
}

test_a_vulnerability_without_a_fix_says_so if {
	some v in release.deny with input as scan([object.remove(log4j, ["fixed_in"])])
	startswith(v.remedy, "no fixed version is known")
}

test_a_medium_vulnerability_passes if {
	count(release.deny) == 0 with input as scan([object.union(log4j, {"severity": "medium"})])
}

test_a_suppressed_vulnerability_passes if {
	count(release.deny) == 0 with input as scan([object.union(log4j, {"suppressed": "not affected: code not in path"})])
}

test_a_second_database_driver_is_denied if {
	some v in release.deny with input as {"evidence": [{
		"kind": "sbom",
		"origin": "live",
		"components": [{"name": "github.com/mattn/go-sqlite3", "version": "v1.14.0"}],
	}]}
	v.rule == "one-storage-engine"
}

test_a_recorded_report_is_pointed_out if {
	some v in release.warn with input as {"evidence": [{"kind": "vulnerabilities", "origin": "recorded"}]}
	v.rule == "recorded-evidence"
}

test_an_analysis_that_did_not_compile_is_denied if {
	some v in release.deny with input as {"evidence": [{
		"kind": "static-analysis",
		"origin": "live",
		"findings": [{"rule": "compile", "severity": "medium", "fingerprint": "f2", "message": "undefined: x"}],
	}]}
	v.rule == "analysed-code-compiles"
}
