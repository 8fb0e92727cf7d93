package release_test

import data.release

critical := {
	"rule": "CVE-2026-1",
	"severity": "critical",
	"package": {"name": "left-pad"},
	"fingerprint": "f1",
}

test_critical_finding_is_denied if {
	denied := release.deny with input as {"evidence": [{"kind": "vulnerabilities", "findings": [critical]}]}
	count(denied) == 1
}

test_ignored_rule_is_not_denied if {
	count(release.deny) == 0 with input as {"evidence": [{"kind": "vulnerabilities", "findings": [critical]}]}
		with data.lists.ignored as ["CVE-2026-1"]
}

todo_test_something_later if false
