PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench clean

# Two commands for a fresh clone: `make demo` (base package only), `make test` (every extra).
demo: $(VENV)/.base
	$(BIN)/recast demo

test: $(VENV)/.all
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test

check: $(VENV)/.all
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

bench: $(VENV)/.all
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/bench

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

# torch first and pinned: an unpinned request would fetch gigabytes of GPU packages
$(VENV)/.all: $(VENV)/.base
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/pip install -q -c constraints.txt -e '.[all,dev]'
	$(BIN)/pip install -q -c constraints.txt --no-deps onnx2torch
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
