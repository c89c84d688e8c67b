# `make help` lists what there is. On a fresh machine with Rust, Python 3 with pip and a C compiler, `make run` and
# `make test` are enough: they set up what is missing, and are quiet about what is there.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

# Nor do the tests, the benchmark and the scripts that make models let ONNX Runtime tell its makers about this machine.
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: library packages servers ## Fetch ONNX Runtime, and what the tests need: Python packages, redis-server, PostgreSQL, …

# GET / and the log tell which sources a binary was built from.
.PHONY: build
build: export GLASSBOX_REVISION := $(shell git describe --always --dirty 2>/dev/null)
build: toolchain ## Build the release binary
	cargo build --release --locked

# exec: the server takes the shell's place, so that a signal sent to make's process group reaches it.
.PHONY: run
run: library build ## Serve the bundled models on 127.0.0.1:8080
	@exec "$(TARGET_DIR)/release/glassbox" serve --config config/development.toml

.PHONY: test
test: toolchain setup ## Run every test
	cargo test --locked

.PHONY: chaos
chaos: toolchain setup ## Kill model workers at random for a minute, and start Redis anew
	GLASSBOX_CHAOS_SECONDS=60 cargo test --locked --test it -- split::chaos --nocapture

.PHONY: fuzz
fuzz: COUNT ?= 20000
fuzz: SEED ?= 1
fuzz: library packages build ## Send COUNT=20000 mutated requests made of SEED=1 to a server of its own (a minute)
	@scripts/fuzz/run.py --binary "$(TARGET_DIR)/release/glassbox" --count $(COUNT) --seed $(SEED) --keep "$(TARGET_DIR)/fuzz"

.PHONY: lint
lint: toolchain tools ## Check format, lints, documentation, unused dependencies, licences, and advisories if they can be fetched
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	.tools/bin/cargo-machete
	.tools/bin/cargo-deny --locked check licenses bans sources
	@scripts/check-advisories.sh

.PHONY: bench
bench: library build ceiling ## Compare with what the machine allows and with FastAPI (minutes)
	@benchmark/run.py --target "$(TARGET_DIR)" --keep

.PHONY: bench-full
bench-full: library build ceiling ## The same with everything: rates, scaling, memory over time, charts (half an hour)
	@benchmark/run.py --target "$(TARGET_DIR)" --keep --full

.PHONY: audit
audit: toolchain tools ## Check dependencies for known vulnerabilities (fetches their list: needs the network)
	.tools/bin/cargo-deny --locked check advisories

.PHONY: sbom
sbom: toolchain library ## Write what a release is made of: an SBOM (CycloneDX) and the licences, to target/sbom
	@scripts/setup-tools.sh sbom
	@scripts/sbom.py "$(TARGET_DIR)/sbom/glassbox.cdx.json"
	@scripts/third-party.py "$(TARGET_DIR)/sbom/THIRD-PARTY.txt"

.PHONY: release
release: toolchain sbom ## Build what is shipped, the same bytes in every folder, and pack it with library, models and licences
	@scripts/release.sh "$(TARGET_DIR)"

.PHONY: onnx-nodes
onnx-nodes: library packages build ## Ask the server for what all node tests of ONNX recorded (minutes)
	@scripts/onnx-nodes.py --target "$(TARGET_DIR)"

.PHONY: stop-while-loading
stop-while-loading: library packages build ## Start the server 1,000 times and stop it while models load (ten minutes)
	@scripts/stop-while-loading.py --binary "$(TARGET_DIR)/release/glassbox"

.PHONY: screenshots
screenshots: library servers build ## Take the pictures of the console that the README shows (a minute)
	@scripts/screenshots.py --target "$(TARGET_DIR)"

.PHONY: image
image: ## Build the container image glassbox:0.1.0 with Docker; scripts/try-image.sh does it without
	docker build --build-arg REVISION="$$(git describe --always --dirty)" --tag glassbox:0.1.0 .

.PHONY: kubernetes-rules
kubernetes-rules: ## Write the Prometheus rules once more, for the operator in Kubernetes
	@scripts/kubernetes-rules.py

.PHONY: models
models: ## Build toxicity-minilm (fetches 83 MB); DATA=path/to/labeled_data.csv retrains every model
	@scripts/train-models.sh "$(DATA)"

.PHONY: clean
clean: ## Remove everything that these commands built or fetched
	rm -rf "$(TARGET_DIR)" .onnxruntime .python .python.new.* .bench-python .tools .train

# Steps of the targets above.
.PHONY: toolchain library packages servers tools ceiling
toolchain:
	@scripts/check-toolchain.sh
library:
	@scripts/setup-onnxruntime.sh
packages:
	@scripts/setup-test.sh
servers:
	@scripts/setup-servers.sh
tools: toolchain
	@scripts/setup-tools.sh
ceiling: toolchain
	@scripts/setup-bench.sh
	cargo build --release --locked --example ceiling
