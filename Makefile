# The front door. Everything is built by CMake presets (CMakePresets.json) under build/<preset>.
# `make run` and `make test` install the Debian packages they lack (scripts/bootstrap) and then do their job.
PREFIX ?= /usr/local
PRESET ?= release
BUILD   = build/$(PRESET)
Q       = @

.PHONY: all build run test check test-asan test-tsan test-msan deep bench lint fmt linktest layers coverage install fuzz fuzz-pool matrix clean bootstrap help

all: build

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

bootstrap:
	$(Q)scripts/bootstrap

build: bootstrap ## build the release preset
	$(Q)scripts/build $(PRESET)

run: build ## run the example driver, then its twin with five bugs
	$(Q)scripts/run-examples $(BUILD)

test: bootstrap ## everything that proves us right: gcc and clang, plain, ASan+UBSan, TSan, MSan, layers, linktest, lint
	$(Q)scripts/test-all

check: build ## the suite once, release preset (minutes)
	$(Q)scripts/test-preset $(PRESET)

test-asan: bootstrap ## the suite under ASan and UBSan, gcc and clang
	$(Q)scripts/test-preset asan asan-clang

test-tsan: bootstrap ## the suite under TSan, gcc and clang
	$(Q)scripts/test-preset tsan tsan-clang

test-msan: bootstrap ## the suite of C source under MSan, clang
	$(Q)scripts/test-preset msan

deep: bootstrap ## the suite with deep assertions
	$(Q)scripts/test-preset deep

bench: build ## figures, as a table and as build/release/bench.json
	$(Q)scripts/bench $(BUILD)

matrix: build ## the detection matrix: each documented way to a memory bug check, and whether it is caught
	$(Q)$(BUILD)/tests/matrix tests/matrix/rows.tsv tests/matrix/reasons.tsv

fuzz: bootstrap ## the loader under libFuzzer: make fuzz SECONDS=3600
	$(Q)scripts/fuzz $(or $(SECONDS),60)

fuzz-pool: bootstrap ## the pools against a model: make fuzz-pool SECONDS=3600
	$(Q)scripts/fuzz-pool $(or $(SECONDS),60)

lint: build ## layering, clang-tidy, clang-format
	$(Q)scripts/lint

fmt: bootstrap ## format the sources
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format -i

layers: ## no include goes up; the table of routines is true
	$(Q)scripts/check-layers
	$(Q)scripts/check-routines

linktest: build ## the core needs nothing but what hal.h names
	$(Q)scripts/linktest $(BUILD)

coverage: bootstrap ## line coverage of the suite in build/coverage/coverage.html
	$(Q)scripts/test-preset coverage && cd build/coverage && gcovr -r ../.. --html-details coverage.html --filter ../../src/ --print-summary

install: bootstrap ## make install PREFIX=/usr/local PRESET=release (tsan: for programs built with it)
	$(Q)scripts/build $(PRESET) -DCMAKE_INSTALL_PREFIX=$(abspath $(PREFIX))
	$(Q)cmake --install $(BUILD) --prefix $(abspath $(PREFIX)) >/dev/null && echo "installed under $(abspath $(PREFIX))"

clean: ## remove build/
	$(Q)rm -rf build
