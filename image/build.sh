#!/usr/bin/env bash
# Builds the program of the image, static, with the list of its dependencies inside, and prints its path.
#
#   image/build.sh [amd64|arm64] [quick|dist]
#
# The profile `dist` is what is released: it takes longer and is smaller and faster. Both architectures are built on either.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

case "${1:-amd64}" in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *) echo "usage: image/build.sh [amd64|arm64] [quick|dist]" >&2; exit 2 ;;
esac
profile=${2:-quick}
triple="$machine-unknown-linux-musl"
target=${CARGO_TARGET_DIR:-$root/target}

tools=$("$here/tools.sh")
# The standard library for musl comes from rustup; a Rust of another kind has to bring it.
if [ ! -e "$(rustc --print target-libdir --target "$triple")" ]; then
  command -v rustup >/dev/null || { echo "Rust has no standard library for $triple, and there is no rustup to add it" >&2; exit 1; }
  rustup --quiet target add "$triple" >&2
fi

export "CC_${triple//-/_}=$tools/zig-cc-$machine" "AR_${triple//-/_}=$tools/zig-ar"
export ZIG_GLOBAL_CACHE_DIR="$target/zig-cache" ZIG_LOCAL_CACHE_DIR="$target/zig-cache"

# rust-lld comes with Rust and links for every architecture. Not position-independent: no loader and no dynamic section. The names of the
# builder's folders stay out.
export RUSTFLAGS="-C linker=rust-lld -C relocation-model=static \
  --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$root=/source"
cd "$root"
"$tools/bin/cargo-auditable" auditable build --locked --bin dr-operator --profile "$profile" --target "$triple" >&2
echo "$target/$triple/$profile/dr-operator"
