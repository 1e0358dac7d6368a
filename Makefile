# Everything that this project does, one line each. `make run` and `make test` need nothing else.

SHELL := /bin/sh
CACHE := $(or $(LINKSPAN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/linkspan)
TARGET := $(or $(CARGO_TARGET_DIR),target)
GUEST_TRIPLE := $(shell uname -m)-unknown-linux-gnu
GUEST := $(TARGET)/guest/$(GUEST_TRIPLE)/guest
GUEST_CARGO := RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile guest --target $(GUEST_TRIPLE) --target-dir $(TARGET)/guest
IMAGE := $(TARGET)/vm-image
export LINKSPAN_CACHE := $(CACHE)
# A newer Node, where the machine's own is too old (.ci/clients).
export PATH := $(CACHE)/clients/runtime/node_modules/.bin:$(PATH)

UI := host-app/desktop/ui

.PHONY: help run test check check-hosts build image kernel bench soak fuzz man app ui clean-vms install-run install-test install-bench install-app

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' Makefile

run: install-run image ## boot the VM, run a container, show what it took a Linux kernel for
	@.ci/run-tour $(TARGET)

test: install-test image ui ## every test: units, the whole stack, a real VM
	@.ci/test $(TARGET)

check: ## formatting, clippy, the layer rules
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo test --locked -q -p linkspan-test-layers

check-hosts: ## type-check every host crate for Windows and macOS
	@.ci/install hosts
	@.ci/check-hosts

build: ## the host programs, in target/release
	@echo "==> building the host programs"
	@cargo build --locked --release -p linkspan-cli -p linkspan-daemon -p linkspan-vm-image

image: build ## the VM image: kernel, initramfs, built-in container images, in target/vm-image
	@echo "==> building the guest programs"
	@$(GUEST_CARGO) -p linkspan-agent -p linkspan-init -p linkspan-hello -p linkspan-checker -p linkspan-test-oci
	@echo "==> preparing the VM image"
	@$(TARGET)/release/linkspan-vm-image build --out $(IMAGE) --agent $(GUEST)/linkspan-agent --init $(GUEST)/linkspan-init --hello $(GUEST)/linkspan-hello

kernel: build ## build the lean kernel into the cache outside the checkout
	@.ci/install kernel
	@$(TARGET)/release/linkspan-vm-image kernel lean

bench: install-bench image ## the figures of docs/figures.md, as text and JSON
	@cargo run --locked -q --release -p linkspan-bench -- --json $(TARGET)/bench.json

soak: install-test image ## 1000 containers come and go in a VM and leave nothing; 200 run at once
	@LINKSPAN_SOAK_CYCLES=1000 LINKSPAN_TARGET=$(abspath $(TARGET)) cargo test --locked -p linkspan-test-e2e -- soak:: && \
	LINKSPAN_SOAK_CYCLES=1000 LINKSPAN_TARGET=$(abspath $(TARGET)) cargo test --locked -p linkspan-test-e2e -- many_containers

fuzz: ## each fuzz target for a minute (make test: a second each)
	@cargo build --locked -q --release -p linkspan-fuzz
	@for target in image layer copy config manifest index reference seccomp dns preface dockerfile ignore log wire request parameter; do \
		$(TARGET)/release/linkspan-fuzz $$target 60 || exit 1; done

man: build ## man pages and shell completions, in target/man and target/completions
	@$(TARGET)/release/linkspan man --out $(TARGET)/man --completions $(TARGET)/completions

ui: install-app $(UI)/node_modules/.package-lock.json ## the pages of the desktop app, in host-app/desktop/ui/dist
	@echo "==> building the desktop app's pages"
	@npm --prefix $(UI) run --silent generate
	@npm --prefix $(UI) run --silent build -- --logLevel warn

$(UI)/node_modules/.package-lock.json: $(UI)/package-lock.json
	@npm --prefix $(UI) ci --silent
	@touch $@

app: install-app image ui ## the desktop app as packages, in target/release/bundle
	@echo "==> building the desktop app"
	@cargo build --locked --release -p linkspan-desktop
	@.ci/app $(TARGET)

install-run install-test install-bench install-app:
	@.ci/install $(@:install-%=%)
