# `make demo` and `make test` need Python 3.11+ and pip, nothing else; everything else is set up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
WHEEL_BIN := .wheel-venv/bin

.PHONY: demo test test-slow check format docs bench package release-check renew lock clean

demo: $(READY)
	mkdir -p demo
	$(BIN)/cals generate --face examples/astronaut.jpg --audio examples/speech.wav --out demo/astronaut.mp4 --force
	$(BIN)/cals generate --face examples/grid-s20.mp4 --audio examples/speech.wav --out demo/grid-s20.mp4 --force
	$(BIN)/cals sheet demo/astronaut.mp4 demo/grid-s20.mp4 --out demo/demo.png --force
	@printf '\nTo watch, with sound:  %s\n                       %s\nTo look at:            %s\n' \
		"$(CURDIR)/demo/astronaut.mp4" "$(CURDIR)/demo/grid-s20.mp4" "$(CURDIR)/demo/demo.png"

test: $(READY) check
	$(BIN)/cals models download > /dev/null
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# The rest: training, whole systems, browsers, servers and the README's commands. `.ci/run` runs both.
test-slow: $(READY)
	$(BIN)/cals models download > /dev/null
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow

check: $(READY)
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --no-cache --fix
	$(BIN)/ruff format

# Build the documentation into site/; every warning is an error (with --quiet mkdocs would not see them).
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A short run of the main benchmark: speed and memory of generation.
bench: $(READY)
	$(BIN)/python benchmarks/generate.py --sizes 640x360 --seconds 2 --rounds 1

# Build wheel and sdist, install the wheel in an environment of its own and generate a video with it.
package: $(READY)
	rm -rf dist .wheel-venv
	$(BIN)/python -m build --no-isolation
	$(PYTHON) -m venv .wheel-venv
	$(WHEEL_BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock dist/*.whl
	$(WHEEL_BIN)/python scripts/check_wheel.py
	ls -l dist

# Check what `make package` built as it would be published: its metadata, and the licences of all dependencies.
release-check: $(READY)
	$(BIN)/python scripts/check_release.py

# Write anew what is derived from the code: the picture of rooms, the list of the public API and that of licences.
renew: $(READY)
	$(BIN)/python scripts/rooms.py
	$(BIN)/python scripts/public_api.py
	$(BIN)/python scripts/licences.py

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'cals needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(DOCS_READY): $(READY) requirements-docs.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -r requirements-docs.lock
	touch $@

# Write the lock files anew from pyproject.toml's ranges, in a throw-away environment.
lock:
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet torch==2.13.0
	.lock-venv/bin/python -m pip install --quiet -e ".[dev]"
	( echo "# Made by 'make lock'; torch is pinned because newer ones pull several GB of CUDA."; \
	  .lock-venv/bin/python -m pip freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+cpu//' ) > requirements.lock
	.lock-venv/bin/python -m pip install --quiet -e ".[docs]"
	( echo "# Made by 'make lock': what 'make docs' needs beyond requirements.lock."; \
	  .lock-venv/bin/python -m pip freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+cpu//' | \
	  grep -vxFf requirements.lock ) > requirements-docs.lock
	rm -rf .lock-venv

clean:
	rm -rf $(VENV) .wheel-venv demo dist site .mypy_cache .ruff_cache .pytest_cache
