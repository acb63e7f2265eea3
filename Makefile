# Needs make and Python >= 3.11 on PATH; everything else is put into .venv from the registries.

VENV := .venv
FLOORS := .venv-floors
CORE := .venv-core
CONFORMANCE := .venv-conformance
NEXT := .venv-next
# Another Python, as in `make test-python PYTHON=python3.13`.
OTHER := .venv-$(notdir $(PYTHON))
SITE := .venv-docs
NODE := tests/conformance/node
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
WORKERS ?= 4
CALLS ?= 3
PYTEST_ARGS ?=
MUTANTS ?=
DEMO_ARGS ?=
BOT_ARGS ?=
BENCH_ARGS ?=
FUZZ_ARGS ?=
CORE_TESTS := tests/core
# What the tests of core and adapters need, and no more.
ADAPTERS := -e '.[livekit,pipecat,speech,test]' livekit-plugins-cartesia opentelemetry-sdk opentelemetry-exporter-prometheus
ADAPTER_TESTS := tests/pipecat tests/livekit

# The tests start a few hundred processes, which need not compile the package again each.
unexport PYTHONDONTWRITEBYTECODE

# Some tests wait, for processes or in real time: that is why there are more workers than cores. Each
# worker has to collect all tests and to import both frameworks, which takes some 7 s of a core.
# Whole calls have a browser, servers and a voice of their own: fewer of them at a time. Where
# PYTEST_ARGS choose nothing pytest says 5, and that is no failure.
define run_tests
$(BIN)/python -m pytest $(1) $(PYTEST_ARGS) || [ $$? -eq 5 ]
endef

.DEFAULT_GOAL := help
.PHONY: help demo bot livekit test check format test-floors test-core test-next test-python environments docs docs-links pictures node-clients fuzz soak mutants bench-end-of-turn bench-engine bench-latency bench-livekit bench-manual bench-pipecat bench-replays bench-telemetry bench-timeline dist sbom clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.has-demo ## Hear and see a booking call, offline (DEMO_ARGS="--framework livekit")
	$(BIN)/cartesia-ink demo $(DEMO_ARGS)

bot: $(VENV)/.has-examples ## Talk to a bot in the browser, offline (BOT_ARGS="--port 8080")
	$(BIN)/python examples/pipecat_bot.py $(BOT_ARGS)

livekit: $(VENV)/.has-dev ## See and hear a call through a real LiveKit server
	@$(BIN)/python -m tests.e2e.livekit.watch

test: $(VENV)/.has-dev ## Run the tests (PYTEST_ARGS="-k turns")
	$(call run_tests,-n $(WORKERS) --dist worksteal --ignore tests/e2e)
	$(call run_tests,-n $(CALLS) --dist load tests/e2e)

check: $(VENV)/.has-dev ## Lint, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.has-dev ## Put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-floors: $(FLOORS)/.has-dev ## Run all but whole calls with the oldest versions that are promised
	$(FLOORS)/bin/python -m pytest -n $(WORKERS) --dist worksteal --ignore tests/e2e $(PYTEST_ARGS)

test-core: $(CORE)/.has-server,test ## Run what needs no framework, without one
	$(CORE)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(CORE_TESTS) $(PYTEST_ARGS)

test-next: | $(NEXT)/bin/pip ## Run core and adapters with the pre-releases of today
	$(NEXT)/bin/pip install --quiet --disable-pip-version-check --pre --upgrade $(ADAPTERS)
	$(NEXT)/bin/pip list --disable-pip-version-check | grep -E '^(pipecat-ai|livekit|livekit-agents|websockets|numpy|aiohttp) '
	$(NEXT)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(CORE_TESTS) $(ADAPTER_TESTS) $(PYTEST_ARGS)

test-python: ## Run core and adapters with another Python (PYTHON=python3.13)
	@"$(PYTHON)" -c 'import ensurepip, venv' || { echo "Name a Python with its venv module: make test-python PYTHON=python3.13" >&2; exit 1; }
	@[ -x $(OTHER)/bin/pip ] || "$(PYTHON)" -m venv $(OTHER)
	$(OTHER)/bin/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) $(ADAPTERS)
	$(OTHER)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(CORE_TESTS) $(ADAPTER_TESTS) $(PYTEST_ARGS)

environments: $(SITE)/.has-sphinx $(VENV)/.has-dev $(FLOORS)/.has-dev $(CORE)/.has-server,test $(CONFORMANCE)/.has-sdk ## Make what the tests run in, and no more

node-clients: $(NODE)/node_modules/.has-clients ## Install the clients of the API that run on Node

docs: $(VENV)/.has-dev $(SITE)/.has-sphinx ## Build the documentation as a site into build/site; a warning is an error
	$(SITE)/bin/sphinx-build -W --keep-going -q -b html -c docs/site docs build/site

docs-links: $(VENV)/.has-dev $(SITE)/.has-sphinx ## Ask every address that the documentation links to; needs the internet
	$(SITE)/bin/sphinx-build -W --keep-going -q -b linkcheck -c docs/site docs build/links

pictures: $(VENV)/.has-dev ## Draw the pictures of the documentation again
	$(BIN)/python -m docs.site.pictures

fuzz: $(VENV)/.has-dev ## Give 50,000 hostile inputs to all that reads bytes of others (FUZZ_ARGS="--seed 7")
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

soak: $(VENV)/.has-dev ## Let a session live a day in virtual time, losing its connection 458 times
	INK_SOAK_HOURS=24 $(BIN)/python -m pytest --timeout 1200 tests/core/test_soak.py $(PYTEST_ARGS)

mutants: $(CORE)/.has-server,test ## Change the core in many small ways, and see that tests notice (MUTANTS="turns/replay.py")
	$(CORE)/bin/python -m tests.mutants $(MUTANTS)

bench-end-of-turn: $(VENV)/.has-dev ## Measure how soon and how rightly the local server's speech engine ends turns
	$(BIN)/python -m benchmarks.end_of_turn $(BENCH_ARGS)

bench-engine: $(VENV)/.has-dev ## Measure the local server's speech engine on real speech
	$(BIN)/python -m benchmarks.engine_table $(BENCH_ARGS)

bench-latency: $(VENV)/.has-dev ## Measure how right Pipecat's own observers are without a VAD
	$(BIN)/python -m benchmarks.pipecat_latency $(BENCH_ARGS)

bench-livekit: $(VENV)/.has-dev ## Measure a stream in LiveKit, beside the built-in plugin
	$(BIN)/python -m benchmarks.livekit_streams $(BENCH_ARGS)

bench-manual: $(VENV)/.has-dev ## Measure `finalize` and push-to-talk, beside a bare socket and the built-in plugin
	$(BIN)/python -m benchmarks.manual $(BENCH_ARGS)

bench-pipecat: $(VENV)/.has-dev ## Measure a stream in Pipecat, beside the built-in service (BENCH_ARGS="--old ../before")
	$(BIN)/python -m benchmarks.pipecat_streams $(BENCH_ARGS)

bench-replays: $(VENV)/.has-dev ## Measure whether replays of a call are the same, and how fast they are
	$(BIN)/python -m benchmarks.replays $(BENCH_ARGS)

bench-telemetry: $(VENV)/.has-dev ## Measure what OpenTelemetry costs a stream
	$(BIN)/python -m benchmarks.telemetry $(BENCH_ARGS)

bench-timeline: $(VENV)/.has-dev ## Measure how long the page of a recorded call takes, and how large it is
	$(BIN)/python -m benchmarks.timeline $(BENCH_ARGS)

dist: $(VENV)/.has-dev ## Build what is published into dist/, check it, and list its licences
	rm -rf dist
	$(BIN)/python -m hatchling build
	cd distributions/cartesia-ink-tools && $(abspath $(BIN))/python -m hatchling build -t wheel -d ../../dist
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python distributions/sbom.py dist/sbom

sbom: $(VENV)/.has-dev ## List the packages that each extra brings, and their licences, in dist/sbom
	$(BIN)/python distributions/sbom.py dist/sbom

clean: ## Remove what was made: environments, caches, builds
	rm -rf $(VENV) $(VENV)-* $(NODE)/node_modules build dist .cache .*_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A second run finds the stamp and is instant.
$(VENV)/.has-%: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[$*]'
	@touch $@

$(FLOORS)/.has-%: pyproject.toml constraints-floors.txt | $(FLOORS)/bin/pip
	$(FLOORS)/bin/pip install --quiet --disable-pip-version-check -c constraints-floors.txt -e '.[$*]'
	@touch $@

$(CORE)/.has-%: pyproject.toml constraints-core.txt | $(CORE)/bin/pip
	$(CORE)/bin/pip install --quiet --disable-pip-version-check -c constraints-core.txt -e '.[$*]'
	@touch $@

# Cartesia's Python SDK allows no websockets newer than 15, which would hold all others back.
$(CONFORMANCE)/.has-sdk: constraints-conformance.txt | $(CONFORMANCE)/bin/pip
	$(CONFORMANCE)/bin/pip install --quiet --disable-pip-version-check -c constraints-conformance.txt 'cartesia[websockets]'
	@touch $@

# Sphinx imports the package, and the frameworks that it extends, from $(VENV). pip does not look there.
$(SITE)/.has-sphinx: docs/site/requirements.txt | $(SITE)/bin/pip $(VENV)/.has-dev
	rm -f $(SITE)/lib/python*/site-packages/project.pth
	$(SITE)/bin/pip install --quiet --disable-pip-version-check -r docs/site/requirements.txt
	for folder in $(SITE)/lib/python*/site-packages; do \
	  (cd $(VENV)/lib/python*/site-packages && pwd) >$$folder/project.pth; \
	done
	@touch $@

# A lock file would name the registry; the versions in package.json are exact instead.
$(NODE)/node_modules/.has-clients: $(NODE)/package.json
	npm install --prefix $(NODE) --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

# Some systems split venv and ensurepip from Python, and some put a stub on PATH: try, do not trust.
$(VENV)/bin/pip $(FLOORS)/bin/pip $(CORE)/bin/pip $(CONFORMANCE)/bin/pip $(SITE)/bin/pip $(NEXT)/bin/pip:
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(@:/bin/pip=) with $$($$python --version); this takes some minutes, once."; \
	    $$python -m venv $(@:/bin/pip=) && exit 0; \
	    rm -rf $(@:/bin/pip=); exit 1; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer with its venv module was found on PATH (name one: make PYTHON=...)." >&2; \
	exit 1
