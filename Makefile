# Each target is one line that works on Windows too: see "On Windows" in README.md.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# what is compiled is kept wherever this runs: tests start hundreds of processes
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install run test test-slow test-postgres mutations lint bench

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	$(PIP) --no-deps spandrel
	touch $@

# what tests and checks need on top
$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) -e ".[test,lint,postgres]"
	touch $@

run: install
	$(BIN)/python -m bot run

test: $(VENV)/installed-dev
	$(BIN)/python tests/browser.py
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not slow"

test-slow: $(VENV)/installed-dev
	$(BIN)/python tests/browser.py
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

# the same on PostgreSQL: a server of its own, for as long as it takes
test-postgres: $(VENV)/installed-dev
	$(BIN)/python -m tests.postgres $(BIN)/python -m pytest -n 4 --dist worksteal -m "not slow" tests/unit/storage tests/acceptance

# breaks the rules of who may do what, one at a time: a test must fail for each
mutations: $(VENV)/installed-dev
	$(BIN)/python -m tests.mutations

lint: $(VENV)/installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python -m alembic upgrade head
	$(BIN)/python -m alembic check

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.flood
	$(BIN)/python -m benchmarks.soak_delivery --jobs 2000 --every 200
	$(BIN)/python -m benchmarks.fairness
	$(BIN)/python -m benchmarks.queue
	$(BIN)/python -m benchmarks.uploads
	$(BIN)/python -m benchmarks.history
	$(BIN)/python -m benchmarks.upkeep
	$(BIN)/python -m benchmarks.catalogue
	$(BIN)/python -m benchmarks.drawing
