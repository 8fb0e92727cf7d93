#!/bin/sh
# Checks the rollouts of this example, and that a plan that can never promote says so.
# Uses the assay on the PATH, or the one that ASSAY names.
set -eu
cd "$(dirname "$0")"
assay=${ASSAY:-assay}
"$assay" policy lint policies
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp policies/objective.yaml "$work/"
sed 's/requestsPerMinute: 6000/requestsPerMinute: 3/' policies/canary.yaml >"$work/canary.yaml"
"$assay" policy lint "$work" | grep -q 'at 3 requests/min and 5 % weight this needs about'
echo "a plan that needs days says so"
