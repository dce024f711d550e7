# Every target makes the environment first, if it is missing or older than what it is made from.
VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Tests run in so many processes, each on one thread (those of OpenMP that wait for each other sleep); the tests of one file
# share its servers, and stay together.
WORKERS ?= 2
PYTEST   = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

# Images of containers set it, and then each of the hundreds of processes that tests start compiled what it imports anew:
# twice the time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo install test test-slow test-gpu mutants lint bench docs clean

demo: $(READY)
	$(BIN)/crossmodal retrain --profile digits

install: $(READY)

test: $(READY)
	$(PYTEST)

test-slow: WORKERS := 3
# Most of what these start waits as often as it computes.
test-slow: $(READY)
	$(PYTEST) -m "slow and not gpu"

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

# One module: make mutants MODULE=tasks/store.py, or SAMPLE=150 of its mutants; all in tests/support/mutants.py take hours.
mutants: $(READY)
	$(BIN)/python tests/support/mutants.py $(MODULE) $(if $(SAMPLE),--sample $(SAMPLE))

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.orchestration

docs: $(READY)
	$(BIN)/python docs/write_reference.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs . build/site
	@echo "the documentation is in build/site/index.html"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "crossmodal needs Python 3.11 or later, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): about 5 GB with torch's CUDA build, some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) .crossmodal build
