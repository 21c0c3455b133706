# Targets for users and developers.
#
#   make python [PYTHON=3.13] [CY=2026] [PROFILE=optimized] [GLIBC=2.28]
#                    build Python, or the versions of a platform year, and test it
#   make container BASE=debian:12 [PYTHON, CY, PROFILE, GLIBC as above] [SOURCES=DIR] [TO=DIR]
#                    build them in a container, from an image of a distribution, into build/repository
#   make doctor      list missing programs and headers, and the command that installs them
#   make lint        ruff and mypy
#   make unit        unit tests and security tests
#   make docs        build the documentation as a site in build/site
#   make e2e         end-to-end tests; they build the whole chain
#   make test        all tests that a change must pass: lint, unit, docs, e2e
#   make test-all    also other versions, the optimized profile, and 10,000 examples a fuzz test
#   make clean       remove build folders and caches of tools

SHELL := /bin/sh
.DELETE_ON_ERROR:

# The interpreter that runs Rez and rezbuild: python3 if it is 3.9 or newer. Otherwise another one of
# the distribution, e.g. python3.11 of Enterprise Linux 8.
HOST_PYTHON ?= $(or $(shell for name in python3 $(NEWER); do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && echo $$name && break; \
	done),python3)
NEWER := python3.13 python3.12 python3.11 python3.10 python3.9
VENV := .venv
BIN := $(VENV)/bin

# Variables of the make command line. make ignores environment variables of these names, because
# other tools use them.
# A Rez version range, e.g. 3.13. Empty: the newest available version of the default series.
PYTHON =
# fast or optimized. Empty: REZBUILD_PROFILE, or fast.
PROFILE =
# A year of the VFX Reference Platform, e.g. 2026.
CY =
# The oldest glibc of the hosts, e.g. 2.28 or CY2026. Empty: REZBUILD_GLIBC, or the host's glibc.
GLIBC =
REQUEST = $(if $(CY),'vfxplatform-$(CY)') 'python$(if $(PYTHON),-$(PYTHON))'
WANTED = $(if $(CY),$(if $(PYTHON),$(REQUEST),'vfxplatform-$(CY)'),$(REQUEST))

# For make container: the image, a folder of source archives (see rezbuild fetch --to), the folder for
# the Rez repository, and the program that builds images.
BASE =
SOURCES =
TO = build/repository
ENGINE := $(shell command -v podman || command -v buildah || command -v docker)
IMAGES = BUILDAH_LAYERS=true DOCKER_BUILDKIT=1 $(ENGINE) build --file Containerfile \
	--build-arg BASE='$(BASE)' --build-arg REQUEST="$(subst ',,$(WANTED))" \
	--build-arg PROFILE='$(PROFILE)' --build-arg GLIBC='$(GLIBC)' \
	--build-arg REZBUILD_CC --build-arg PIP_INDEX_URL

# Tests that share the chain run in one process; the other tests run in parallel to it.
PARALLEL = -n 2 --dist loadgroup

# PYTHONWARNINGS hides warnings of build backends about editable installations.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check
# pip before 21.3 cannot install a project without setup.py in editable mode (PEP 660).
OLD_PIP = echo 'pip 21.3 or newer is needed and could not be downloaded.'; \
	echo '  next:  name a package index or a folder of wheels: PIP_INDEX_URL or PIP_FIND_LINKS'

.PHONY: help python container test test-all lint unit docs e2e doctor clean

help:
	@sed -n 's/^#   //p' Makefile

python: $(VENV)/.base $(if $(GLIBC),$(VENV)/.glibc)
	@REZ_CONFIG_FILE="$(CURDIR)/rezconfig.py$${REZ_CONFIG_FILE:+:$$REZ_CONFIG_FILE}" \
	$(BIN)/rezbuild build $(WANTED) $(if $(PROFILE),--profile '$(PROFILE)') \
		$(if $(GLIBC),--glibc '$(GLIBC)') --run 'python3 tests/smoke.py'
	@echo
	@echo 'Use it:'
	@echo '    . .venv/bin/activate'
	@echo '    export REZ_CONFIG_FILE="$$PWD/rezconfig.py"'
	@echo "    rez-env $(strip $(REQUEST)) -- python3"

# Two commands, because buildah has no option for the network of one RUN. The second one takes the
# stages of the first one from the cache. docker's older builder does not know --output.
container:
	@[ -n '$(BASE)' ] || { echo 'BASE is missing'; \
		echo '  next:  name an image of a distribution: BASE=debian:12'; exit 2; }
	@[ -n '$(ENGINE)' ] || { echo 'podman, buildah and docker are missing'; \
		echo '  next:  install one of them'; exit 10; }
	@rm -rf build/container && mkdir -p build/container/sources
	@[ -z '$(SOURCES)' ] || cp -RL '$(SOURCES)'/. build/container/sources
	$(IMAGES) --target sources .
	$(IMAGES) --network none --output type=local,dest='$(TO)' .
	@rm -rf build/container
	@echo 'ready: REZ_PACKAGES_PATH=$(abspath $(TO)) rez-env $(strip $(REQUEST))'

test: lint unit docs e2e

test-all: lint unit $(VENV)/.dev
	REZBUILD_TEST_FUZZ=10000 $(BIN)/python -m pytest tests/security -m fuzz -n 2
	$(BIN)/python -m pytest tests/e2e $(PARALLEL)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest tests/unit tests/security -n 2

# --strict: a broken link is an error.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

e2e: $(VENV)/.dev
	$(BIN)/python -m pytest tests/e2e -m 'not matrix' $(PARALLEL)

doctor: $(VENV)/.base
	@$(BIN)/rezbuild doctor

clean:
	rm -rf build packages/*/build .pytest_cache .mypy_cache .ruff_cache

# The targets are files, not the folder, so that make repeats an interrupted set-up.
$(VENV)/.base: pyproject.toml
	@HOST_PYTHON='$(HOST_PYTHON)' sh rezbuild/data/examine.sh
	$(HOST_PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade 'pip>=21.3' || { $(OLD_PIP); exit 10; }
	$(PIP) -e .
	@touch $@

# The headers and stubs of older releases of glibc.
$(VENV)/.glibc: $(VENV)/.base
	$(PIP) -e '.[glibc]'
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) -e '.[dev]'
	@touch $@
