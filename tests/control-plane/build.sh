#!/usr/bin/env bash
# Builds the pinned Kubernetes control plane once and prints the folder that holds it.
#
# The programs are kube-apiserver, kube-controller-manager, etcd, kubectl and helm, at the versions of go.mod beside this file.
# They are kept outside the checkout, by the hash of the pins, so that every checkout of the same commit shares them.
# Where KUBEBUILDER_ASSETS is set (the Kubernetes convention), that folder is printed and nothing is built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  for program in etcd kube-apiserver kubectl; do
    [ -x "$KUBEBUILDER_ASSETS/$program" ] || { echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS holds no $program" >&2; exit 1; }
  done
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

version=$(sed -n 's,^\s*k8s.io/kubernetes \(v[0-9.]*\).*$,\1,p' "$here/go.mod")
[ -n "$version" ] || { echo "no k8s.io/kubernetes version in $here/go.mod" >&2; exit 1; }
pins=$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/disaster-recovery-operator"
folder="$cache/control-plane-$version-$pins"

if [ ! -e "$folder/complete" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/build.lock"
  flock 9 # two checkouts may build at once
fi
if [ ! -e "$folder/complete" ]; then
  command -v go >/dev/null || { echo "Go 1.26 or newer is needed to build the control plane (or set KUBEBUILDER_ASSETS)" >&2; exit 1; }
  work="$folder.partial"
  rm -rf "$work"
  mkdir -p "$work"
  IFS=. read -r major minor _ <<<"${version#v}"
  stamp="k8s.io/component-base/version"
  flags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor"
  flags="$flags -X helm.sh/helm/v4/internal/version.version=$(sed -n 's,^\s*helm.sh/helm/v4 \(v[0-9.]*\).*$,\1,p' "$here/go.mod")"
  build() { # name package
    echo "building $1 (the first time only; all five take about twelve minutes on two cores)" >&2
    (cd "$here" && CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$work/$1" "$2") >&2
  }
  build etcd go.etcd.io/etcd/server/v3
  build kubectl k8s.io/kubernetes/cmd/kubectl
  build helm helm.sh/helm/v4/cmd/helm
  build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
  build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
  touch "$work/complete"
  rm -rf "$folder"
  mv "$work" "$folder"
fi
echo "$folder"
