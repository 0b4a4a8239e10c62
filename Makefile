# Two commands matter: `make run` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help setup run test stack nightly unit check format lock clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
SOURCES := src pipelines tests benchmarks infra

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## the environment in .venv, every version from requirements.lock (3 to 15 minutes)

$(INSTALLED): requirements.lock pyproject.toml
	@echo "setting up .venv with $(PYTHON): 3 to 15 minutes, once" >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(INSTALLED) ## both built-in models, from raw data to champion
	@$(BIN)/headstart run

test: $(INSTALLED) check ## every check and every test, on two cores
	@$(BIN)/python -m pytest -m "not nightly" --numprocesses 2 --dist worksteal

stack: $(INSTALLED) ## the servers of infra/ as processes, and one drift cured on them; KEEP=1 leaves them up
	@$(BIN)/python -m infra.stack $(if $(KEEP),--keep)

nightly: $(INSTALLED) ## long simulations and tables that the documentation quotes (15 minutes)
	@$(BIN)/python -m pytest -m nightly --numprocesses 2 --dist worksteal

unit: $(INSTALLED) ## the fast tests, in two minutes
	@$(BIN)/python -m pytest tests/unit tests/contract -m "not slow and not nightly" --numprocesses 2

check: $(INSTALLED) ## style, types and layers
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED) ## put the code into shape
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

lock: ## write requirements.lock anew from what .venv holds
	@{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --all \
	  | sed 's/^torch==.*/torch==2.13.0/' | grep -viE '^(nvidia-|-e |pip==|headstart|#)'; } > requirements.new
	@mv requirements.new requirements.lock

clean: ## what was computed, not the environment: artifacts, caches, embedded state
	@rm -rf artifacts .partial .cache .dvc/cache .dvc/tmp data/raw data/backbones state dvc.lock
