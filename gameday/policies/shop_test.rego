package shop_test

import data.shop

backdoor := {
	"rule": "CVE-2024-3094",
	"severity": "critical",
	"fingerprint": "f1",
	"package": {"name": "xz-utils", "version": "5.6.1-1"},
	"fixed_in": ["5.6.1+really5.4.5-1"],
}

scan(findings) := {"evidence": [{"kind": "vulnerabilities", "origin": "live", "findings": findings}]}

test_a_critical_vulnerability_is_denied_with_its_fix if {
	some v in shop.deny with input as scan([backdoor])
	v.rule == "no-critical-vulnerabilities"
	v.remedy == "upgrade xz-utils to 5.6.1+really5.4.5-1"
}

test_a_vulnerability_without_a_fix_says_so if {
	some v in shop.deny with input as scan([object.remove(backdoor, ["fixed_in"])])
	startswith(v.remedy, "no fixed version is known")
}

test_a_medium_vulnerability_passes if {
	count(shop.deny) == 0 with input as scan([object.union(backdoor, {"severity": "medium"})])
}

test_a_suppressed_vulnerability_passes if {
	count(shop.deny) == 0 with input as scan([object.union(backdoor, {"suppressed": "not affected: code not in path"})])
}

test_a_recorded_report_is_pointed_out if {
	some v in shop.warn with input as {"evidence": [{"kind": "sbom", "origin": "recorded"}]}
	v.rule == "recorded-evidence"
}
