# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint docs test-system bench clean

demo: $(STAMP)  ## run the main job on the embedded data, print the table, write the report
	$(BIN)/mcstl demo --out demo

test: $(STAMP) lint docs  ## lint, types, docs and all tests
	$(BIN)/pytest -n 2 -m "not system"

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(STAMP)  ## the site, into site/; a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

test-system: $(STAMP)  ## slow tests of the whole system
	$(BIN)/pytest -m system

bench: $(STAMP)  ## all benchmarks, small; writes benchmarks/RESULTS.md (real data: MCSTL_DATA)
	$(BIN)/python benchmarks/bench.py

# A file of our own marks the end, so that an install that broke off is done again.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build dist site .mypy_cache .pytest_cache .ruff_cache
