# The commands of CONTRIBUTING.md. Everything a machine needs is installed here, from locked files.
PYTHON ?= python3
PORT ?= 8080
DATA ?= ./data
STORE ?= sqlite
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-long check fix bench lock

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . 
	@touch $@

$(VENV)/test.stamp: requirements/test.txt $(VENV)/run.stamp
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

run: $(VENV)/run.stamp ## the server in demo mode
	@PORT=$(PORT) DATA=$(DATA) exec $(BIN)/fhir-server serve --demo --port $(PORT)
