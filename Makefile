# Each target makes its own set-up: Python >= 3.11 with pip, git and make are all that is needed.
# PYTHON=/path/to/python3 chooses the interpreter of .venv.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
export PYTHON
WORKERS ?= 3
# Minutes each, of a booted systemd: make e2e-systemd and e2e-cgroup2 run them.
NOT_IN_CI := $(foreach part,cgroup2_units unit_dropins unit_faults unit_readme,--ignore=tests/real/test_$(part).py)
SECONDS ?= $(if $(filter chaos,$(MAKECMDGOALS)),120,60)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-real check-chart manifests e2e-container e2e-k8s e2e-systemd e2e-cgroup2 screenshots simulate soak chaos check format reference conformance bench bench-peers schemathesis lock wheel clean

help: ## Show this list
	@echo "millhand: a worker agent for the Jobs API"
	@echo
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s%s\n", $$1, $$2 }'
	@echo
	@echo "Start with: make demo"

setup: ## Make .venv with everything locked; the command is then .venv/bin/millhand
	@scripts/setup.sh

demo: setup ## Start server and agent, convert real models, show the table; ends by itself
	@$(BIN)/millhand up --demo

test: setup ## Run the whole suite in WORKERS (3) processes; ARGS="-k journal" chooses
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-real: setup ## As root: containers, systemd, cgroup v2, alerts, a browser, rolling restarts; installs what they need
	@MILLHAND_REAL_PARTS=$${MILLHAND_REAL_PARTS:-tried} $(BIN)/pytest -n 2 --dist loadfile -o faulthandler_timeout=600 $(NOT_IN_CI) tests/real $(ARGS)

e2e-container: setup ## As root: the shipped image, built and run by a docker of its own; prints what held
	@MILLHAND_REAL_PARTS=required $(BIN)/pytest -v --no-header -o faulthandler_timeout=600 tests/e2e/test_container.py tests/e2e/test_image.py tests/e2e/test_compose.py $(ARGS)

e2e-k8s: setup ## As root: the chart on a Kubernetes of one node, built and started for it; prints what held
	@MILLHAND_REAL_PARTS=required tests/e2e/kubernetes/cluster.sh $(BIN)/pytest -v --no-header -o faulthandler_timeout=600 tests/e2e/kubernetes $(ARGS)

e2e-systemd: setup ## As root: the shipped units and their installer on a systemd booted for it; prints what held
	@MILLHAND_REAL_PARTS=required $(BIN)/pytest -v --no-header -n 2 --dist loadfile -o faulthandler_timeout=600 tests/real/test_unit*.py tests/real/test_service.py $(ARGS)

e2e-cgroup2: setup ## As root: limits, kills, bills and the shipped units on cgroup v2, in emulated machines; prints what held
	@MILLHAND_REAL_PARTS=required $(BIN)/pytest -v --no-header -o faulthandler_timeout=600 tests/real/test_cgroup2.py tests/real/test_cgroup2_units.py $(ARGS)

check-chart: setup ## The chart for Kubernetes: lint, strict schemas of 1.25 to the newest and of KEDA, plain manifests
	@MILLHAND_REAL_PARTS=required $(BIN)/pytest -v --no-header tests/real/test_chart.py tests/real/test_chart_pods.py $(ARGS)

manifests: ## Write deploy/kubernetes/manifests from the chart; gets helm
	@tests/real/chart_tools.sh build/chart && scripts/manifests.sh "$$PWD/build/chart/helm"

screenshots: setup ## Take pictures of the dashboard (build/pictures), those of the docs again; as root it gets a Chromium
	@mkdir -p build/pictures
	@MILLHAND_PICTURES=build/pictures $(BIN)/pytest -q tests/real/test_dashboard.py -k light_and_dark
	@cp build/pictures/job-light-1280.png build/pictures/machines-light-1280.png build/pictures/run-light-1280.png build/pictures/timeline-light-1280.png build/pictures/reports-light-1280.png docs/pictures/

simulate: setup ## Live through random histories in virtual time, for SECONDS (60); ARGS="--bugs" or "--seed 7"
	@$(BIN)/python -m tests.simulation --seconds $(SECONDS) $(ARGS)

soak: setup ## Run random handlers, hostile ones among them, for SECONDS (60); ARGS="--seed 7"
	@$(BIN)/python -m tests.soak --seconds $(SECONDS) $(ARGS)

chaos: setup ## Kill and cut agents, children, minder and server, for SECONDS (120); ARGS="--cell …"
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(ARGS)

check: setup ## Format, lint, strict types, import direction, shell scripts, Dockerfile, locks, reference
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/shellcheck --external-sources --source-path=SCRIPTDIR scripts/*.sh tests/real/*.sh tests/e2e/*.sh tests/e2e/kubernetes/*.sh deploy/systemd/install.sh .ci/run
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/python scripts/check_lock.py
	@$(BIN)/python -m scripts.reference --check

format: setup ## Put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

reference: setup ## Write the pages that are made from the code: docs/reference, docs/settings.md
	@$(BIN)/python -m scripts.reference

conformance: setup ## What the built-in handlers keep of a handler's promises, as a table; ARGS="sleep --json"
	@$(BIN)/python -m tests.conformance $(ARGS)

bench: setup ## Measure the main path, in ten minutes at the most; ARGS="--quick", "--json" or "--only guard"
	@$(BIN)/python -m tests.bench $(ARGS)

bench-peers: setup ## Measure task queues that people know beside us, in turns, each in an environment of its own; ARGS="--quick"
	@$(BIN)/python -m tests.bench.peers $(ARGS)

schemathesis: setup ## Let Schemathesis look for answers that the OpenAPI document does not tell of; ARGS="--seed 7"
	@scripts/schemathesis.sh $(ARGS)

lock: setup ## Pin and hash the requirements again; UPGRADE=1 takes the newest
	@scripts/lock.sh

wheel: setup ## Build dist/*.whl and try it on every Python 3.11 to 3.13 at hand
	@scripts/wheel.sh

clean: ## Remove .venv and everything that was built
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
