#!/bin/sh
# Makes the Python environment with Alibaba Cloud's SDK, outside the checkout, unless it is there, and prints its folder.
# A folder that is there is complete: it is made beside its place under a lock and gets its name last.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/disaster-recovery-operator
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
hash=$( (cat "$here/requirements.txt"; echo "$version") | sha256sum | cut -c1-16)
folder=$cache/sdk-$hash

mkdir -p "$cache"
exec 9>"$folder.lock"
flock 9
# One whose interpreter was taken away since is made again.
if [ -d "$folder" ] && ! "$folder/bin/python" -c '' 2>/dev/null; then
    rm -rf "$folder"
fi
if [ ! -d "$folder" ]; then
    rm -rf "$folder.new"
    "$python" -m venv "$folder.new" >&2
    "$folder.new/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    mv "$folder.new" "$folder"
fi
echo "$folder"
