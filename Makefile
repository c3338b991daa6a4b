# Everything a newcomer needs: `make demo` and `make test`. Each sets itself up once, from Python 3.11 and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo test check attack lint bench lock clean

demo: $(STAMP)
	@$(BIN)/chargepin demo

test: check
	@$(BIN)/python -m pytest -q -n 2 -m "not bluez"

test-bluez: $(STAMP)
	@$(BIN)/python -m pytest -q -m bluez tests/bluez

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >.venv/imports.log || { cat .venv/imports.log; exit 1; }

attack: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python tests/attacks/report.py

bench: $(STAMP)
	@PYTHONPATH=bench:tests $(BIN)/python bench/run.py

lock: $(STAMP)
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --no-emit-index-url --no-emit-find-links --all-extras --group dev pyproject.toml -o requirements.lock

clean:
	@rm -rf $(VENV)

$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up in $(VENV): about a minute, only this once."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chargepin needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps --no-index -e .
	@touch $@
