# Everything a developer does, by name. Each target does its own set-up first, so a fresh clone needs
# nothing but this file and a Swift toolchain. The steps themselves are in Scripts/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build run test test-swift test-clients test-cluster test-mixed client-suites conformance bench bench-cluster soak torment demo-dr fuzz fuzz-decoders simulate simulate-mutations simulate-scale generate format lint clean

# Where `make run` listens and keeps its data.
PORT ?= 9092
DATA ?= ./data

# Rounds of `make soak`, minutes of `make torment`, seconds and seed of `make fuzz`.
ROUNDS ?= 50
MINUTES ?= 5
SECONDS_EACH ?= 60
SEED ?= 1

# Seeds of `make simulate`: the first and how many.
SEEDS ?= 1:1000

# The folder with golden vectors and fixture directories that `make conformance` measures against.
MARTLET_SHARED ?= ../shared
export MARTLET_SHARED

# The directory of an unpacked Apache Kafka (with bin/), for `make test-mixed`; with the source of the same release also for the Java
# client's part of `make client-suites`.
MARTLET_KAFKA ?=
MARTLET_KAFKA_SOURCE ?=
export MARTLET_KAFKA MARTLET_KAFKA_SOURCE

help: ## List the targets
	@echo "Martlet: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing: Debian packages and the Python clients of the tests
	@Scripts/setup build clients

build: ## Build the release binary, .build/release/martlet
	@Scripts/setup build
	@Scripts/build release

run: build ## Start a development broker on 127.0.0.1:9092, data in ./data (PORT=, DATA=)
	@Scripts/run "$(PORT)" "$(DATA)"

test: ## Run every test: Swift's, and real clients against the real binary (with MARTLET_KAFKA= beside Apache Kafka too)
	@Scripts/setup build clients
	@Scripts/test swift clients cluster mixed

test-swift: ## Run the Swift tests alone
	@Scripts/setup build
	@Scripts/test swift

test-clients: ## Run the tests with real clients alone, two files at a time (ARGS= goes to pytest, which then runs one after the other)
	@Scripts/setup build clients
	@Scripts/test clients

test-cluster: ## Run the tests with clusters of real processes alone, two files at a time (ARGS= as above)
	@Scripts/setup build clients
	@Scripts/test cluster

test-mixed: ## Run Martlet and Apache Kafka in the same clusters: MARTLET_KAFKA=DIR is an unpacked Apache Kafka (ARGS= goes to pytest)
	@Scripts/setup build clients
	@Scripts/test mixed

client-suites: build ## Run the own suites of librdkafka, kafka-python and aiokafka against one node and three (ARGS= selects)
	@Scripts/setup clients suites
	@Scripts/client-suites $(ARGS)

conformance: ## Count the golden vectors and fixtures of MARTLET_SHARED that hold
	@Scripts/setup build
	@Scripts/conformance

bench: build ## Compare the broker with the C baseline (BENCH_JSON=FILE writes the results, ARGS= selects)
	@Scripts/setup clients bench
	@Benchmarks/run $(ARGS)

bench-cluster: build ## Measure a cluster of three: fail-over, restarts, CPU per GB, many partitions (ARGS= selects)
	@Scripts/setup clients bench
	@Benchmarks/cluster $(ARGS)

soak: build ## Kill the broker under load, ROUNDS=50 times, and check every acknowledged record
	@Scripts/setup clients
	@Scripts/soak "$(ROUNDS)"

torment: build ## Kill, pause and partition a cluster under load for MINUTES=5, or two linked ones (KIND=links), and check it (SEED=, ARGS=)
	@Scripts/setup clients
	@Scripts/torment "$(or $(KIND),cluster)" "$(MINUTES)" $(if $(filter-out file,$(origin SEED)),--seed=$(SEED)) $(ARGS)

demo-dr: build ## Two linked clusters under load: kill the primary, fail over, fail back, print RTO and RPO (ARGS=--nodes=1 ...)
	@Scripts/setup clients
	@Scripts/demo-dr $(ARGS)

fuzz: build ## Send mutated requests to a broker for SECONDS_EACH=60 seconds (SEED=)
	@Scripts/setup clients
	@Scripts/fuzz "$(SECONDS_EACH)" "$(SEED)"

fuzz-decoders: ## Let libFuzzer look for bytes that break a decoder, for SECONDS_EACH=60 seconds
	@Scripts/setup build
	@Scripts/fuzz-decoders "$(SECONDS_EACH)"

simulate: ## Run simulated quorums, clusters and links from seeds, SEEDS=FIRST:COUNT (1:1000), KIND=quorum, cluster or links
	@Scripts/setup build
	@Scripts/simulate $(if $(KIND),--kind $(KIND)) "$(SEEDS)"

simulate-mutations: ## Prove that the simulator notices faults put in on purpose
	@Scripts/setup build
	@Scripts/simulate --mutations

simulate-scale: ## Measure metadata of 10,000, 100,000 and 1,000,000 partitions
	@Scripts/setup build
	@for count in 10000 100000 1000000; do Scripts/simulate --scale $$count || exit 1; done

generate: ## Write the generated Swift anew from the protocol definitions
	@Scripts/generated write

format: ## Format the Swift sources in place
	@echo "==> Formatting Sources, Tests and Package.swift"
	@swift format format --in-place --parallel --recursive Package.swift Sources Tests

lint: ## Check formatting and that generated code is up to date
	@Scripts/lint
	@Scripts/generated check

clean: ## Remove what was built (./data stays)
	@echo "==> Removing .build and .cache"
	@rm -rf .build .cache
