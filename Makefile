# `make help` lists the commands. Everything is installed into .venv (.venv-oldest for the oldest set).
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
PIP_FLAGS := --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-oldest lint

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed  ## install the package with all extras into .venv

# torch first and pinned: any other way may pull gigabytes of another build.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install $(PIP_FLAGS) torch==2.13.0
	$(VENV)/bin/pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install $(PIP_FLAGS) torch==2.13.0
	$(OLDEST)/bin/pip install $(PIP_FLAGS) --constraint constraints-oldest.txt --editable '.[dev]'
	@touch $@

demo: install  ## simulate, pre-train, ask a real recording a question (2 minutes on 2 cores)
	$(VENV)/bin/mets-ecg demo --output demo-output --overwrite
	$(VENV)/bin/python -m pytest -m demo tests/test_readme.py

test: install  ## the default tests: offline, 10 minutes on 2 cores
	$(VENV)/bin/python -m pytest

test-all: install  ## the slow tests too
	$(VENV)/bin/python -m pytest -m 'not demo'

test-oldest: $(OLDEST)/.installed  ## model, processor, pipeline and remote-code tests on the oldest set of libraries
	$(OLDEST)/bin/python -m pytest tests/test_configuration_ecg_text.py tests/test_modeling_*.py tests/test_text_models.py \
	    tests/test_recordings.py tests/test_feature_extraction_ecg.py tests/test_processing_ecg.py tests/test_zero_shot_scoring.py \
	    tests/test_pipeline_*.py tests/test_ecg_models.py tests/test_registration.py tests/hub

lint: install  ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
