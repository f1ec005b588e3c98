# one-neuron: `make repro` does the main job, `make test` runs all tests, `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Bytecode is cached: without it every process starts three times slower. No tool reports usage statistics.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

# Programs are called by their path: GNU Make 3.81 (macOS) looks up simple commands in the PATH that it was started with.
PY := $(BIN)/python
ONE_NEURON := $(BIN)/one-neuron
DVC := $(BIN)/dvc
COMPILE := $(BIN)/uv pip compile --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command 'make lock' --quiet

.PHONY: help repro test test-fast coverage setup setup-dev check format fuzz faults docs deps sweep track experiments ui bench \
	lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: setup ## Do the main job: draw or load the pictures, train, evaluate, track; print the result
	@$(ONE_NEURON) repro

test: setup-dev ## Run all tests, on all cores
	@$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-fast: setup-dev ## Run the unit tests without the slow ones
	@$(PY) -m pytest -n auto --dist worksteal -m 'not slow' tests/unit

coverage: setup-dev ## Run the unit and integration tests and print which lines they miss
	@$(BIN)/coverage erase
	@# Under the limits of the tests with a full disk, coverage could not write its own files.
	@$(BIN)/coverage run -m pytest -q -n auto --dist loadfile --no-loadscope-reorder -k 'not a_full_disk' \
		tests/unit tests/integration
	@$(BIN)/coverage combine --quiet 2>/dev/null # it warns of files that tests left half-written by a kill
	@$(BIN)/coverage report

setup: ## Make .venv and install the locked requirements (does nothing if that is done)
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

setup-dev: ## The same, and add the development tools
	@PYTHON="$(PYTHON)" sh scripts/setup.sh dev

check: setup-dev ## Check format, lint, types, import rules and the deps in dvc.yaml
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=src $(PY) scripts/update_deps.py --check
	@$(PY) -m pytest -q tests/unit/test_architecture.py

format: setup-dev ## Format the sources and fix what the linter can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

fuzz: setup ## Read files damaged at random for two minutes (SECONDS=120, SEED=1): none may do harm
	@PYTHONPATH=src $(PY) scripts/fuzz.py --seconds "$(or $(SECONDS),120)" --seed "$(or $(SEED),1)"

faults: setup-dev ## Disturb the real pipeline in all ways, an hour or two (KINDS="flips pairs", COUNT=20, SEED=1)
	@$(PY) -m tests.faults $(KINDS) --seed "$(or $(SEED),1)" $(if $(COUNT),--count $(COUNT),--write)

docs: setup-dev ## Build the documentation, docs/_build/html/index.html; a warning is an error
	@PYTHONPATH=src $(PY) -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

deps: setup ## Write the source files that each stage imports into dvc.yaml
	@PYTHONPATH=src $(PY) scripts/update_deps.py

sweep: setup ## Try the configurations of conf/sweep/grid.yaml, or SWEEP=course, SWEEP=fine, SWEEP=tpe
	@$(PY) pipeline/sweep.py -m sweep="$(or $(SWEEP),grid)"

track: setup ## Record the newest result in MLflow again (after its store was deleted or unreachable)
	@$(ONE_NEURON) repro evaluate
	@$(ONE_NEURON) repro --single-item --force track

experiments: setup ## List DVC's experiments of this commit: accuracies, and what they changed
	@$(PY) scripts/show_experiments.py

ui: setup ## Open the MLflow UI on 127.0.0.1 (PORT=5000)
	@exec $(ONE_NEURON) ui --port "$(or $(PORT),5000)"

bench: setup-dev ## Compare training with the usual alternatives (minutes; BENCH="train tall" for some of it)
	@$(PY) benchmarks/bench.py $(BENCH)

lock: setup ## Resolve the requirements*.txt again from the ranges in pyproject.toml
	@$(COMPILE) pyproject.toml --extra pipeline --extra serve --group setup --output-file requirements.txt
	@$(COMPILE) --group dev --group docs --constraint requirements.txt --output-file requirements-dev.txt
	@$(COMPILE) pyproject.toml --extra optuna --extra postgres --extra ray --extra s3 --constraint requirements.txt \
		--output-file requirements-extras.txt

clean: ## Remove what the stages made, and the caches, and say what it was (the MLflow store and .venv stay)
	@$(PYTHON) scripts/clean.py
