#!/bin/sh
# Assay verifies Assay: gathers evidence about bin/assay, runs the project's gate
# over it, attests the verdict, publishes it in a ledger, and proves it offline.
#
# Usage, from the project's root, after `make build`: examples/self-verify/run.sh
# Writes only below .self/, which it empties first. Exits 0 only if every step,
# the refusals at the end included, came out as it must.
set -eu

cd "$(dirname "$0")/../.."
assay=bin/assay
work=.self
recorded=examples/self-verify/vulnerabilities.recorded.json
pin=sha256:cd5cb418e5abc7fd3080c737062bba266f1af7ec61b19076a24f26fdaddb416a
resource=pkg:golang/assay.dev/assay
packages=". ./internal/strict ./evidence ./policy ./gate ./attest ./exception"

rm -rf "$work"
mkdir -p "$work/evidence" "$work/auditor"
# The same settings as `make build`, so that both share Go's build cache.
export CGO_ENABLED=0 GOFLAGS='-trimpath -buildvcs=false -gcflags=all=-dwarf=false'
export ASSAY_DIR="$work/state" ASSAY_POLICY=policies NO_COLOR=1
unset ASSAY_SERVER ASSAY_TOKEN ASSAY_CONFIG ASSAY_KEY 2>/dev/null || true
ASSAY_PASSPHRASE=$(head -c 24 /dev/urandom | base64)
export ASSAY_PASSPHRASE

say() { printf '\n── %s\n' "$*"; }
die() { printf 'self-verify: %s\n' "$*" >&2; exit 1; }

say "gathering evidence about bin/assay"
# A failing test or a finding is evidence too: the gate decides, not this script.
printf 'tests            %s\n' "$packages"
# The static analysis has its own report below: vetting for this one would read every dependency.
# shellcheck disable=SC2086 # the list is meant to be split
go test -json -vet=off -ldflags='-s -w' $packages > "$work/evidence/tests.json" || true
printf 'static analysis  staticcheck ./...\n'
GOGC=400 go tool -modfile=tools/go.mod staticcheck -f sarif ./... > "$work/evidence/staticcheck.sarif" || true
printf 'bill of materials of the binary\n'
go tool -modfile=tools/go.mod cyclonedx-gomod bin -json -output "$work/evidence/sbom.json" "$assay" 2> "$work/sbom.log" ||
	{ cat "$work/sbom.log" >&2; die "no bill of materials"; }
printf 'vulnerabilities  RECORDED, not a scan: %s\n' "$recorded"
"$assay" evidence inspect "$work"/evidence/*.json "$work"/evidence/*.sarif

say "the policy itself: lint and unit tests"
"$assay" policy lint
"$assay" policy test

say "keys, gate, attestation, ledger"
"$assay" key create > "$work/key.txt"
"$assay" attest "$assay" \
	--evidence "$work/evidence/tests.json" \
	--evidence "$work/evidence/staticcheck.sarif" \
	--evidence "$work/evidence/sbom.json" \
	--recorded "$recorded@$pin" \
	--commit "$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
	--markdown "$work/report.md" --json "$work/verdict.json" \
	--bundle "$work/assay.sigstore.json" --proof "$work/assay.proof.json"
"$assay" ledger head
"$assay" ledger audit --fsck

say "the auditor: an empty folder, three files, no network"
cp "$assay" "$work/assay.proof.json" "$work/state/keys/assay.pub" "$work/auditor/"
offline=""
if unshare -rn true 2>/dev/null; then
	offline="unshare -rn"
else
	printf 'this machine allows no network namespace here; going on with the network up\n'
fi
# shellcheck disable=SC2086 # empty, or a command and its flag
(cd "$work/auditor" && env -i $offline ./assay attestation verify ./assay \
	--proof assay.proof.json --pub assay.pub --resource "$resource" --level ASSAY_RELEASE_GATE)

say "one changed byte in anything, and the answer is no"
# check ARTIFACT PROOF POLICY EVIDENCE: verifies everything that the attestation speaks of.
check() {
	"$assay" attestation verify "$1" --proof "$2" --pub "$work/state/keys/assay.pub" --resource "$resource" \
		--policy "$3" --evidence "$4" --evidence "$work/evidence/sbom.json" > "$work/out.txt" 2>&1
}
# flip FILE OFFSET: changes one byte in place.
flip() {
	byte=$(od -An -tu1 -j "$2" -N1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\$(printf %o $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
refused() {
	name=$1
	shift
	if check "$@"; then die "the changed $name was accepted"; fi
	printf '✗ %-9s %s\n' "$name" "$(grep -m1 '✗\|assay:' "$work/out.txt" | sed 's/^✗ *//')"
}
tests=$work/evidence/tests.json
check "$assay" "$work/assay.proof.json" policies "$tests" || { cat "$work/out.txt"; die "the unchanged files were refused"; }
printf '✓ unchanged\n'

mkdir "$work/bad"
cp "$assay" "$work/bad/assay" && flip "$work/bad/assay" 4096
refused binary "$work/bad/assay" "$work/assay.proof.json" policies "$tests"
cp "$work/assay.proof.json" "$work/bad/proof.json" && flip "$work/bad/proof.json" 1500
refused proof "$assay" "$work/bad/proof.json" policies "$tests"
cp -r policies "$work/bad/policies" && flip "$work/bad/policies/release.rego" 20
refused policy "$assay" "$work/assay.proof.json" "$work/bad/policies" "$tests"
cp "$tests" "$work/bad/tests.json" && flip "$work/bad/tests.json" 100
refused evidence "$assay" "$work/assay.proof.json" policies "$work/bad/tests.json"

say "done"
printf '✓ bin/assay passed its gate, and the proof of it verifies offline\n'
printf '  report  .self/report.md\n  proof   .self/assay.proof.json\n  verify  bin/assay attestation verify bin/assay --proof .self/assay.proof.json --pub .self/state/keys/assay.pub --resource %s\n' "$resource"
