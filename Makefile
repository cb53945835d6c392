# The commands that people and CI run. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := $(or $(CARGO_TARGET_DIR),target)/release/marginstream
LIBCHDB := deploy/libchdb/node_modules/.package-lock.json

.PHONY: help run demo build test soak check bench libchdb deploy-check kafka-up kafka-down tools clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

run: build ## Build what is missing and start the standalone product on http://127.0.0.1:8080
	@echo "==> starting marginstream; Ctrl-C stops it"
	@exec $(BIN) standalone

demo: build ## Send a season of believable data and print the margin table
	@$(BIN) demo

build: tools libchdb
	@echo "==> building marginstream (the first time takes 15 to 20 minutes on two cores)"
	@cargo build --release --package marginstream

test: tools libchdb ## Build what is missing and pass every test
	@deploy/test.sh

soak: tools libchdb ## Break a cluster over a thousand times while it is loaded (hours); prints the matrix
	@MARGINSTREAM_SOAK_ROUNDS=$${MARGINSTREAM_SOAK_ROUNDS:-20} deploy/test.sh --test it -- --nocapture fault_matrix

check: tools ## Format, lints and documentation
	@echo "==> checking format, lints and documentation"
	@cargo fmt --all --check
	@cargo clippy --release --workspace --all-targets -- -D warnings

deploy-check: ## Check container, chart and monitoring files with the tools that read them
	@deploy/check.sh

bench: tools libchdb ## Measure throughput, latency and freshness of a real server
	@cargo build --release --workspace
	@benches/run.sh

libchdb: $(LIBCHDB) ## Install the embedded ClickHouse engine from its npm package

$(LIBCHDB): deploy/libchdb/package.json deploy/libchdb/package-lock.json
	@echo "==> installing the embedded ClickHouse engine (550 MB)"
	@deploy/require.sh npm "Node.js 18 or later with npm"
	@cd deploy/libchdb && npm ci --no-audit --no-fund --loglevel=error \
		|| { echo "error: npm could not install deploy/libchdb; check the network and npm's registry setting, or set CHDB_LIB to a libchdb.so of version 26.7.3" >&2; exit 1; }
	@touch $@

kafka-up: ## Start a real Kafka on 127.0.0.1:9092, with its data in ./data/kafka
	@echo "==> starting Kafka; make kafka-down stops it"
	@deploy/kafka/kafka.sh start data/kafka --port 9092 >/dev/null
	@echo "==> Kafka answers on $$(cat data/kafka/bootstrap)"

kafka-down: ## Stop that Kafka; its data stays
	@[ ! -d data/kafka ] || deploy/kafka/kafka.sh stop data/kafka

tools:
	@deploy/build-tools.sh

clean: ## Remove what was built; leaves ./data alone
	@cargo clean
	@rm -rf deploy/libchdb/node_modules deploy/oidc/node_modules deploy/kafka/lib deploy/check-venv deploy/test-venv
