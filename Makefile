# The only front door: `make help` lists every command. The work is done by scripts/, which also run by themselves.
# On a fresh Debian or Ubuntu machine `make demo` and `make test` install what they need through `make setup`.

.DEFAULT_GOAL := help
.PHONY: help setup build cross test-image qemu image-test image bundle check-update sbom dist check-buildroot test demo bench fuzz-smoke reliability check-no-std clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install system packages and Rust where missing (apt; root or sudo); does nothing when all is there
	@scripts/setup

build: setup ## build hindcapd and hindcap, optimised, into target/release
	@scripts/build

cross: setup ## build hindcapd for ARM boxes (aarch64, armv7) and hold its size against the budget
	@scripts/cross

test-image: ## build the test image, an emulated tap box (aarch64), from Debian's packages
	@scripts/setup emulation
	@scripts/cross aarch64
	@qemu/build aarch64

qemu: $(if $(BOARD),,test-image) ## boot the test image, or what `make image` made of BOARD=qemu/virt-aarch64, in this terminal; Ctrl-C ends it
	@$(if $(BOARD),HINDCAP_IMAGES=target/buildroot/$(BOARD)/images) qemu/run $(if $(BOARD),--machine $(BOARD:qemu/virt-%=%))

image-test: ## hold emulated boxes (64 and 32 bit) to their promises: 200 power cuts, updates, card and cable pulled (hours); BOARD as for qemu
	@qemu/test $(if $(BOARD),--built $(BOARD:qemu/virt-%=%))

image: setup ## build the image of a box with Buildroot: BOARD=vendor/board; BUILDROOT_DIR=tree where there is one (downloads much)
	@scripts/image $(BOARD)

bundle: ## make a signed update of a board's image: BOARD=vendor/board
	@scripts/bundle $(BOARD)

check-update: ## prove with RAUC that good updates are taken and bad ones refused (part of make test)
	@scripts/check-update

sbom: setup ## write bills of materials (CycloneDX): crates, and Buildroot's packages where BUILDROOT_DIR is given
	@scripts/sbom

dist: setup ## make the source archive, crates included, that Buildroot builds the sensor from (target/dist)
	@scripts/dist

check-buildroot: ## check buildroot/ against the Buildroot tree that BUILDROOT_DIR names
	@scripts/check-buildroot

test: setup ## run every check and test: formatting, lints, scripts, unit and cross-process tests, an emulated box
	@scripts/test

demo: setup ## record real traffic on a mirror port and fetch one session of it over MQTT
	@scripts/demo

check-no-std: setup ## prove that wire links without the standard library
	@scripts/check-no-std

bench: setup ## measure Hindcap beside the recorders that are installed, in the same run
	@scripts/bench

fuzz-smoke: setup ## fuzz every parser for half a minute
	@scripts/fuzz-smoke

reliability: setup ## prove docs/RELIABILITY.md at length: power cuts, failing media, bit flips
	@scripts/reliability

clean: ## remove what the build made
	@scripts/clean
