#!/usr/bin/env bash
# Prints the path of promtool, 2.42 or newer, which the tests of alerts run.
#
# The one on PATH is taken where it is new enough. Otherwise it is taken out of Debian's package prometheus, once, without installing
# anything, and kept outside of the checkout.
set -euo pipefail
least=2.42

new_enough() { # program
  local version
  version=$("$1" --version 2>&1 | sed -n '1s/^promtool, version v\{0,1\}\([0-9.]*\).*/\1/p')
  [ -n "$version" ] && [ "$(printf '%s\n' "$least" "$version" | sort -V | head -n 1)" = "$least" ]
}

found=$(command -v promtool || true)
if [ -n "$found" ] && new_enough "$found"; then
  echo "$found"
  exit 0
fi

cache="${XDG_CACHE_HOME:-$HOME/.cache}/disaster-recovery-operator"
folder="$cache/promtool-$least"
if [ ! -e "$folder/complete" ]; then
  mkdir -p "$cache"
  exec 9>"$folder.lock"
  flock 9 # two checkouts may come here at once
fi
if [ ! -e "$folder/complete" ]; then
  for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || { echo "missing: promtool $least or newer (https://prometheus.io/download/)" >&2; exit 1; }
  done
  work="$folder.partial"
  rm -rf "$work"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/package"
  echo "fetching promtool from Debian's package prometheus (the first time only)" >&2
  cd "$work/package"
  if ! apt-get download -qq prometheus >&2; then
    # A machine without package lists, and perhaps without the right to write them: lists of our own.
    own=(-o "Dir::State=$work/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=)
    apt-get "${own[@]}" update -qq >&2
    apt-get "${own[@]}" download -qq prometheus >&2
  fi
  dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x -C "$work" ./usr/bin/promtool
  mv "$work/usr/bin/promtool" "$work/promtool"
  new_enough "$work/promtool" || { echo "Debian's promtool is older than $least: put a newer one on PATH" >&2; exit 1; }
  rm -rf "$work/state" "$work/cache" "$work/package" "$work/usr"
  touch "$work/complete"
  rm -rf "$folder"
  mv "$work" "$folder"
fi
echo "$folder/promtool"
