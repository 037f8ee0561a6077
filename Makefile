# `make demo` and `make test` need Python 3.11+ and pip, nothing else; everything else is set up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check lock clean

demo: $(READY)
	mkdir -p demo
	$(BIN)/cals generate --face examples/astronaut.jpg --audio examples/speech.wav --out demo/astronaut.mp4 --force
	$(BIN)/cals generate --face examples/grid-s20.mp4 --audio examples/speech.wav --out demo/grid-s20.mp4 --force
	$(BIN)/cals sheet demo/astronaut.mp4 demo/grid-s20.mp4 --out demo/demo.png --force
	@printf '\nTo watch, with sound:  %s\n                       %s\nTo look at:            %s\n' \
		"$(CURDIR)/demo/astronaut.mp4" "$(CURDIR)/demo/grid-s20.mp4" "$(CURDIR)/demo/demo.png"

test: $(READY) check
	$(BIN)/cals models download > /dev/null
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'cals needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Write the lock file anew from pyproject.toml's ranges, in a throw-away environment.
lock:
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet torch==2.13.0
	.lock-venv/bin/python -m pip install --quiet -e ".[dev]"
	( echo "# Made by 'make lock'; torch is pinned because newer ones pull several GB of CUDA."; \
	  .lock-venv/bin/python -m pip freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+cpu//' ) > requirements.lock
	rm -rf .lock-venv

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache
