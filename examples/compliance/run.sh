#!/bin/sh
# Evidence for a regulated deployment, made and then verified by an auditor alone.
# Exits 0 only if every step comes out as it must. Uses the assay on the PATH, or
# the one that ASSAY names; writes the reports into OUT.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
case ${ASSAY:-assay} in
*/*) assay=$(cd "$(dirname "$ASSAY")" && pwd)/$(basename "$ASSAY") ;;
*) assay=${ASSAY:-assay} ;;
esac
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$here/../first-gate/." "$work/company"
cd "$work/company"
ASSAY_PASSPHRASE=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
export ASSAY_PASSPHRASE

# want CODE COMMAND…: runs it, shows what it prints, and insists on its exit code.
want() {
	code=$1
	shift
	printf '\n$ %s\n' "$(printf '%s ' "$@" | sed "s|^$assay|assay|")"
	got=0
	"$@" || got=$?
	if [ "$got" -ne "$code" ]; then
		printf 'exit code %s, expected %s\n' "$got" "$code" >&2
		exit 1
	fi
}

printf '== A company ships\n'
want 0 "$assay" key create > "$work/key.txt"
alice=$("$assay" token create alice --role developer --expires 24h)
bob=$("$assay" token create bob --role approver --expires 24h)
want 0 "$assay" attest greet-1.1.0.tar.gz --environment prod --evidence evidence/1.1.0/tests.json --evidence evidence/1.1.0/sbom.json
want 3 "$assay" attest greet-1.0.0.tar.gz --environment prod --evidence evidence/1.0.0/tests.json --evidence evidence/1.0.0/sbom.json
ASSAY_TOKEN=$alice "$assay" exception request --rule release/tagged-dependencies --package golang.org/x/exp \
	--reason "exp has no releases; it is gone in 1.1.0" --ticket GREET-7 --until 72h -o json > "$work/exception.json"
id=$(sed -n 's/^  "id": "\([^"]*\)",*$/\1/p' "$work/exception.json")
ASSAY_TOKEN=$alice want 1 "$assay" exception approve "$id"
ASSAY_TOKEN=$bob want 0 "$assay" exception approve "$id"
want 0 "$assay" attest greet-1.0.0.tar.gz --environment prod --evidence evidence/1.0.0/tests.json --evidence evidence/1.0.0/sbom.json

printf '\n== What runs, and is it attested\n'
digest() { sha256sum "$1" | cut -c-64; }
cat > running.json <<END
[{"service": "greet", "digest": "sha256:$(digest greet-1.1.0.tar.gz)", "instances": 3},
 {"service": "greet-classic", "digest": "sha256:$(digest greet-1.0.0.tar.gz)"},
 {"service": "cron", "digest": "sha256:$(digest policies/release.rego)"}]
END
want 0 "$assay" inventory push running.json --environment prod --source host-1
want 3 "$assay" report coverage --environment prod --require 1

printf '\n== A vulnerability is published later\n'
want 3 "$assay" inventory scan --advisories "$here/advisories"

printf '\n== The report\n'
for format in html json oscal; do
	file=$out/report.$format
	[ $format = oscal ] && file=$out/report.oscal.json
	want 0 "$assay" report compliance --framework soc2 --from 24h --format $format -f "$file"
done
want 0 "$assay" report compliance --framework soc2 --from 24h

printf '\n== The auditor, alone\n'
mkdir "$work/auditor"
cp "$out/report.json" .assay/keys/assay.pub "$work/auditor/"
(
	cd "$work/auditor"
	want 0 "$assay" report verify report.json --pub assay.pub
	sed 's/approved by bob/approved by the board/' report.json > forged.json
	want 3 "$assay" report verify forged.json --pub assay.pub
)

printf '\n== What an exception let in leaves with it\n'
ASSAY_TOKEN=$bob want 0 "$assay" exception revoke "$id" --reason "1.0.0 is to be replaced at once"
want 3 "$assay" report coverage --environment prod --require 0.5
printf '\nThe reports are in %s\n' "$out"
