# Two commands are all: `make demo` runs the main job, `make test` the tests. Both set up what they need.
.DELETE_ON_ERROR:
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMPS := build/.setup

.PHONY: help setup demo demo-openstack test test-long lab-openstack lab-openstack-down lab-openstack-status test-openstack bench bench-placement bench-openstack fuzz check stubs format clean

help: ## these lines
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 24

setup: $(STAMPS)/host $(STAMPS)/python $(STAMPS)/guest ## make .venv and install what the host lacks

$(STAMPS)/host: tools/setup_host.sh
	@mkdir -p $(STAMPS)
	@bash tools/setup_host.sh
	@touch $@

$(STAMPS)/python: pyproject.toml tools/setup_python.sh $(STAMPS)/host
	@PYTHON=$(PYTHON) bash tools/setup_python.sh $(VENV)
	@touch $@

# what the microVM runtime makes once; it is cached by content, so a second run costs nothing
$(STAMPS)/guest: $(STAMPS)/python $(wildcard plugins/microvm/*.py plugins/microvm/agent/*)
	@$(PY) -m plugins.microvm prepare >/dev/null 2>build/microvm-prepare.log \
		|| echo "microVMs are not ready: $$(tail -n 1 build/microvm-prepare.log)" >&2
	@touch $@

demo: setup ## the main job, told step by step
	@$(PY) tools/demo.py

demo-openstack: setup ## one chain over this host and an OpenStack, told step by step; brings the lab up
	@$(PY) tools/demo_openstack.py

test: setup ## all tests that fit into a quarter of an hour
	@bash tools/run_tests.sh

test-long: setup ## what takes longer
	@bash tools/run_tests.sh --long

LAB_OPENSTACK := PYTHONPATH=tests:. $(PY) -m labs.openstack
LAB_FOLDER = $(foreach folder,$(LAB),--folder $(folder))

lab-openstack: $(STAMPS)/python ## a real OpenStack on this host, or what is missing of it; LAB=FOLDER
	@$(LAB_OPENSTACK) up $(LAB_FOLDER)

lab-openstack-down: $(STAMPS)/python ## take the lab away with all it made
	@$(LAB_OPENSTACK) down $(LAB_FOLDER)

lab-openstack-status: $(STAMPS)/python ## what runs of the lab, and what is wrong with it
	@$(LAB_OPENSTACK) status $(LAB_FOLDER)

# the cloud that OS_CLOUD names, else the lab, which stays up
test-openstack: setup ## tests on an OpenStack
	@[ -n "$${OS_CLOUD:-}" ] || $(LAB_OPENSTACK) up $(LAB_FOLDER)
	@$(foreach folder,$(LAB),VNFM_LAB_OPENSTACK=$(folder)) bash tools/run_tests.sh --openstack

bench: setup ## figures beside what the host does by itself; ONLY=NAME, QUICK=1, PROFILE=1
	@bash tests/bench/setup_host.sh
	@$(PY) tests/bench/bench.py $(foreach name,$(ONLY),--only $(name)) $(if $(QUICK),--quick) $(if $(PROFILE),--profile)

bench-placement: $(STAMPS)/python ## how fast and how well chains are placed; ONLY=NAME, LARGE=1
	@$(PY) tests/bench/bench_placement.py $(foreach name,$(ONLY),--only $(name)) $(if $(LARGE),--large)

bench-openstack: $(STAMPS)/python ## what the OpenStack VIM adds to the cloud's own time, on the lab or the cloud of OS_CLOUD; RUNS=5
	@PYTHONPATH=tests:tests/integration/openstack:. $(PY) tests/bench/bench_openstack.py $(foreach runs,$(RUNS),--runs $(runs))

fuzz: $(STAMPS)/python ## package reading under atheris; TARGET=archive|manifest|signature|vnfd, SECONDS=60
	@$(PY) -c 'import atheris' 2>/dev/null || $(PY) -m pip install -q atheris
	@bash tests/fuzz/run.sh $(PY) $(or $(SECONDS),60) $(TARGET)

check: $(STAMPS)/python ## style, types, floors, stubs
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo 2>/dev/null || $(VENV)/bin/lint-imports
	$(PY) tools/stubs.py --check

stubs: $(STAMPS)/python ## generate vnfm/pb from protos/
	$(PY) tools/stubs.py

format: $(STAMPS)/python ## put the code into its form
	$(VENV)/bin/ruff check --fix -q . ; $(VENV)/bin/ruff format -q .

clean: ## what was built here; nothing that runs
	rm -rf build $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
