# The two commands: make demo, make test. Each makes .venv first, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test lint docs results bench clean

demo: $(READY)
	$(BIN)/reprogram demo

test: $(READY) lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[data,dev,docs]'
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

results: $(READY)
	$(BIN)/python docs/_ext/results.py

# The page is written anew from what is there, also where a case failed.
bench: $(READY)
	$(BIN)/python benchmarks/suite.py $(ARGS); code=$$?; $(BIN)/python docs/_ext/benchmarks.py && exit $$code

clean:
	rm -rf .venv docs/_build docs/reference

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[data,dev]'
	touch $(READY)
