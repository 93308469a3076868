# On a fresh machine with Python and make: `make demo` or `make test`, nothing before it.

PYTHON ?= python3
VENV ?= .venv
OLDEST_VENV ?= .venv-oldest
LIGHT_VENV ?= .venv-light
BIN = $(VENV)/bin
# A test module stays in one worker, for its fixtures; two workers with two threads each would wait for
# each other.
WORKERS ?= -n 2 --dist loadfile
PYTEST_ENV = OMP_NUM_THREADS=1
INSTALLED = $(VENV)/.installed

LIGHT = $(LIGHT_VENV)/.installed

.PHONY: demo test test-light test-oldest check format lint types rooms structure architecture audit docs bench build clean

demo: $(LIGHT)  ## the main job on real data: 2,624 solar cells
	$(LIGHT_VENV)/bin/python examples/solar_cells.py

test: $(INSTALLED)  ## the whole suite, doctests included
	$(PYTEST_ENV) $(BIN)/python -m pytest $(WORKERS)

test-light: $(LIGHT)  ## all tests that need no torch, where there is none
	$(PYTEST_ENV) $(LIGHT_VENV)/bin/python -m pytest $(WORKERS) tests

test-oldest:  ## the suite with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(OLDEST_VENV)/bin/python -m pip install --quiet --constraint constraints-oldest.txt --group dev --group docs --editable ".[torch]"
	$(PYTEST_ENV) $(OLDEST_VENV)/bin/python -m pytest $(WORKERS)

check: lint types rooms test  ## all that a commit must pass

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

rooms: $(INSTALLED)
	$(BIN)/lint-imports

structure:  ## rooms, floors, arrows, lengths: how the package is built
	$(PYTHON) tools/rooms.py

architecture:  ## rewrite the list of files in ARCHITECTURE.md from the docstrings
	$(PYTHON) tools/architecture.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

audit: $(INSTALLED)  ## known advisories of what is installed; asks a public database
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable

docs: $(INSTALLED)  ## the documentation site in build/docs; a warning is an error
	$(BIN)/python docs/make_site.py

bench: $(INSTALLED)  ## DATA=folder: speed against the ordinary way
	$(BIN)/python benchmarks/speed.py $(DATA)

build: $(INSTALLED)  ## the packages of a release, checked
	rm -rf dist
	$(BIN)/python -m pip install --quiet build twine
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) $(LIGHT_VENV) $(OLDEST_VENV)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed, this is ' + sys.version) if sys.version_info < (3, 11) else 0"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --group docs --editable ".[torch]"
	touch $@

$(LIGHT): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LIGHT_VENV)
	$(LIGHT_VENV)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(LIGHT_VENV)/bin/python -m pip install --quiet --constraint constraints.txt --group test --editable ".[train]"
	touch $@
