# The two commands of the README, and what developers use besides.
#
#   make python [PYTHON=3.13] [CY=2026] [PROFILE=optimized]     build a Python, or a platform
#                                                     year's, and try it
#   make test                                         everything that a change must pass
#   make docs                                         the documentation as a site: build/site
#   make test-all                                     the version matrix and the optimized profile too

SHELL := /bin/sh
.DELETE_ON_ERROR:

# The interpreter that Rez and rezbuild run in, from 3.9 on: python3 where it is new enough, else
# one that the distribution has besides, as Enterprise Linux 8 has python3.11.
HOST_PYTHON ?= $(or $(shell for name in python3 $(NEWER); do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && echo $$name && break; \
	done),python3)
NEWER := python3.13 python3.12 python3.11 python3.10 python3.9
VENV := .venv
BIN := $(VENV)/bin

# Of the command line only: other tools have variables of these names in the environment.
# A Rez version range, as in 3.13; empty: the newest of the default's series that can be fetched.
PYTHON =
PROFILE =
# A year of the VFX Reference Platform.
CY =
REQUEST = $(if $(CY),'vfxplatform-$(CY)') 'python$(if $(PYTHON),-$(PYTHON))'
WANTED = $(if $(CY),$(if $(PYTHON),$(REQUEST),'vfxplatform-$(CY)'),$(REQUEST))

# Tests that have all of their own run beside those that share the chain.
BESIDE = -n 2 --dist loadgroup

# Backends warn about editable installations, which this is.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check
# PEP 660: an older pip cannot install a project without setup.py in its clone.
OLD_PIP = echo 'pip 21.3 or newer is needed and could not be downloaded.'; \
	echo '  next:  name a package index or a folder of wheels: PIP_INDEX_URL or PIP_FIND_LINKS'

.PHONY: help python test test-all lint unit docs e2e doctor clean

help:
	@sed -n 's/^#   //p' Makefile

python: $(VENV)/.base
	@REZ_CONFIG_FILE="$(CURDIR)/rezconfig.py$${REZ_CONFIG_FILE:+:$$REZ_CONFIG_FILE}" \
	$(BIN)/rezbuild build $(WANTED) $(if $(PROFILE),--profile '$(PROFILE)') \
		--run 'python3 tests/smoke.py'
	@echo
	@echo 'Use it:'
	@echo '    . .venv/bin/activate'
	@echo '    export REZ_CONFIG_FILE="$$PWD/rezconfig.py"'
	@echo "    rez-env $(strip $(REQUEST)) -- python3"

test: lint unit docs e2e

test-all: lint unit $(VENV)/.dev
	REZBUILD_TEST_FUZZ=10000 $(BIN)/python -m pytest tests/security -m fuzz -n 2
	$(BIN)/python -m pytest tests/e2e $(BESIDE)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest tests/unit tests/security -n 2

# Links that lead nowhere are errors.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

e2e: $(VENV)/.dev
	$(BIN)/python -m pytest tests/e2e -m 'not matrix' $(BESIDE)

doctor: $(VENV)/.base
	@$(BIN)/rezbuild doctor

clean:
	rm -rf build packages/*/build .pytest_cache .mypy_cache .ruff_cache

# Named files, not the folder: a venv whose set-up was cut short is made again.
$(VENV)/.base: pyproject.toml
	@HOST_PYTHON='$(HOST_PYTHON)' sh rezbuild/data/examine.sh
	$(HOST_PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade 'pip>=21.3' || { $(OLD_PIP); exit 10; }
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) -e '.[dev]'
	@touch $@
