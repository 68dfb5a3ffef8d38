# make quickstart   installs into .venv, runs the whole chain at laptop size, writes runs/quickstart/report.html
# make chat         after the quickstart: serves its chatbot and opens the page to talk to it
# make test         installs, then lint, types, import floors and every test (two at a time; WORKERS=0: one)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
BUNDLE ?= runs/quickstart/bundle
# Test files run side by side, each worker in about 2 GB.
WORKERS ?= 2
# The CPU wheel of torch; GPU users: make install CONSTRAINTS=
CONSTRAINTS ?= -c constraints/cpu.txt

# Chromium is installed while mypy runs.
MAKEFLAGS += --jobs=2

.PHONY: quickstart chat test check install voices chromium clean

quickstart: install
	@$(BIN)/speechweave quickstart $(ARGS)

chat: install
	@test -d $(BUNDLE) || { echo "no $(BUNDLE): run make quickstart first, or make chat BUNDLE=folder" >&2; exit 2; }
	@$(BIN)/speechweave serve --open --bundle $(BUNDLE) $(ARGS)

test: install chromium check
	@OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

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
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile $(CONSTRAINTS) torch
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile $(CONSTRAINTS) -e '.[dev]'
	@# pip compiles on one core; some packages hold files for other versions of Python
	@$(BIN)/python -m compileall -qq -j 0 "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true
	touch $@

# flite's voices are a second, different synthesiser; everything also runs without them.
HAS_FLITE := $(BIN)/python -c 'import sys; from corpus.world import flite; sys.exit(not flite.is_available())'

voices: $(VENV)/.installed
	@$(HAS_FLITE) || (test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq libflite1 >/dev/null) \
		|| echo "flite's voices are not installed (apt-get install libflite1): going on with espeak-ng's alone"

# The tests of the chatbot's page drive a Chromium; without one they are skipped and say so.
HAS_CHROMIUM := $(BIN)/python -c 'import sys; from evaluation.served_chat.browser import executable; sys.exit(executable() is None)'

chromium: install
	@$(HAS_CHROMIUM) || (test "$$(id -u)" = 0 && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1) \
		|| echo "no Chromium is installed (apt-get install chromium): the tests of the chatbot's page are skipped"

clean:
	rm -rf runs build *.egg-info
