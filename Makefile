# One virtual environment, .venv, made by pip from constraints.txt. It is made anew when
# constraints.txt changes, brought up to date when pyproject.toml does, else left alone.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# Each process that a test starts would compile the package anew, each run of pytest the tests.
# Plain assertions: each worker would rewrite all tests in a fresh clone, a tenth of its time.
unexport PYTHONDONTWRITEBYTECODE
# Compiling is left to $(COMPILE), which does it on all cores: a third of pip's time.
INSTALL := $(PY) -m pip install -qq --no-compile -c constraints.txt
COMPILE := $(PY) -m compileall -qq -j 0 $(VENV)/lib || true

# An edit of the kernels compiles them anew.
NATIVE := $(wildcard $(addprefix src/goodinit/streams/native/,*.cpp *.h build.py))

# Of how many faults `make mutants` tries; all: a day.
SAMPLE ?= 300

# MKL, which `make bench-peers` draws with; .venv is left as it is.
PEERS := build/peers

# Packages whose models `make battery` measures; .venv is left as it is.
RESEARCH := build/research

# Sphinx and what builds the site; .venv is left as it is.
SPHINX := build/sphinx

.DEFAULT_GOAL := help
.PHONY: help demo test check bench accuracy battery compare-training compat compat-extras docs gallery mutants
.PHONY: package sanitize gpu-check bench-peers

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## a 30-layer network under three initializations; a plot, a minute
	@$(PY) -m goodinit.demos

test: $(VENV)/test.stamp ## the tests, and every example in the docstrings and the docs
	@$(PY) -m compileall -qq -j 0 src tests tools
	@$(PY) -m pytest -n auto --dist worksteal --assert=plain || { \
		echo "What failed, once more with what each assertion compared:"; \
		$(PY) -m pytest --last-failed --last-failed-no-failures none; exit 1; }

check: $(VENV)/test.stamp ## format, lint and types
	@echo "ruff format --check"; $(VENV)/bin/ruff format --check .
	@echo "ruff check"; $(VENV)/bin/ruff check .
	@echo "pyright"; $(VENV)/bin/pyright

bench: ## timings, on a quiet machine
accuracy: ## published results reproduced; minutes
battery: $(RESEARCH)/made.stamp ## many models of many kinds; half an hour
bench accuracy battery: $(VENV)/test.stamp
	@$(PY) -m pytest -s -m $@ || { code=$$?; test $$code -eq 5 || exit $$code; \
		echo "No test is marked '$@' yet."; }

compare-training: $(RESEARCH)/made.stamp ## small networks trained from several initializations; nine minutes of each of two cores
	@PYTHONPATH=$(RESEARCH) $(PY) -m tools.training

compat: ## the oldest, the newest and other versions of Python and torch; 35 minutes, 5 GB of downloads
	@$(PYTHON) tools/compat.py

compat-extras: ## the lowest versions that the extras allow; minutes, a download of a gigabyte
	@$(PYTHON) tools/compat.py --extras

package: ## the sdist and the wheels, built and checked as an index would; a minute
	@$(PYTHON) tools/check_package.py

gallery: $(VENV)/test.stamp ## docs/gallery.md, each family's signal; minutes
	@$(PY) tools/gallery.py

docs: $(SPHINX)/made.stamp ## the site, in build/site/html; two minutes plus a download of 30 MB
	@PYTHONPATH=$(SPHINX) $(PY) tools/build_site.py

mutants: $(VENV)/test.stamp ## small faults put into the code, a test must fail for each; an hour
	@$(PY) tools/mutants.py --sample $(SAMPLE)

sanitize: ## the native kernels fuzzed under AddressSanitizer; a minute, needs no Python package
	@$(PYTHON) tests/streams/sanitize.py

bench-peers: $(PEERS)/made.stamp ## the streams beside MKL's, on an x86-64 Linux machine; a minute, a download of 230 MB
	@$(PY) tools/bench_peers.py $(PEERS)

gpu-check: $(VENV)/test.stamp ## on a CUDA GPU: the CPU's bits, and how fast; a minute
	@$(PY) tools/gpu_check.py

$(RESEARCH)/made.stamp: tests/battery/requirements.txt $(VENV)/test.stamp
	@echo "$(RESEARCH): installing packages of models; a minute plus the download"
	@rm -rf $(RESEARCH)
	@$(PY) -m pip install -qq --no-compile --no-deps --target $(RESEARCH) -r $<
	@touch $@

$(PEERS)/made.stamp: $(VENV)/test.stamp
	@echo "$(PEERS): installing MKL; a minute, a gigabyte of disk"
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip install -qq --no-compile mkl
	@touch $@

$(SPHINX)/made.stamp: docs/requirements.txt $(VENV)/test.stamp
	@echo "$(SPHINX): installing Sphinx and the theme; half a minute plus the download"
	@rm -rf $(SPHINX)
	@$(PY) -m pip install -qq --no-compile --no-deps --target $(SPHINX) -r $<
	@touch $@

$(VENV)/made.stamp: constraints.txt
	@echo "$(VENV): a new virtual environment ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/made.stamp pyproject.toml hatch_build.py $(NATIVE)
	@echo "$(VENV): installing torch and what the demo needs; half a minute plus the download"
	@$(INSTALL) hatchling
	@$(INSTALL) --no-build-isolation -e '.[cli,demo]'
	@$(COMPILE)
	@touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp requirements-no-deps.txt
	@echo "$(VENV): installing what the tests and checks need; half a minute plus the download"
	@$(INSTALL) --no-build-isolation -e '.[cli,demo,test,dev]'
	@$(INSTALL) --no-deps -r requirements-no-deps.txt
	@$(COMPILE)
	@touch $@
