# Everything happens in .venv, which requirements.lock fills; uv comes with pip when the machine has none.
# the first that is new enough; the name of a Python too old is kept for the message that says so
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
ARGS ?=
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
BIN := .venv/bin
READY := .venv/.ready
TESTED := .venv/.tested
export VIRTUAL_ENV := $(CURDIR)/.venv

.PHONY: help run test check bench dev lock corpus clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

run: $(READY)  ## set up, then open the app (ARGS="doctor" for any command)
	@$(BIN)/infertui $(ARGS)

test: $(TESTED)  ## set up, then run the tests
	@$(BIN)/pytest $(ARGS)

check: $(READY)  ## format, lint, types, import rules, corpus
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m infertui.scenario.generate --check

bench: $(READY)  ## what our clock, sampling and the app are worth and cost, in one run
	@$(BIN)/python tests/bench/clock.py $(ARGS)
	@$(BIN)/python tests/bench/sampler.py
	@$(BIN)/python tests/bench/app.py

dev: $(READY)  ## the environment, and the checks as git hooks
	@$(BIN)/pre-commit install

lock:  ## choose the newest versions that pyproject.toml allows
	$(UV) pip compile --upgrade --universal --generate-hashes --no-annotate --no-header --python-version 3.11 \
	  --extra llama --extra mlx --extra parquet --extra web --group dev --output-file requirements.lock pyproject.toml

corpus: $(READY)  ## write the prompts again from their generator
	$(BIN)/python -m infertui.scenario.generate

clean:  ## remove what was set up
	rm -rf .venv .tools dist build

$(READY): requirements.lock pyproject.toml | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit("InferTUI needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@echo "setting up .venv (once) ..." >&2
	@$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	@$(UV) pip sync --quiet --require-hashes requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# llama-cpp-python for the tests alone, and nothing compiled: they lend it the library of another wheel.
$(TESTED): tests/llama-cpp-python.lock $(READY)
	@SKBUILD_WHEEL_CMAKE=false $(UV) pip install --quiet --no-deps --no-build-isolation --require-hashes \
	  --requirement tests/llama-cpp-python.lock
	@touch $@

.tools/bin/uv:
	@echo "installing uv into .tools ..." >&2
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "InferTUI needs pip or uv: $(PYTHON) has no pip (Debian: apt install python3-pip)" >&2; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-warn-script-location --target .tools uv
