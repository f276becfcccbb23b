# The two commands: make demo, make test. Each makes .venv first, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
TOOLS := .venv-tools/bin
# make test LOCKED=1: exactly the locked versions, each file's hash checked; what CI does where its registry has them.
LOCKED ?=

.PHONY: demo test gpu judges combinations lint attacks chaos chaos-sweep remote-servers packaging lock audit docs results bench clean

demo: $(READY)
	$(BIN)/reprogram demo

# The many processes that tests start find the modules compiled.
unexport PYTHONDONTWRITEBYTECODE

# Many at a time; then those that nothing may run beside, because they measure.
WORKERS ?= auto
test: $(READY) lint
	$(BIN)/python -m pytest -m "not alone and not gpu" --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal
	$(BIN)/python -m pytest -m alone $$(grep -rl "mark.alone" tests --include="*.py")

# What only a GPU can show: tests, then learning steps beside the peers'; without a GPU it says so.
gpu: $(READY)
	$(BIN)/python -m pytest -m gpu tests/gpu
	$(BIN)/python benchmarks/gpu.py

# What independent tools say: exported files, the server, detectors, notebooks. They get an environment of their own.
judges: .venv-judges/ready
	.venv-judges/bin/python -m pytest -m judge

# What make test runs a part of. Every program with every label map on every canvas, of which it has about every third
# pair; each of them as an ONNX file, which takes long; all cases of the tests that are marked sampled.
combinations: $(READY)
	ALL_COMBINATIONS=1 $(BIN)/python -m pytest tests/contract/test_every_variant.py tests/contract/test_exports.py
	ALL_COMBINATIONS=1 $(BIN)/python -m pytest -m sampled

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_docstrings.py

# Files that strangers might send: each is written, read and must be refused; time and memory of each.
attacks: $(READY)
	$(BIN)/python -m attacks

# Runs killed at random moments: each must come to the bytes of the uninterrupted one.
KILLS ?= 200
SEED ?= 0
chaos: $(READY)
	$(BIN)/python tests/chaos/kills.py --kills $(KILLS) --seed $(SEED)

# A grid whose workers, and now and then the sweep itself, are killed at intervals: the same bytes for every cell.
chaos-sweep: $(READY)
	$(BIN)/python tests/chaos/sweeps.py --kills $(KILLS) --seed $(SEED)

# KServe, MLServer and Triton's client, each in an environment of its own in the folder that REMOTE_SERVERS names; they
# are installed when they are first asked for (1.2 GB). NAMES="kserve triton" asks some of them.
remote-servers: $(READY)
	$(BIN)/python tests/remote_servers/check.py $(NAMES)

# Wheel and sdist in clean environments, for each Python from 3.11 to 3.14 that is here; each extra alone. It installs
# several gigabytes into a temporary folder; ARGS="--base .venv" takes the dependencies from there.
packaging:
	$(PYTHON) tests/packaging/check.py $(ARGS)

# Every version and hash anew, for all platforms, from pyproject.toml.
lock: $(TOOLS)/uv
	$(TOOLS)/uv pip compile pyproject.toml constraints/build.in --extra data --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-annotate --no-header --no-emit-index-url --upgrade --output-file constraints/locked.txt

# Known vulnerabilities in the locked versions; says so if the advisory database can't be asked.
audit: $(TOOLS)/uv
	$(TOOLS)/python constraints/audit.py

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[data,dev,docs]'
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

# The README's table, those of docs/black-box-results.md, and an index.csv in every folder of results/.
results: $(READY)
	$(BIN)/python docs/_ext/results.py
	$(BIN)/python docs/_ext/black_box.py
	$(BIN)/python docs/_ext/audits.py
	$(BIN)/python docs/_ext/serving.py
	$(BIN)/python docs/_ext/results_index.py
	$(BIN)/python docs/_ext/detectors.py
	$(BIN)/python docs/_ext/paper_level.py
	$(BIN)/python docs/_ext/paper_tables.py

# The page is written anew from what is there, also where a case failed.
bench: $(READY)
	$(BIN)/python benchmarks/suite.py $(ARGS); code=$$?; $(BIN)/python docs/_ext/benchmarks.py && exit $$code

clean:
	rm -rf .venv .venv-tools .venv-judges docs/_build docs/reference

$(TOOLS)/uv:
	$(PYTHON) -m venv .venv-tools
	$(TOOLS)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3' 'uv>=0.9,<1'

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifeq ($(LOCKED),)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[data,dev]'
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement constraints/locked.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	touch $(READY)

.venv-judges/ready: pyproject.toml
	test -x .venv-judges/bin/python || $(PYTHON) -m venv .venv-judges
	.venv-judges/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[data,dev,judges]'
	touch .venv-judges/ready
