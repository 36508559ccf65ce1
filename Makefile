# What is done often is one word. `make help` lists the words.

DB ?= sqlite
ORDERS ?= 100000
SERVICES = io-real/services
SEEDS ?= 100000
FROM ?= 0
SIM = cargo run --quiet --profile sim --package sim-tests --

.PHONY: help demo test lint bench fuzz sim replay shrink planted planted-full stop

help: ## Lists these words.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' Makefile

demo: ## Runs the shop on Apache Kafka, with DB=sqlite (default) or DB=postgres.
	@set -e; \
	cargo build --release --package evenkeel --example shop; \
	kafka="$$($(SERVICES)/kafka start)"; eval "$$kafka"; \
	case "$(DB)" in \
	  sqlite) mkdir -p .services; rm -f .services/shop.db*; DATABASE=.services/shop.db ;; \
	  postgres) postgres="$$($(SERVICES)/postgres start)"; eval "$$postgres"; DATABASE="$$POSTGRES" ;; \
	  *) echo 'DB must be sqlite or postgres' >&2; exit 2 ;; \
	esac; \
	export KAFKA DATABASE; \
	target/release/examples/shop --orders $(ORDERS)

test: ## Runs every test; starts the servers that they need.
	cargo test --workspace --no-fail-fast

lint: ## What CI checks beside the tests.
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps

bench: ## Measures, each figure beside its peer's in the same run.
	cargo bench --package evenkeel-core --benches
	cargo bench --package evenkeel --bench bus

fuzz: ## Fuzzes the commit tracker for two minutes; needs cargo-fuzz and a nightly toolchain.
	cargo +nightly fuzz run commit_tracker -- -max_total_time=120

sim: ## Explores SEEDS (default 100000) seeds from FROM; tells of those that fail.
	$(SIM) explore --seeds $(SEEDS) --from $(FROM)

replay: ## Runs SEED again and shows every step.
	$(SIM) replay $(SEED)

shrink: ## Makes the failing plan of SEED small and prints it as a test.
	$(SIM) shrink $(SEED)

planted: ## Looks for the planted bugs that must be found at once.
	$(SIM) planted

planted-full: ## Looks for all planted bugs, from several starting points.
	$(SIM) planted --full

stop: ## Stops the servers that demo and tests started.
	-$(SERVICES)/kafka stop
	-$(SERVICES)/postgres stop
