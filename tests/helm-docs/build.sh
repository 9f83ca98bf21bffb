#!/usr/bin/env bash
# Builds the pinned helm-docs once and prints its path. It writes the chart's README from the comments of values.yaml:
#   "$(tests/helm-docs/build.sh)" --chart-search-root charts --sort-values-order file
# with --dry-run to print it instead. The program is kept outside the checkout, by the hash of go.mod and go.sum beside this file.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

pins=$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/disaster-recovery-operator"
program="$cache/helm-docs-$pins/helm-docs"

if [ ! -x "$program" ]; then
  mkdir -p "${program%/*}"
  exec 9>"${program%/*}/lock"
  flock 9 # two checkouts may build at once
fi
if [ ! -x "$program" ]; then
  command -v go >/dev/null || { echo "Go 1.26 or newer is needed to build helm-docs" >&2; exit 1; }
  echo "building helm-docs (the first time only; it takes less than a minute)" >&2
  (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$program.partial" github.com/norwoodj/helm-docs/cmd/helm-docs) >&2
  mv "$program.partial" "$program"
fi
echo "$program"
