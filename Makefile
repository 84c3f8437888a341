# Everything a developer types. Needs Python 3.11 or newer and nothing else: each target sets up what it uses.
.DEFAULT_GOAL := help
.PHONY: help run test test-compiled check bench load fuzz chaos compile compiled clean

# The first Python that is new enough; PYTHON=... on the command line wins.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; exit; }; done; echo no-python-3.11-or-newer)
# What is compiled once is compiled for every process that a test starts: without bytecode on disk each takes a third
# more of the processor. Some images say that none is to be written.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
# How many tests run at a time: many of them wait for processes, so three keep two cores busy. JOBS=0 for one process,
# as a debugger needs it.
JOBS ?= 3
# What make test-compiled runs: all that is compiled, and what starts whole gateways. TESTS=tests/relay for some of it.
TESTS ?= $(addprefix tests/,wire relay limits routing keys process e2e)
# File by file, in the order of tests/conftest.py: the longest first.
MANY := --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Stamp files: set up again only when pyproject.toml has changed.
RUNTIME := $(VENV)/.stamp-runtime
DEVELOPMENT := $(VENV)/.stamp-development
LOAD := $(VENV)/.stamp-load

help:
	@echo 'make run    start keystile demo: a small API, a gateway in front of it, and what to try'
	@echo 'make test   the tests; make test ARGS="-k slots" for some of them'
	@echo 'make test-compiled  the tests of what is compiled, and of whole gateways, against build/compiled; TESTS=tests/relay for some'
	@echo 'make check  ruff, mypy --strict, and the import map'
	@echo 'make bench  CPU per request, side by side with HAProxy and other gateways'
	@echo 'make load   load by a scenario, with a report; make load ARGS="at-once"; ARGS=--list says which there are'
	@echo 'make fuzz   10 million executions, guided by coverage; make fuzz ARGS="--runs 100000 --targets relay"'
	@echo 'make chaos  two minutes of traffic while everything happens; make chaos ARGS="--seconds 30 --seed 7"'
	@echo 'make compile  build/compiled: the same program with its hot modules compiled; make bench measures it beside the source'
	@echo 'make clean  away with everything that can be made again'

run: $(RUNTIME)
	@$(BIN)/keystile demo

test: $(DEVELOPMENT)
	$(BIN)/python -m pytest $(MANY) $(ARGS)

check: $(DEVELOPMENT)
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_imports.py

bench: $(DEVELOPMENT)
	$(BIN)/python -m bench $(ARGS)

# Routes and permissions are the real API's; ARGS="-c gateway.yaml" for yours.
load: $(LOAD)
	@$(BIN)/keystile loadtest -c tests/data/elasticemail-gateway.yaml $(ARGS)

fuzz: $(DEVELOPMENT)
	nice -n 19 $(BIN)/python -m tests.fuzz $(ARGS)

chaos: $(DEVELOPMENT)
	$(BIN)/python -m tests.chaos $(ARGS)

# A copy to run with PYTHONPATH=build/compiled; nothing of src or the venv is changed by it.
compile: $(BIN)/python
	rm -rf build
	KEYSTILE_COMPILE=1 $(PIP) install --no-deps --no-cache-dir --target build/compiled .
	@cp setup.py build/setup.py
	@PYTHONPATH=build/compiled $(BIN)/python -m keystile --version

# The same where it is missing, of another source, or for another Python. By what files hold: a checkout changes times.
compiled: $(BIN)/python
	@cmp --quiet setup.py build/setup.py \
		&& diff --recursive --brief --exclude=__pycache__ --exclude='*.so' src/keystile build/compiled/keystile >/dev/null \
		&& PYTHONPATH=build/compiled $(BIN)/python -m keystile --version 2>/dev/null | grep '(compiled)' \
		|| $(MAKE) --no-print-directory compile

# By its whole path: tests start processes in other directories, which would find the source instead, and tell no one.
test-compiled: $(DEVELOPMENT) compiled
	PYTHONPATH=$(CURDIR)/build/compiled $(BIN)/python -m pytest $(MANY) $(TESTS) $(ARGS)

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo 'Keystile needs Python 3.11 or newer; name one with make PYTHON=/path/to/python3'; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo 'This Python cannot make a venv; on Debian and Ubuntu: apt install python3-venv'; exit 1; }

$(RUNTIME): pyproject.toml | $(BIN)/python
	@echo 'Setting up $(VENV) (once) ...'
	@$(PIP) install --editable .
	@touch $@

$(DEVELOPMENT): pyproject.toml | $(BIN)/python
	@echo 'Setting up $(VENV) with what tests need (once) ...'
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(RUNTIME) $(LOAD)

$(LOAD): pyproject.toml | $(BIN)/python
	@echo 'Setting up $(VENV) with the load tester (once) ...'
	@$(PIP) install --editable '.[loadtest]'
	@touch $@ $(RUNTIME)
