# Every way to run this project, for people and for CI alike. `make` alone lists the targets.
#
# The environment lives in .venv. Two stamp files in it say what is installed; they are older than pyproject.toml or
# constraints.txt when it must be brought up to date.

PYTHON  ?= python3
WORKERS ?= 2

BIN    := .venv/bin
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -c constraints.txt
# Bytecode is written whatever the environment says: two workers and some hundred processes read it.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal
AXE    := .venv/axe/node_modules/axe-core/axe.min.js
VOCAL  := src/hafm/assets/demo_vocal.flac

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-fuzz test-web test-browser check check-full lint format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/user.stamp  ## turn the bundled vocal into an accompaniment and a mix, in out/demo/
	$(BIN)/hafm generate $(VOCAL) -o out/demo --seed 1 --overwrite

test: .venv/dev.stamp  ## run the quick tests, in less than two minutes on two cores
	$(PYTEST)

test-long: .venv/dev.stamp  ## run the quick and the long tests, as CI does
	$(PYTEST) -m "not slow"

test-fuzz: .venv/dev.stamp  ## read fifty broken files of each audio format
	$(PYTEST) -m slow -k fifty_broken_files tests/audio/test_fuzz.py

test-web: .venv/web.stamp  ## run the studio in Chromium, and fuzz its service (installs what that needs, with apt-get)
	OMP_NUM_THREADS=1 AXE=$(AXE) $(BIN)/python -m pytest -q -m "slow or not slow" tests/web/browser \
	  tests/web/test_openapi.py tests/web/test_load.py

check: lint test-long test-fuzz  ## what CI runs: lint, tests, demo, and the studio in Chromium where that is to be had
	$(MAKE) --no-print-directory demo
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null || test "$(BROWSER)" = install; then \
	  if $(MAKE) --no-print-directory .venv/web.stamp >.venv/web.log 2>&1; then \
	    $(MAKE) --no-print-directory test-browser; \
	  else echo "make check: the browser's tests are left out; .venv/web.log says what could not be installed"; fi; \
	else echo "make check: the browser's tests are left out, there is no chromium; make test-web installs it"; fi

test-browser: .venv/web.stamp
	OMP_NUM_THREADS=1 AXE=$(AXE) $(BIN)/python -m pytest -q -m "slow or not slow" tests/web/browser

check-full: lint .venv/full.stamp  ## `check`, and the slow tests too (adds Ray, 600 MB)
	$(PYTEST) -m "slow or not slow"
	$(MAKE) --no-print-directory demo

lint: .venv/dev.stamp  ## style, types and the layer contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/dev.stamp  ## put the code into its one form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment, caches and out/
	rm -rf .venv out build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache src/*.egg-info

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "HAFM needs Python 3.11 or newer, and $(PYTHON) is not that:" \
	    "name one that is, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

.venv/user.stamp: pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP) -e '.[plot,web]'
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP) -e '.[dev]'
	@touch $@ .venv/user.stamp

.venv/web.stamp: .venv/dev.stamp
	@missing="$$(for each in chromium:chromium chromedriver:chromium-driver npm:npm; do \
	  command -v $${each%:*} >/dev/null || echo $${each#*:}; done)"; \
	  test -z "$$missing" || { apt-get update -q && apt-get install -qy --no-install-recommends $$missing; }
	$(PIP) selenium schemathesis
	npm install --silent --no-save --ignore-scripts --prefix .venv/axe axe-core@4.14.1
	@touch $@

.venv/full.stamp: .venv/dev.stamp
	$(PIP) -e '.[dev,cluster]'
	@touch $@
