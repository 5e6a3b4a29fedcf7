# Two commands do everything: `make run` and `make test`. Each creates what it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT         ?= 8080
SANDBOX_PORT ?= 8090
VAR          ?= var
PYTEST_ARGS  ?= -q -n 4 --dist worksteal

.PHONY: run test lint bench chaos openapi lock clean

## run: gateway, embedded PostgreSQL, sandbox store and a demo tenant; prints a curl that works
run: $(VENV)/.runtime
	@$(BIN)/refund-gateway demo --port $(PORT) --sandbox-port $(SANDBOX_PORT) --var $(VAR)

## test: everything: linters, types, imports, unit, property, contract and crash tests
test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

## lint: ruff, mypy and the import contracts
lint: $(VENV)/.dev
	$(BIN)/ruff check app tests deploy
	$(BIN)/ruff format --check app tests deploy
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/yamllint -s deploy

## bench: speed and size, as ratios against a peer measured in the same run; prints JSON
bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.batches
	$(BIN)/python -m tests.bench.reconcile

## chaos: the full crash test; CHAOS_ARGS="--door front --api legacy" for the other ways in and out
chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

## openapi: write openapi/openapi.json
openapi: $(VENV)/.dev
	$(BIN)/python -m app.api.openapi > openapi/openapi.json

## lock: resolve the pinned requirements anew
lock:
	$(PYTHON) -m venv .lock && .lock/bin/pip install --quiet uv
	.lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade requirements/dev.in -o requirements/dev.txt
	.lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -c requirements/dev.txt requirements/runtime.in -o requirements/runtime.txt
	rm -rf .lock

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
