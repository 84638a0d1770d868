# Everything runs in .venv, which is made on first use and brought up to date when its requirements change.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types bench clean

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY)  ## make .venv with everything in it

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[capture,train,report,dev]"
	touch $@

demo: $(READY)  ## fit, attack and catch an embedded model; pictures in demo/
	$(BIN)/sri demo

# Two workers with one thread each: torch's own threads in both would wait for each other most of the time.
test: $(READY)  ## all tests; ARGS="-k word" for some
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(READY)  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## static types
	$(BIN)/mypy

bench: $(READY)  ## benchmarks
	$(BIN)/python -m pytest benchmarks --benchmark-only $(ARGS)

clean:  ## remove .venv, caches and what the demo wrote
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks build dist demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
