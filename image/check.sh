#!/usr/bin/env bash
# Checks what image/build.sh built: one static file that needs nothing of its machine, with the list of its dependencies inside.
#
#   image/check.sh BINARY [amd64|arm64]
#
# A binary of another architecture than the machine's is read and not run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 1 ] || { echo "usage: image/check.sh BINARY [amd64|arm64]" >&2; exit 2; }
binary=$1
architecture=${2:-amd64}

"${PYTHON:-python3}" "$here/elf.py" "$binary" "$architecture" "$here/../Cargo.lock"

case "$architecture-$(uname -m)" in
  amd64-x86_64 | arm64-aarch64 | arm64-arm64) ;;
  *) echo "it is not of this machine's architecture, so it is not run"; exit 0 ;;
esac

# As in the image: a file system with the program and nothing else, nobody's user, no environment. Where a user may not have a file
# system of its own, such as while an image is built, the environment alone is empty.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp "$binary" "$root/dr-operator"
chmod 755 "$root" "$root/dr-operator"
apart=(unshare --user --map-user=65532 --map-group=65532 --root="$root" --wd=/)
if "${apart[@]}" /dr-operator --version >/dev/null 2>&1; then
  run() { timeout 30 env -i KUBECONFIG=/kubeconfig "${apart[@]}" /dr-operator "$@"; }
else
  echo "NOTE: no user namespace here, so the machine's files are there too"
  apart=()
  run() { timeout 30 env -i KUBECONFIG="$root/kubeconfig" "$root/dr-operator" "$@"; }
fi
version=$(sed -n '/^name = "disaster-recovery-operator"$/,/^version/s/^version = "\(.*\)"$/\1/p' "$here/../Cargo.lock")
[ "$(run --version)" = "disaster-recovery-operator $version" ] || { echo "it is not of version $version: $(run --version)" >&2; exit 1; }
for file in "$here"/../crds/*.yaml; do
  echo ---
  cat "$file"
done | diff - <(run crd) >/dev/null || { echo "dr-operator crd does not print what is in crds/" >&2; exit 1; }

# The operator starts as far as it can without a cluster: nobody listens on port 1. Without the roots of the base there is no TLS.
cat >"$root/kubeconfig" <<'END'
{"apiVersion": "v1", "kind": "Config", "current-context": "none",
 "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
 "users": [{"name": "none", "user": {"token": "none"}}],
 "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}]}
END
ends_with() { # what it must say
  local said
  said=$(run run --metrics-address=127.0.0.1:0 2>&1) && { echo "it started without a cluster:" >&2; echo "$said" >&2; exit 1; }
  grep -qF "$1" <<<"$said" || { echo "it did not say: $1" >&2; echo "$said" >&2; exit 1; }
}
if [ ${#apart[@]} != 0 ]; then
  ends_with "No CA certificates were loaded from the system"
  mkdir -p "$root/etc/ssl/certs"
  cp "$here/root.pem" "$root/etc/ssl/certs/ca-certificates.crt"
fi
ends_with "Connection refused"
echo "it runs: --version, crd, and run up to the cluster"
