# `make` lists what there is to do. Needs Python 3.11 or newer; PYTHON=… chooses one.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet

.PHONY: help setup demo check format static unit test soak bench docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## the environment for work on headrace

demo: $(VENV)/.base ## four workers go through the files of Python itself; one is killed on the way
	@$(BIN)/headrace demo files

check: static unit ## format, lint, types, contracts, unit tests

format: $(VENV)/.dev ## put the code into shape
	@$(BIN)/ruff check --quiet --fix --exit-zero . >/dev/null
	@$(BIN)/ruff format --quiet .

static: $(VENV)/.dev
	@mkdir -p .cache
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >.cache/contracts || { cat .cache/contracts >&2; exit 1; }
	@$(BIN)/deptry src 2>.cache/deptry || { cat .cache/deptry >&2; exit 1; }
	@$(BIN)/codespell

unit: $(VENV)/.dev
	@$(BIN)/pytest --quiet -m "not slow and not soak" tests/unit tests/project

test: static ## all of check, then the whole suite on real servers
	@dsn=$$($(BIN)/python -m scripts.services ensure postgres); \
	HEADRACE_TEST_POSTGRES=$$dsn $(BIN)/pytest

soak: $(VENV)/.dev ## the fault catalogue at its full figures (an hour or more)
	@dsn=$$($(BIN)/python -m scripts.services ensure postgres); \
	HEADRACE_TEST_POSTGRES=$$dsn $(BIN)/pytest -m soak -o faulthandler_timeout=7200

bench: $(VENV)/.dev ## speed beside the raw limit and the peers, on this machine
	@dsn=$$($(BIN)/python -m scripts.services ensure postgres); \
	HEADRACE_TEST_POSTGRES=$$dsn $(BIN)/python bench/run.py

docs: $(VENV)/.dev ## regenerate the generated pages, check every link
	@for page in scripts/generate_*.py; do $(BIN)/python -m "scripts.$$(basename "$$page" .py)"; done
	@$(BIN)/python -m scripts.check_links

clean: ## remove what make made: environment, caches, own servers
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m scripts.services stop || true; fi
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist

# --- environment: a stamp for each state, so that a second run is instant ---

$(VENV)/.base: requirements/base.txt pyproject.toml | $(VENV)/.made
	$(PIP) install --require-hashes --requirement requirements/base.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.base
	$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "headrace needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || scripts/apt.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	@touch $@
