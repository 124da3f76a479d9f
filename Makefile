# What can be done here. `make` alone prints the lines that begin with a name.

SHELL := /bin/bash

# The name that `make install` gives the plugin: make install PLUGIN_NAME=loki-rs-next
PLUGIN_NAME ?= loki-rs

# make crash N=500, make power-loss N=40, make soak SOAK_SECONDS=3600, make fuzz SECONDS=600 TARGETS=pipeline, make simulate SEEDS=100000
N ?= 50
SOAK_SECONDS ?= 600
SECONDS ?= 60
TARGETS ?=
SEEDS ?= 1000
CHECKS ?= bans licenses sources

export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
PLUGIN := $(CARGO_TARGET_DIR)/plugin
IMAGE := $(CARGO_TARGET_DIR)/chatter.tar
STAGED := LOKI_RS_PLUGIN=$(PLUGIN) LOKI_RS_IMAGE=$(IMAGE)

.PHONY: help plugin install uninstall demo stage test simulate crash power-loss soak fuzz bench bench-docker instructions check deny clean

help:
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 22

plugin: ## build the plugin into target/plugin, and print its size
	plugin/build.sh $(PLUGIN)

install: plugin ## install it on the running Docker Engine as PLUGIN_NAME (loki-rs), enabled
	plugin/install.sh $(PLUGIN_NAME) $(PLUGIN)

uninstall: ## disable and remove it
	plugin/install.sh --remove $(PLUGIN_NAME)

demo: ## a container writes 1,000 lines; see them in Loki (LOKI_URL, or a stand-in) and in docker logs
	plugin/demo.sh

# What tests on a real engine need.
stage: plugin
	tests/chatter/build.sh $(IMAGE)
	@. plugin/lib.sh && need_engine

test: stage ## all tests, on a private Docker Engine too
	@. plugin/lib.sh && need_prometheus && need_browser && need mkfs.xfs xfsprogs
	$(STAGED) cargo test --locked --workspace

# With these flags Tokio takes its randomness from the seed too, and rings are small enough to overflow in seconds.
simulate: ## play SEEDS (1000) random schedules of faults under simulated time, or one and what happens: SEED=7
	RUSTFLAGS="$$RUSTFLAGS --cfg tokio_unstable --cfg small_rings" SEEDS=$(SEEDS) \
		cargo test --locked --profile simulation --lib simulation:: -- --nocapture

crash: stage ## kill the plugin under load N times (50), and judge docker logs and Loki
	$(STAGED) KILLS=$(N) cargo test --locked --test driver kills_under_load -- --nocapture --test-threads 1

power-loss: ## copy disks of ext4 and xfs as a power loss would leave them, N (20) in all, and judge what comes of each
	@. plugin/lib.sh && need_rust && need mkfs.ext4 e2fsprogs && need mkfs.xfs xfsprogs
	POWER_LOSS_IMAGES=$(if $(filter file,$(origin N)),20,$(N)) cargo test --locked --test driver power_loss -- --nocapture --test-threads 1

soak: stage ## outages of all kinds, a hanging disk and stepping clocks for SOAK_SECONDS (600); judge containers, docker logs, memory, Loki
	$(STAGED) SOAK_SECONDS=$(SOAK_SECONDS) cargo test --locked --release --test driver engine::soak -- --nocapture

fuzz: ## fuzz frames, damaged rings, options, settings, pipelines, answers, HTTP calls and state files, SECONDS (60) each; TARGETS=pipeline for one
	fuzz/run.sh $(SECONDS) $(TARGETS)

bench: ## what the driver costs, against the least there is to do; SCENES="cost wait" for a part
	@. plugin/lib.sh && need_rust && need perf linux-perf
	cargo bench --locked --bench driver -- $(SCENES)

bench-docker: plugin ## a container and docker logs, beside Docker's own log drivers
	tests/chatter/build.sh $(IMAGE)
	@. plugin/lib.sh && need_engine
	LOKI_RS_PLUGIN=$(PLUGIN) LOKI_RS_IMAGE=$(IMAGE) cargo bench --locked --bench engine

instructions: ## count those of the hot parts, and fail when one has grown by more than 5 %
	benches/instructions.sh

check: ## formatting, lints and documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

deny: ## licences, duplicate versions and sources of dependencies; CHECKS=advisories asks the RustSec database
	@. plugin/lib.sh && need_rust && need_cargo_deny
	cargo deny --locked check $(CHECKS)

clean: ## remove everything that was built
	cargo clean
