# Everything a newcomer needs: `make demo` and `make test`. Each sets itself up once, from Python 3.11 and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

SECONDS ?= 10

.PHONY: demo test test-bluez guest check attack fuzz mutants coverage bench lock clean

demo: $(STAMP)
	@$(BIN)/chargepin demo

test: check
	@$(BIN)/python -m pytest -q -n 2 -m "not bluez"

test-bluez: $(STAMP)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m bluez tests/bluez

# What test-bluez would build first: Debian's kernel, BlueZ and Python, downloaded.
guest: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python -m bluez.image

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@for system in win32 darwin; do $(BIN)/mypy --platform $$system --cache-dir .mypy_cache/$$system \
		--no-warn-unreachable -p chargepin.app -p chargepin.core || exit 1; done
	@$(BIN)/lint-imports --no-cache >.venv/imports.log || { cat .venv/imports.log; exit 1; }

attack: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python tests/attacks/report.py

# Every parser, SECONDS each, two at a time; TARGETS="att smp" for some of them, SEED=N as then.
fuzz: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(TARGETS)

# About 20 minutes; MODULES="lockout passcode" for some of them.
mutants: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python tests/mutants/run.py $(if $(MODULES),$(MODULES),--report)

# Every branch of the core, by the core's own tests alone.
coverage: $(STAMP)
	@$(BIN)/python -m pytest -q -n 2 tests/core --cov=chargepin.core --cov-branch --cov-fail-under=100 \
		--cov-report=term-missing:skip-covered

bench: $(STAMP)
	@PYTHONPATH=bench:tests $(BIN)/python bench/run.py

lock: $(STAMP)
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --no-emit-index-url --no-emit-find-links --all-extras --group dev pyproject.toml -o requirements.lock

clean:
	@rm -rf $(VENV)

# Whoever sets up holds a lock meanwhile, so that a second make waits, then finds it done.
LOCKED := import fcntl, os, sys; lock = os.open("Makefile", os.O_RDWR); os.set_inheritable(lock, True); \
	fcntl.flock(lock, fcntl.LOCK_EX); os.execvp(sys.argv[1], sys.argv[1:])

ifndef HOLDS_LOCK
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c '$(LOCKED)' $(MAKE) -s HOLDS_LOCK=1 $@
else
$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up in $(VENV): about a minute, only this once."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chargepin needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps --no-index -e .
	@touch $@
endif
