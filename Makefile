# The commands of README.md and CONTRIBUTING.md. Everything a machine needs is installed here, from locked files.
PYTHON ?= python3
PORT ?= 8080
STORE ?= sqlite
JOBS ?= 3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet
PACKAGES := fhir_server adapters mappings auth

# DATA=dir is these two, where they are not set themselves; without it the settings' own default is ./data.
ifneq ($(origin DATA),undefined)
export FHIR_SERVER_STORE ?= sqlite:///$(DATA)/fhir.db
export FHIR_SERVER_KEYS ?= $(DATA)/keys
endif

.PHONY: run test test-long check fix bench lock system-packages mongod-libraries

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	@echo "Installing the locked dependencies into $(VENV) (once)…"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/test.stamp: requirements/test.txt $(VENV)/run.stamp
	@echo "Installing the locked test dependencies into $(VENV) (once)…"
	@$(PIP) --require-hashes -r requirements/test.txt
	@touch $@

run: $(VENV)/run.stamp ## the server in demo mode, on http://127.0.0.1:$(PORT)
	@exec $(BIN)/fhir-server serve --demo --port $(PORT)

system-packages: ## what tests need of Debian: Chromium for the browser tests
	@command -v chromium >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing Debian's chromium for the browser tests (once)…"; \
	    apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null \
	    || echo "chromium could not be installed: the browser tests will be skipped"; \
	  else echo "chromium is not installed: the browser tests will be skipped"; fi; }

mongod-libraries: $(VENV)/test.stamp ## what the tests' mongod needs of Debian, where it does not start without
	@for mongod in $(VENV)/lib/python3*/site-packages/fiftyone/db/bin/mongod; do \
	  test ! -x $$mongod || $$mongod --version >/dev/null 2>&1 || { \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	      echo "Installing libcurl4, libssl3 and liblzma5 for the tests' mongod (once)…"; \
	      export DEBIAN_FRONTEND=noninteractive; apt-get -qq update >/dev/null; \
	      apt-get -qq install -y --no-install-recommends libcurl4 libssl3 liblzma5 >/dev/null \
	      || apt-get -qq install -y --no-install-recommends libcurl4t64 libssl3t64 liblzma5 >/dev/null \
	      || echo "they could not be installed: the tests over MongoDB will fail"; \
	    else echo "The tests' mongod does not start; install libcurl4, libssl3 and liblzma5 (or name a server by TEST_MONGODB)"; fi; }; \
	done

# The journeys start some hundred processes, each of which would compile the whole code: bytecode is kept.
# Much of the time is waiting for processes, locks and elections: JOBS processes share the tests.
test: $(VENV)/test.stamp system-packages mongod-libraries ## every test
	@env -u PYTHONDONTWRITEBYTECODE -u FHIR_SERVER_STORE -u FHIR_SERVER_KEYS STORE=$(STORE) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-long: $(VENV)/test.stamp system-packages mongod-libraries ## the same at the sizes that the issues name
	@env -u FHIR_SERVER_STORE -u FHIR_SERVER_KEYS STORE=$(STORE) $(BIN)/python -m tests.long

check: $(VENV)/test.stamp ## format, lint, import contracts, types
	@$(BIN)/ruff format --check --quiet . || { echo "make fix formats"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@out=$$($(BIN)/lint-imports --no-cache) || { echo "$$out"; exit 1; }
	@$(BIN)/mypy --no-error-summary

fix: $(VENV)/test.stamp ## format, and mend what ruff can mend
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --fix --quiet .

bench: $(VENV)/test.stamp mongod-libraries ## one table of what the server does in a second, beside the machine's floor
	@env -u FHIR_SERVER_STORE -u FHIR_SERVER_KEYS STORE=$(STORE) $(BIN)/python -m tests.bench

lock: ## the locked dependency files, anew (needs uv); extras stay: else pip takes a newer `coverage[toml]` than the pin
	uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml requirements/build.in -o requirements/run.txt
	uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header --extra test pyproject.toml requirements/build.in -c requirements/run.txt -o requirements/test.txt
