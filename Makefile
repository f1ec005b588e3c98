# one-neuron: `make repro` does the whole job, `make test` proves it, `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Bytecode is cached (without it every process starts three times slower) and nothing phones home.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

.PHONY: help repro test test-fast setup check format fuzz sweep track ui bench lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: setup ## Do the main job: draw or load the pictures, train, evaluate, track; print the result
	@one-neuron settings >/dev/null # DVC puts the old outputs away before a stage can refuse a wrong value
	@dvc repro
	@one-neuron report

test: setup ## Run all tests, on all cores
	@python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-fast: setup ## Run the unit tests alone
	@python -m pytest -n auto --dist loadfile tests/unit

setup: ## Make .venv and install the locked requirements (does nothing when that is done)
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

check: setup ## Format, lint and type checks, and the import rules
	@ruff format --check .
	@ruff check .
	@mypy
	@python -m pytest -q tests/unit/test_architecture.py

format: setup ## Format the sources and mend what the linter can mend
	@ruff format .
	@ruff check --fix .

fuzz: setup ## Read files damaged at random for two minutes (SECONDS=120, SEED=1): none may do harm
	@PYTHONPATH=src python scripts/fuzz.py --seconds "$(or $(SECONDS),120)" --seed "$(or $(SEED),1)"

sweep: setup ## Try the configurations of conf/sweep/grid.yaml, or SWEEP=course, SWEEP=fine
	@python pipeline/sweep.py -m sweep="$(or $(SWEEP),grid)"

track: setup ## Show the newest result in MLflow again (after its store was deleted or unreachable)
	@one-neuron settings >/dev/null
	@dvc repro evaluate
	@dvc repro --single-item --force track

ui: setup ## Open the MLflow UI on 127.0.0.1 (PORT=5000)
	@exec one-neuron ui --port "$(or $(PORT),5000)"

bench: setup ## Measure training beside what people would use instead (minutes; BENCH="train tall" for some of it)
	@python benchmarks/bench.py $(BENCH)

lock: setup ## Resolve requirements.txt again from the ranges in pyproject.toml
	@uv pip compile pyproject.toml --extra dev --universal --fork-strategy fewest --python-version 3.11 \
		--generate-hashes --no-annotate --custom-compile-command 'make lock' --quiet --output-file requirements.txt

clean: ## Remove what the stages made and the caches (the MLflow store and .venv stay)
	rm -rf data models metrics plots dvc_plots .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src pipeline benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
