# Each target is one line that works on Windows too: see "On Windows" in README.md.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# what is compiled is kept wherever this runs: tests start hundreds of processes
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install install-hashed run test test-slow test-postgres mutations lint bench docs wheel hashes audit sbom

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	$(PIP) --no-deps spandrel
	touch $@

# what tests and checks need on top
$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) -e ".[test,lint,postgres,objects,nats,docs]"
	touch $@

# the same, each file held against the hash that it had when the project was tested; torch is left to
# whichever index has the build for this machine, and what it asks for comes with it
install-hashed:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r constraints-hashed.txt
	$(PIP) torch
	$(PIP) --no-deps -e .
	touch $(VENV)/installed

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
	$(BIN)/yamllint --strict .github compose.yaml compose.cuda.yaml mkdocs.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/wish.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml compose.cuda.yaml
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/hadolint deploy/Dockerfile
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

# ---- what is handed on

# the site, in build/site; a link to nowhere, or a page outside the menu, is an error
docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir build/site

wheel: $(VENV)/installed-dev
	$(BIN)/python -m build --outdir build/dist

$(VENV)/installed-supply: $(VENV)/installed-dev
	$(PIP) -e ".[supply]"
	touch $@

# of torch and what its builds for GPUs ask for there are several, so no hash of one would hold
OF_TORCH := torch torchvision triton setuptools cuda-bindings cuda-pathfinder cuda-toolkit \
	nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft \
	nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 \
	nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx

hashes: $(VENV)/installed-supply
	echo spandrel | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		$(addprefix --no-emit-package ,$(OF_TORCH)) --extra postgres --extra objects --extra nats --extra tracing -c constraints.txt \
		-o constraints-hashed.txt pyproject.toml -

# known weaknesses of what is installed: asks the advisory database on the network
audit: $(VENV)/installed-supply
	$(BIN)/pip-audit --requirement constraints-hashed.txt --disable-pip --progress-spinner off

# what a release is made of, as CycloneDX has it
sbom: $(VENV)/installed-supply
	mkdir -p build
	grep -h "^torch==" constraints.txt | cat constraints-hashed.txt - | $(BIN)/cyclonedx-py requirements - \
		--pyproject pyproject.toml --output-reproducible --validate --output-file build/darkroom.cdx.json
