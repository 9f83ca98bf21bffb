# `make demo` and `make test` are all that a fresh machine needs; `make help` names the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
# One after the other: two builds at once only take longer.
.NOTPARALLEL:
.PHONY: help demo bench test lint crds docs manifests crds-check control-plane argocd promtool sdk image-binary audit needs needs-demo

CARGO ?= cargo
PYTHON ?= python3
export PYTHON

# The demo's switches: CONTEXT=name or USE_KUBECONFIG=1 take a cluster of yours, KEEP=1 keeps it running.
CONTEXT ?=
USE_KUBECONFIG ?=
KEEP ?=
demo_flags := $(if $(CONTEXT),--context '$(CONTEXT)') $(if $(USE_KUBECONFIG),--use-kubeconfig) $(if $(KEEP),--keep)
demo_is_foreign := $(CONTEXT)$(USE_KUBECONFIG)

# What `make bench` measures: numbers of plans and of groups of disks, and the least length of the time at rest.
PLANS ?= 100 1000 10000
DISK_GROUPS ?= 1000
REST ?= 600s

CARGO_DENY := 0.20.2
chart := charts/disaster-recovery-operator
tools := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/disaster-recovery-operator/cargo-deny-$(CARGO_DENY)

# Says what a program is for, and ends where it is missing.
define require
	missing=0
	need() { command -v "$$1" >/dev/null || { echo "missing: $$1 ($$2)" >&2; missing=1; }; }
	$(1)
	[ $$missing = 0 ] || { echo "Install what is missing, and run it again." >&2; exit 1; }
endef

help: ## Says what can be made
	@echo "The targets:"
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	echo "The benchmark's: PLANS and DISK_GROUPS (numbers, or nothing), REST (such as 300s)"
	echo "The demo's switches: CONTEXT=name or USE_KUBECONFIG=1 (a cluster of yours), KEEP=1 (until Ctrl-C)"

demo: needs-demo $(if $(demo_is_foreign),,control-plane) ## Shows a plan and a group of disks from beginning to end (a minute and a half, once it is built)
	@echo "building the operator, the cloud simulator and the demo"
	$(CARGO) build --locked --bins --example demo
	$(CARGO) run --quiet --locked --example demo -- $(demo_flags)

bench: needs-demo control-plane ## Measures the operator with many plans and groups of disks, and writes docs/benchmarks.md (two hours; PLANS="100 1000" is half an hour)
	@echo "building the operator as it is released, the cloud simulator and the benchmark"
	operator=$$(image/build.sh "$$(dpkg --print-architecture 2>/dev/null || echo amd64)" dist)
	$(CARGO) build --release --locked --bin cloud-simulator --example bench
	folder=$${CARGO_TARGET_DIR:-target}/bench
	mkdir -p "$$folder"
	files=()
	measure() { # kind number
	  echo "── $$1 $$2"
	  files+=("$$folder/$$1-$$2.json")
	  $(CARGO) run --release --quiet --locked --example bench -- "--$$1" "$$2" --operator "$$operator" --rest '$(REST)' --out "$${files[-1]}"
	}
	for number in $(PLANS); do measure plans "$$number"; done
	for number in $(DISK_GROUPS); do measure disk-groups "$$number"; done
	$(CARGO) run --release --quiet --locked --example bench -- --report "$${files[@]}"

test: needs lint crds-check control-plane argocd promtool sdk image-binary ## Everything that CI runs: formatting, lints, all tests, the demo
	@echo "── tests of all targets"
	# Collecting garbage is a third of the CPU of kube-apiserver otherwise, which is small here.
	GOGC=400 $(CARGO) test --locked --no-fail-fast
	echo "── the demo, as the last test"
	$(CARGO) build --locked --bins --example demo
	$(CARGO) run --quiet --locked --example demo
	echo "Everything passed."

lint: ## Checks formatting and runs clippy, where they are installed
	@if $(CARGO) fmt --version >/dev/null 2>&1; then
	  echo "── formatting"
	  $(CARGO) fmt --all --check
	else
	  echo "NOTE: rustfmt is not installed, the formatting is not checked (rustup component add rustfmt)"
	fi
	if $(CARGO) clippy --version >/dev/null 2>&1; then
	  echo "── clippy"
	  $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	else
	  echo "NOTE: clippy is not installed, lints are not checked (rustup component add clippy)"
	fi

crds: ## Writes crds/ anew from src/api, and the chart's copy
	@mkdir -p crds
	$(CARGO) run --quiet --locked --bin dr-operator -- crd --output crds
	cp crds/*.yaml '$(chart)/files/crds/'

manifests: ## Writes the chart's copies of deploy/monitoring, and deploy/base and its overlays anew from the chart
	@cp deploy/monitoring/{alerts.yaml,dashboard.json} '$(chart)/files/'
	programs=$$(tests/control-plane/build.sh)
	helm=helm
	[ ! -x "$$programs/helm" ] || helm=$$programs/helm
	render() { # folder template…
	  for template in "$${@:2}"; do
	    echo "# Written by make manifests, from the chart and values.yaml."
	    "$$helm" template disaster-recovery-operator '$(chart)' --namespace disaster-recovery-system --values "$$1/values.yaml" \
	      --show-only "templates/$$template.yaml" |
	      sed -E '1d; /^$$|^# Source: |^ +(helm.sh\/chart|app.kubernetes.io\/managed-by): /d'
	  done
	}
	for template in service-account cluster-role user-roles leader-election-role service deployment; do
	  render deploy/base $$template >deploy/base/$$template.yaml
	done
	render deploy/overlays/high-availability pod-disruption-budget >deploy/overlays/high-availability/pod-disruption-budget.yaml
	render deploy/overlays/single-namespace roles >deploy/overlays/single-namespace/roles.yaml

crds-check: needs
	@echo "── crds/ is what src/api says"
	folder=$$(mktemp -d)
	trap 'rm -rf "$$folder"' EXIT
	$(CARGO) run --locked --bin dr-operator -- crd --output "$$folder"
	for file in "$$folder"/*.yaml; do
	  diff -u "crds/$${file##*/}" "$$file" || { echo "crds/ is not what src/api says: run make crds" >&2; exit 1; }
	done

control-plane: needs-demo ## Builds etcd, kube-apiserver, kube-controller-manager, kubectl and helm, once (about twelve minutes)
	@echo "── the control plane's programs"
	tests/control-plane/build.sh

docs: ## Writes the reference of metrics in docs/metrics.md anew from src/telemetry
	$(CARGO) run --quiet --locked --example reference

promtool:
	@echo "── promtool, which runs the alerts on what the operator exports"
	tests/monitoring/promtool.sh

argocd: needs-demo ## Builds Argo CD's evaluation of health and kstatus, once (about three minutes)
	@echo "── Argo CD's evaluation of health"
	tests/argocd/build.sh

sdk: needs
	@echo "── Alibaba Cloud's SDK for Python, which the simulator is tested with"
	tests/sdk/setup.sh

image-binary: needs ## Builds the image's program for amd64, static, and checks it (docs/image.md)
	@echo "── the image's program"
	binary=$$(image/build.sh amd64)
	image/check.sh "$$binary" amd64

audit: ## Checks licences, sources and bans of all dependencies
	@if [ ! -x '$(tools)/bin/cargo-deny' ]; then
	  echo "── cargo-deny $(CARGO_DENY) (the first time only)"
	  $(CARGO) install --locked --version $(CARGO_DENY) --root '$(tools)' cargo-deny
	fi
	'$(tools)/bin/cargo-deny' --locked check bans licenses sources

needs:
	@$(call require,\
	need $(CARGO) 'Rust 1.95 or newer: https://rustup.rs'; \
	need cc 'a C compiler and linker: apt-get install build-essential'; \
	need go 'Go 1.26 or newer builds the control plane and the tools of the tests: https://go.dev/dl/'; \
	need $(PYTHON) 'Python 3 with venv runs the official SDK against the simulator')
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "missing: Python's venv (apt-get install python3-venv)" >&2; exit 1; }

needs-demo:
	@$(call require,\
	need $(CARGO) 'Rust 1.95 or newer: https://rustup.rs'; \
	need cc 'a C compiler and linker: apt-get install build-essential'; \
	$(if $(demo_is_foreign),need kubectl 'it talks to your cluster';,$(if $(KUBEBUILDER_ASSETS),,need go 'Go 1.26 or newer builds the control plane: https://go.dev/dl/';)) :)
