package release_test

import data.release

sbom(version) := {"evidence": [{
	"kind": "sbom",
	"components": [{"name": "golang.org/x/exp", "version": version}],
}]}

test_a_commit_is_denied if {
	some v in release.deny with input as sbom("v0.0.0-20260824195058-e88cd73687aa")
	v.rule == "tagged-dependencies"
}

test_a_commit_after_a_release_is_denied if {
	count(release.deny) == 1 with input as sbom("v1.2.4-0.20260824195058-e88cd73687aa")
}

test_a_release_passes if {
	count(release.deny) == 0 with input as sbom("v0.43.0")
}
