# METADATA
# title: What a release of greet must not have
package release

# METADATA
# title: Every dependency is a tagged release
# description: A commit between two releases was never announced, and advisories do not name it.
deny contains violation if {
	some report in input.evidence
	report.kind == "sbom"
	some component in report.components
	regex.match(`^v\d+\.\d+\.\d+-(.*\.)?\d{14}-[0-9a-f]{12}$`, component.version)
	violation := {
		"rule": "tagged-dependencies",
		"severity": "high",
		"kind": report.kind,
		"package": component,
		"msg": sprintf("%s is pinned to a commit, %s", [component.name, component.version]),
		"remedy": "use a tagged release, or remove the dependency",
	}
}
