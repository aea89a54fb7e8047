# Two commands for users: `make demo` and `make test`. Both set up .venv in this folder first, and only once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The tests start hundreds of processes: without this each would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick reliability soak exact-campaign test-esphome-latest fuzz lint types-own types-newest types-oldest unit setup setup-demo clean

demo: $(VENV)/.demo
	$(BIN)/mww demo --output demo

test: lint unit

# Python 3.12 and later take a numpy whose stubs use syntax of 3.12, so mypy checks 3.10 only below 3.12.
lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tools.plain_english
	@$(MAKE) --no-print-directory -j 2 types-own types-newest types-oldest

types-own: $(VENV)/.test
	$(BIN)/mypy

types-newest: $(VENV)/.test
	$(BIN)/mypy --python-version 3.14 --cache-dir .mypy_cache/newest

types-oldest: $(VENV)/.test
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
	  $(BIN)/mypy --python-version 3.10 --cache-dir .mypy_cache/oldest; fi

unit: $(VENV)/.test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Without the tests that are marked as slow, for a first look and between commits.
quick: $(VENV)/.test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not slow'

# The firmware against the newest ESPHome on PyPI instead of the release that the project was written for.
test-esphome-latest: $(VENV)/.test
	MWW_ESPHOME_VERSION=latest $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests/firmware

# Ten minutes of libFuzzer on the firmware's decoder and session; `make test` has four seconds of it.
fuzz: $(VENV)/.test
	MWW_FUZZ_SECONDS=600 $(BIN)/python -m pytest tests/firmware/test_core.py -k fuzzing

# Every fault at random, an hour of it, and the table of docs/reliability.md. SIZE=0.1 takes a tenth; ONLY=word, some rows.
SIZE ?= 1
ONLY ?=
reliability: $(VENV)/.test
	$(BIN)/python -m benchmarks.reliability --size $(SIZE) --only '$(ONLY)'

# An hour of audio, ten minutes at real pace, ten thousand loads: what grows, and whether it gets slower.
soak: $(VENV)/.test
	$(BIN)/python -m benchmarks.reliability.soak --size $(SIZE)

# The exact engine against TFLite Micro on so many random models, every tensor of every frame, from one on.
MODELS ?= 1000
FIRST ?= 1000
exact-campaign: $(VENV)/.test
	MWW_EXACT_MODELS=$(MODELS) MWW_EXACT_FIRST=$(FIRST) $(BIN)/python -m pytest -q -n 2 tests/harness/engines/test_exact_random.py

setup: $(VENV)/.test
setup-demo: $(VENV)/.demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' || \
	  { echo "mww-harness runs on Python 3.10 to 3.14; name one of them: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing: sudo apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) demo build dist
