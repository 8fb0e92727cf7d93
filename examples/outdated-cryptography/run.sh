#!/bin/sh
# Two images: one with outdated cryptography is refused, one without passes. Exits 0
# only if each comes out as it must. Uses the assay on the PATH, or the one that ASSAY
# names.
set -u
cd "$(dirname "$0")" || exit 1
assay=${ASSAY:-assay}

# want CODE ARGS…: runs the gate and insists on its exit code.
want() {
	code=$1
	shift
	printf '\n$ assay verify %s\n' "$*"
	"$assay" verify "$@"
	got=$?
	if [ "$got" -ne "$code" ]; then
		printf 'exit code %s, expected %s\n' "$got" "$code" >&2
		exit 1
	fi
}

"$assay" policy lint && "$assay" policy test || exit 1
want 3 till-1.0.0.txt --evidence evidence/sbom-1.0.0.json
want 0 till-1.1.0.txt --evidence evidence/sbom-1.1.0.json
