# Two commands matter: `make demo` and `make test`. Both make the virtual environment and fetch the servers first.
PYTHON ?= python3
BIN := .venv/bin
# processes that run tests, each with servers of its own: about 1.2 GB each; tests mostly wait
JOBS ?= 3
STAMP := .venv/.made-from-lock

.DEFAULT_GOAL := help
.PHONY: help venv demo test fetch lint types compose stack stack-down format lock clean

help:           ## list the targets
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

venv: $(STAMP)  ## make the virtual environment from the lock

$(STAMP): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: name one, as in 'make demo PYTHON=python3.12'." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

demo: venv      ## erase 100 of 2,000 made-up contributors on real servers (KEEP=1 leaves it running)
	@$(BIN)/python -m devstack.demo

test: lint types compose fetch  ## linters, types, and all tests on real servers (JOBS=1 runs them one by one)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

fetch: venv     ## put the servers' programs into the cache
	@$(BIN)/python -m devstack fetch

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: venv
	$(BIN)/mypy

compose: venv
	$(BIN)/python -m devstack.compose docker-compose.yml

stack: venv     ## start the servers alone; their connections stand in .stack/env
	@$(BIN)/python -m devstack up

stack-down: venv  ## end them
	@$(BIN)/python -m devstack down

format: venv    ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: venv      ## pin the newest versions of all dependencies, with hashes
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links -c requirements/runtime.txt --extra dev pyproject.toml -o requirements/dev.txt

clean:          ## remove what was made here; the cache of servers stays
	rm -rf .venv .demo .stack .mypy_cache .ruff_cache .pytest_cache .hypothesis
