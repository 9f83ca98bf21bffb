#!/usr/bin/env bash
# Installs the pinned tools that build.sh needs, outside the checkout, unless they are there, and prints their folder:
# cargo-auditable, which puts the list of dependencies into the binary, and zig, which compiles its C for musl.
# A folder that is there is complete: it is made beside its place under a lock and gets its name last.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

auditable=0.7.7
cache="${XDG_CACHE_HOME:-$HOME/.cache}/disaster-recovery-operator"
pins=$(cat "$here/requirements.txt" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-16)
folder="$cache/image-tools-$pins-$(uname -m)"

mkdir -p "$cache"
exec 9>"$folder.lock"
flock 9 # two checkouts may build at once
if [ ! -d "$folder" ]; then
  work="$folder.partial"
  rm -rf "$work"
  mkdir "$work"
  echo "installing zig and cargo-auditable $auditable (the first time only; a minute)" >&2
  "${PYTHON:-python3}" -m venv "$work/venv" >&2
  "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary=:all: --require-hashes \
    --target "$work" -r "$here/requirements.txt" >&2
  rm -rf "$work/venv"
  CARGO_TARGET_DIR="$work/target" "${CARGO:-cargo}" install --quiet --locked --version "$auditable" --root "$work" cargo-auditable >&2
  rm -rf "$work/target"
  # Zig as a C compiler alone, under names that tell the crate cc what it is. It has its own names of targets, and adds checks of
  # undefined behaviour, which need a library of its own, to C that is compiled without optimisation.
  for machine in x86_64 aarch64; do
    cat >"$work/zig-cc-$machine" <<END
#!/bin/sh
for argument; do
  shift
  case \$argument in --target=*) ;; *) set -- "\$@" "\$argument" ;; esac
done
exec "\${0%/*}/ziglang/zig" cc -target $machine-linux-musl -fno-sanitize=undefined "\$@"
END
  done
  printf '#!/bin/sh\nexec "${0%%/*}/ziglang/zig" ar "$@"\n' >"$work/zig-ar"
  chmod +x "$work"/zig-*
  mv "$work" "$folder"
fi
echo "$folder"
