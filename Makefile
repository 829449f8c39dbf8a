# One command for each thing one does here. Every target sets up what it needs;
# the second time that costs nothing. `make` alone lists them.

PYTHON ?= python3
# Tests mostly wait, so there may be more of them than cores.
JOBS ?= 4

VENV := .venv
BIN := $(VENV)/bin
MCP1 := .cache/mcp1
CONFORMANCE := .cache/conformance
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-input

# Tools that fetch something of their own keep it with us, and pyright takes what its wheel brings.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

# The locked sets never contain an address: each machine has its own registry.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header $(if $(UPGRADE),--upgrade)

.PHONY: help demo test test-heavy check bench bench-quick lock clean setup \
	format format-check lint types imports shape house unit

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-13s %s\n", $$1, $$2 }'

demo: $(VENV)/.demo ## start everything on loopback, no set-up (ARGS= for its options)
	@exec $(BIN)/openmcp demo $(ARGS)

test: $(VENV)/.dev $(MCP1)/.done ## all tests but the heavy ones
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

# pytest says 5 when it found no test at all: a young tree has no heavy ones.
test-heavy: $(VENV)/.dev $(MCP1)/.done conformance ## the heavy tests: conformance, fuzzing at length, thousands of streams, …
	$(BIN)/python -m pytest -m heavy --timeout 900 $(ARGS) || { code=$$?; [ $$code -eq 5 ] && echo "There are no heavy tests."; }

check: format-check lint types imports shape house unit ## format, lint, types, architecture, unit tests; under a minute
	@echo "All checks passed."

bench: $(VENV)/.dev ## the benchmarks, compared with other proxies; under 15 minutes
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/.dev ## the short form of the benchmarks; under a minute
	$(BIN)/python -m bench --quick $(ARGS)

lock: $(VENV)/.dev ## pin the versions and hashes of requirements/ again (UPGRADE=1: newest versions)
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) -c requirements/runtime.txt pyproject.toml --extra demo requirements/demo.in -o requirements/demo.txt
	$(LOCK) -c requirements/demo.txt pyproject.toml --all-extras requirements/dev.in -o requirements/dev.txt
	$(LOCK) requirements/mcp1.in -o requirements/mcp1.txt
	cd requirements/conformance && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --loglevel=error
	$(BIN)/python tools/house.py

clean: ## remove all that these targets made
	rm -rf $(VENV) .cache build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

setup: $(VENV)/.dev $(MCP1)/.done ## only set up what the other targets need

format: $(VENV)/.dev ## rewrite the sources in the house's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# ---------------------------------------------------------------- the parts of `make check`

format-check: $(VENV)/.dev
	$(BIN)/ruff format --check

lint: $(VENV)/.dev
	$(BIN)/ruff check

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright

imports: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo

shape: $(VENV)/.dev
	$(BIN)/python tools/shape.py --check src/openmcp tools
	$(BIN)/python tools/permitted.py src/openmcp

house: $(VENV)/.dev
	$(BIN)/python tools/house.py

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 $(wildcard tests/unit tests/docs)

# ---------------------------------------------------------------- what they need

# The stamps: a set is installed again when its lock or the package's own description changed.
$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/.made
	$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/.demo

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/.made
	$(call install,requirements/demo.txt)
	@touch $@

# The build backend is in the locked set, so nothing unpinned is fetched to install the package itself.
define install
	@echo "Installing $(1) into $(VENV) …"
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r $(1)
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
endef

$(VENV)/.made:
	$(call make_venv,$(VENV))
	@touch $@

# The 1.x line of the MCP SDK, for the tests that speak through it.
$(MCP1)/.done: requirements/mcp1.txt
	$(call make_venv,$(MCP1))
	@echo "Installing requirements/mcp1.txt into $(MCP1) …"
	@$(MCP1)/bin/python $(PIP_INSTALL) --require-hashes -r requirements/mcp1.txt
	@touch $@

define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "OpenMCP needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)." \
		"Say which one to take: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(1) || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
endef

# Without npm the tests that need the suite say so, and fail where CI is set.
.PHONY: conformance
ifneq ($(shell command -v npm 2>/dev/null),)
conformance: $(CONFORMANCE)/.done
else
conformance:
	@echo "npm is missing: the conformance suite is not installed, and its tests will say so." >&2
	@[ -z "$$CI$$OPENMCP_CI" ]
endif

$(CONFORMANCE)/.done: requirements/conformance/package.json requirements/conformance/package-lock.json
	@echo "Installing requirements/conformance into $(CONFORMANCE) …"
	@mkdir -p $(CONFORMANCE)
	@cp $^ $(CONFORMANCE)/
	@cd $(CONFORMANCE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
