#!/usr/bin/env bash
# Builds the evaluation of health checks once and prints the program: Argo CD's own, and that of kstatus.
#
# It is kept outside the checkout, by the hash of its pins and source, so that every checkout of the same commit shares it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

version=$(sed -n 's,^\s*github.com/argoproj/argo-cd/v3 \(v[0-9.]*\).*$,\1,p' "$here/go.mod")
[ -n "$version" ] || { echo "no github.com/argoproj/argo-cd/v3 version in $here/go.mod" >&2; exit 1; }
pins=$(cat "$here/go.mod" "$here/go.sum" "$here/main.go" | sha256sum | cut -c1-16)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/disaster-recovery-operator"
program="$cache/argocd-health-$version-$pins"

if [ ! -x "$program" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/build.lock"
  flock 9 # two checkouts may build at once, and the control plane is as much work again
fi
if [ ! -x "$program" ]; then
  command -v go >/dev/null || { echo "Go 1.26 or newer is needed to build Argo CD's health evaluation" >&2; exit 1; }
  echo "building Argo CD's health evaluation (the first time only; about three minutes on two cores)" >&2
  (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$program.partial" .) >&2
  mv "$program.partial" "$program"
fi
echo "$program"
