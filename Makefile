# `make` alone lists what there is to do.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# `make CONSTRAINTS=/dev/null pytest` tests with the newest version of everything
CONSTRAINTS := constraints.txt

.DEFAULT_GOAL := help
COVERAGE :=
.PHONY: help env demo test pytest coverage test-oldest bench docs dist lint format network-test soak clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

env: $(STAMP)  ## Create or refresh .venv with the package (editable) and every development tool

# The stamp is written last: a broken or outdated installation is redone by the next target.
$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -qq -c $(CONSTRAINTS) -e '.[dev,all]'
	@touch $@

demo: $(STAMP)  ## Run the quick start with the bundled model
	@$(PY) examples/quickstart.py

lint: $(STAMP)  ## Check format, lint and types
	@$(PY) -m ruff format --check --quiet . || { echo "Not formatted: run 'make format'"; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy

test: lint pytest  ## Check everything: format, lint, types, doctests and tests

# Two at a time, with a thread of torch each: more threads than cores wait for one another.
pytest: $(STAMP)  ## Run doctests and tests alone
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal --doctest-modules $(COVERAGE) sklearn_esm tests

coverage: COVERAGE := --cov --cov-report=term
coverage: pytest  ## Run doctests and tests, and report their coverage (a quarter slower)

# an environment of its own, outside what `make env` refreshes
OLDEST := .venv-oldest

test-oldest: $(OLDEST)/.installed  ## Run the tests with the oldest supported versions (needs Python 3.11)
	@OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n 2 --dist worksteal --doctest-modules sklearn_esm tests

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "test-oldest needs Python 3.11; got %d.%d. Run: make PYTHON=python3.11 test-oldest" % sys.version_info[:2])'
	@echo "Installing into $(OLDEST) (a few minutes the first time)"
	@$(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install -qq -c constraints-oldest.txt -e '.[test]'
	@touch $@

bench: $(STAMP)  ## Measure speed and memory beside fair-esm and transformers (SPEED= and EXTREMES= take options)
	@$(PY) benchmarks/speed.py $(SPEED)
	@$(PY) benchmarks/extremes.py $(EXTREMES)

docs: $(STAMP)  ## Build the documentation into docs/_build/html (warnings are errors) and follow its links
	@$(PY) -m pip install -qq -c constraints.txt -e '.[docs]'
	@$(PY) -m sphinx -M html docs docs/_build -W --keep-going -q
	@SITE=docs/_build/html $(PY) -m pytest -q tests/documentation/test_links.py
	@echo "docs/_build/html/index.html"

# an environment of its own: nothing else that is installed can change what is built
DIST := .venv-dist

dist: $(DIST)/.installed  ## Build the sdist and the wheel into dist/ and check what PyPI will show
	@rm -rf dist
	@$(DIST)/bin/python -m build
	@$(DIST)/bin/python -m twine check --strict dist/*

$(DIST)/.installed: constraints.txt
	@$(PYTHON) -m venv $(DIST)
	@$(DIST)/bin/python -m pip install -qq -c constraints.txt build twine
	@touch $@

network-test: $(STAMP)  ## Test against the published weights (downloads them on the first run)
	@$(PY) -m pytest -m network --force-enable-socket tests

# prints its seed, with which a failure can be repeated
soak: $(STAMP)  ## Compare 5,000 random inputs with fair-esm, and kill 200 runs (SEED= repeats one)
	@OMP_NUM_THREADS=1 SEED=$(SEED) $(PY) -m pytest -n 2 --dist worksteal -m soak tests/soak

format: $(STAMP)  ## Format the code and mend what the linter can mend
	@$(PY) -m ruff check --fix --quiet . || true
	@$(PY) -m ruff format .

clean:  ## Remove caches and build outputs (the environment stays: rm -r .venv)
	@rm -rf build dist docs/_build docs/auto_examples docs/api/backreferences docs/api/sklearn_esm.*.rst examples/output .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
