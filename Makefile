# What is done often is one word. `make help` lists the words.

BROKER ?= dev
DB ?= sqlite
FROM ?= 0
MINUTES ?= 10
SEEDS ?= 100000
ORDERS ?= 100000
LISTEN ?= 127.0.0.1:9092
PROFILE ?= release
TARGET ?= commit_tracker
SERVICES = io-real/services
SIM = cargo run --quiet --profile sim --package sim-tests --
# Where a pipe is used, what comes before it decides.
SHELL = bash
.SHELLFLAGS = -o pipefail -c

.PHONY: help demo broker test lint bench fuzz conformance sim small smallest at worlds coverage pairs replay shrink planted planted-full chaos stop

help: ## Lists these words.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' Makefile

demo: ## Runs the shop; BROKER=dev (default) or kafka (Apache Kafka), DB=sqlite (default) or postgres.
	@set -e; \
	cargo build --profile $(PROFILE) --package evenkeel --features broker --bin evenkeel --example shop; \
	case "$(BROKER)" in \
	  dev) unset KAFKA KAFKA_PID ;; \
	  kafka) kafka="$$($(SERVICES)/kafka start)"; eval "$$kafka"; export KAFKA KAFKA_PID="$$(cat .services/kafka/node-1/pid)" ;; \
	  *) echo 'BROKER must be dev or kafka' >&2; exit 2 ;; \
	esac; \
	case "$(DB)" in \
	  sqlite) mkdir -p .services; rm -f .services/shop.db*; DATABASE=.services/shop.db ;; \
	  postgres) postgres="$$($(SERVICES)/postgres start)"; eval "$$postgres"; DATABASE="$$POSTGRES" ;; \
	  *) echo 'DB must be sqlite or postgres' >&2; exit 2 ;; \
	esac; \
	export DATABASE; \
	target/$(patsubst dev,debug,$(PROFILE))/examples/shop --orders $(ORDERS)

broker: ## Serves a Kafka cluster for development in memory, at LISTEN (127.0.0.1:9092), until Ctrl-C.
	cargo run --release --package evenkeel --features broker -- broker --listen $(LISTEN)

test: ## Runs every test; starts the servers that they need.
	@cargo test --workspace --no-fail-fast | awk '{ print; fflush() } \
		/^test result:/ { passed += $$4; failed += $$6 } \
		END { printf "%d passed, %d failed\n", passed, failed }'

lint: ## What CI checks beside the tests.
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir target -- --deny warnings
	RUSTDOCFLAGS='--cfg madsim --deny warnings' cargo doc --workspace --no-deps

bench: ## Measures, each figure beside its peer's in the same run; fails if a gate is missed.
	@missed=0; \
	cargo bench --package evenkeel-core --benches || missed=1; \
	cargo bench --package evenkeel --bench bus || missed=1; \
	cargo bench --package evenkeel --bench dev_broker || missed=1; \
	exit $$missed

fuzz: ## Fuzzes TARGET (commit_tracker) for two minutes; needs cargo-fuzz and a nightly toolchain.
	cargo +nightly fuzz run $(TARGET) -- -max_total_time=120

conformance: ## Compares the cluster with Apache Kafka; CASE=part of a name, WRITE=1 writes CONFORMANCE.md.
	cargo test --package evenkeel-cluster --test conformance -- $(if $(CASE),--case=$(CASE)) $(if $(WRITE),--write)

sim: ## Runs the machines under SEEDS seeds from FROM, each with its own faults; tells of those that fail.
	$(SIM) explore --seeds $(SEEDS) --from $(FROM)

small: ## Tries all orders of small worlds: two members, four events, up to two faults.
	$(SIM) small

smallest: ## Prints how small shrinking makes the failures of planted bugs, beside the smallest that there are.
	$(SIM) smallest

at: ## Shows the machines' world of SEED, or of PLAN=a file, as it stands behind STEP.
	$(SIM) at $(or $(PLAN),$(SEED)) --step $(STEP)

worlds: ## Runs the whole library in simulated worlds, of 1,000 seeds from FROM.
	$(SIM) worlds --from $(FROM)

coverage: ## Prints what faults met in 20,000 runs of the machines, and what they never did.
	$(SIM) coverage

pairs: ## Runs 1,000 plans with and without bad events or faults, and compares; SEED=n only that one.
	$(SIM) pairs $(if $(SEED),--from $(SEED) --seeds 1,--from $(FROM))

replay: ## Runs SEED, or PLAN=a file, and shows every step; BUG=a planted bug; WORLD=1 for the library's world of SEED.
	$(SIM) replay $(if $(WORLD),$(SEED) --world $(if $(PLAN),--plan $(PLAN)),$(or $(PLAN),$(SEED))) $(if $(BUG),--bug $(BUG))

shrink: ## Makes the failing plan of SEED, or of PLAN=a file, small and prints it as a test; BUG=a planted bug.
	$(SIM) shrink $(or $(PLAN),$(SEED)) $(if $(BUG),--bug $(BUG))

planted: ## Looks for the planted bugs that must be found at once.
	$(SIM) planted

planted-full: ## Looks for all planted bugs, from several starting points.
	$(SIM) planted --full

chaos: ## Kills, pauses and cuts off real workers, brokers and a database for MINUTES (10); SEED=n draws the same.
	cargo run --quiet --package chaos -- --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

stop: ## Stops the servers that demo and tests started.
	-$(SERVICES)/kafka stop
	-$(SERVICES)/postgres stop
