# make demo    watch two services being deployed as one, and taken back as one
# make demo-kubernetes  the same in two namespaces of a Kubernetes cluster
# make test    every test, with a real nats-server and real Kubernetes clusters
# make lint    what a change has to pass besides the tests
# make bench   barrier release beside a floor and deployments beside kubectl, as ratios
# make load    many parties and many runs at once, with memory
# make cluster a Kubernetes cluster for tests, with a fake node; until Ctrl-C
# make node    the same with a real node, as root
#
# Needs Rust 1.95, Python 3.11 with venv, Go 1.26, and the package registries. Whatever else is needed
# is fetched or built once into ~/.cache/lockstep. Of your own: LOCKSTEP_NATS_SERVER=<path>; a folder
# with kube-apiserver and the like, KUBEBUILDER_ASSETS=<folder>; a cluster,
# USE_EXISTING_CLUSTER=true KUBECONFIG=<path>.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

target := $(or $(CARGO_TARGET_DIR),target)
cluster_tools := scripts/build-go etcd kubernetes kwok > /dev/null
node_tools := scripts/node-packages && scripts/build-go etcd kubernetes kubelet coredns > /dev/null
# Most tests wait for other programs most of the time.
export RUST_TEST_THREADS ?= 6
with_nats := nats=$$(scripts/tool nats-server) && export LOCKSTEP_NATS_SERVER=$$nats &&

.PHONY: help
help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 24

.PHONY: build
build: ## the programs, in the development profile (about 3 minutes the first time on 2 cores)
	cargo build --locked --workspace --bins

.PHONY: demo
demo: build ## the reference story: deployed as one, then taken back as one (about 1 minute)
	$(with_nats) scripts/demo $(target)/debug

.PHONY: demo-kubernetes
demo-kubernetes: build ## the same in a Kubernetes cluster of its own, or yours; NODE=real as root (about 2 minutes)
	$(if $(filter real,$(NODE)),$(node_tools),$(cluster_tools))
	$(with_nats) scripts/demo-kubernetes $(target)/debug $(or $(NODE),fake)

.PHONY: test
test: build ## every test, and the figures that some of them print (under 30 minutes on 2 cores)
	$(cluster_tools)
	$(node_tools)
	scripts/build-go helm > /dev/null
	$(with_nats) cargo test --locked --workspace --no-fail-fast -- --show-output

.PHONY: lint
lint: ## formatting, clippy, documentation, dependencies
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	deny=$$(scripts/tool cargo-deny) && "$$deny" --locked check bans licenses sources

.PHONY: bench
bench: ## last arrival to last party out, beside a floor; deployments beside kubectl (release profile)
	$(cluster_tools)
	cargo build --locked --release --workspace --bins
	$(with_nats) cargo run --locked --release -p lockstep-tests --bin bench

.PHONY: load
load: ## 200 parties on one barrier; 500 runs at once (release profile)
	cargo build --locked --release --workspace --bins
	$(with_nats) cargo run --locked --release -p lockstep-tests --bin load

.PHONY: cluster
cluster: ## a Kubernetes cluster for tests on loopback, until Ctrl-C
	$(cluster_tools)
	cargo run --locked -p lockstep-tests --bin cluster

.PHONY: node
node: ## a Kubernetes cluster with a real node, until Ctrl-C (as root)
	$(node_tools)
	cargo build --locked -p lockstep-tests --bin cluster --bin cluster-pod
	cargo run --locked -p lockstep-tests --bin cluster -- --real-node

.PHONY: clean
clean: ## what cargo built and what the examples left
	cargo clean
	for folder in examples/*/served; do python3 examples/site.py stop --folder "$$folder" || true; done
	rm -rf examples/*/served examples/*/.lockstep
