# Every verb makes .venv first if it is missing, unfinished or older than the requirements; else that costs nothing.
MAKEFLAGS += --no-print-directory
# What a cluster's modules put there must not leak into the environment.
unexport PYTHONPATH PYTHONHOME
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format notebooks bench lock clean
PY := .venv/bin/python
READY := .venv/.ready
WORKERS ?= 3
UPGRADE ?=

help:  ## list the verbs
	@echo "make VERB, where VERB is one of:"
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1 - \2/p' Makefile

setup: $(READY)  ## set up, nothing else

demo: $(READY)  ## set up, then run every paper at the smoke tier: no data to download, minutes on a laptop
	@.venv/bin/replicate run all --tier smoke

test: lint  ## set up, then check format, style and types and run the tests (WORKERS=3 processes; those of SLURM wait more than they work)
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## check format, style and types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

format: $(READY)  ## format the code and mend what ruff can mend
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

notebooks: $(READY)  ## execute the notebooks in place
	@$(PY) -m nbconvert --to notebook --execute --inplace notebooks/*.ipynb

bench: $(READY)  ## measure speed
	@$(PY) -m benchmarks

# Pins stay as they are unless UPGRADE=1. Compiled for 3.11 and every platform, so that one file serves all.
COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate $(if $(UPGRADE),--upgrade)
lock: $(READY)  ## write requirements.txt anew after pyproject.toml changed (UPGRADE=1 takes the newest versions)
	@$(COMPILE) --extra dev --extra exchange -o requirements.txt pyproject.toml
	@echo uv | $(COMPILE) -o requirements-uv.txt -

clean:  ## remove .venv and the tools' caches; never runs/ or data/
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find common papers benchmarks tests -type d -name __pycache__ -prune -exec rm -rf {} +

# The environment fits this folder only: moved, copied or without its Python, it is made anew.
ifneq ($(shell [ -x $(PY) ] && [ ! -e .venv/.under-way ] && cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
$(READY): requirements.txt requirements-uv.txt pyproject.toml
	@sh tools/setup.sh
