# make quickstart   installs into .venv, runs the whole chain at laptop size, writes runs/quickstart/report.html
# make test         installs, then lint, types, import floors and every test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# The CPU wheel of torch; GPU users: make install CONSTRAINTS=
CONSTRAINTS ?= -c constraints/cpu.txt

.PHONY: quickstart test check install voices clean

quickstart: install
	@$(BIN)/speechweave quickstart $(ARGS)

test: install check
	@OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -q $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed voices

$(VENV)/.installed: pyproject.toml constraints/cpu.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "speechweave needs Python 3.11 or newer, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	@echo "installing speechweave and its packages into $(VENV) (2 GB, a few minutes the first time) ..."
	$(BIN)/python -m pip install -q --disable-pip-version-check $(CONSTRAINTS) torch
	$(BIN)/python -m pip install -q --disable-pip-version-check $(CONSTRAINTS) -e '.[dev]'
	touch $@

# flite's voices are a second, different synthesiser; everything also runs without them.
HAS_FLITE := $(BIN)/python -c 'import sys; from corpus import flite; sys.exit(not flite.is_available())'

voices: $(VENV)/.installed
	@$(HAS_FLITE) || (test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq libflite1 >/dev/null) \
		|| echo "flite's voices are not installed (apt-get install libflite1): going on with espeak-ng's alone"

clean:
	rm -rf runs build *.egg-info
