# Everything a person or CI runs. The first target that needs it sets up .venv; a second `make` does not.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Two processes with two threads each run many times slower on two cores than one thread a process.
export OMP_NUM_THREADS ?= 2
# Threads that wait by spinning slow a busy machine: a training step took 0.65 s beside another job, 0.27 s so.
export OMP_WAIT_POLICY ?= PASSIVE
# Nothing we start asks anybody for updates, reports home or installs while running.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export HF_HUB_OFFLINE ?= 1

SEED ?= 0
SEEDS ?= $(SEED)
options = $(if $(DATA),--data $(DATA)) $(if $(STUDY),--study $(STUDY)) $(if $(SITES),--sites $(SITES)) \
	$(if $(TEACHER),--teacher-file $(TEACHER))
student = $(if $(STUDENT),--student-file $(STUDENT))
simulate = $(BIN)/python -m deploy.simulation.program

lint = @if [ -x $(BIN)/$(1) ]; then echo $(BIN)/$(1) $(2) && $(BIN)/$(1) $(2); \
	else echo "$(1): not made for this machine, so these are NOT linted: $(2)" >&2; fi

.PHONY: help setup demo federation federation-stop federation-clean prepare teacher compare membership test e2e browser load check advisories bench privacy-check images troubleshooting fuzz mutation proto format clean
help: ## show the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(READY) ## make .venv with everything pinned in constraints.txt
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY) ## run the main job; DATA=folder for real images, SITE_STATE=folder keeps ledgers
	$(simulate) demo $(options) $(student) --seed $(SEED) $(if $(SITE_STATE),--site-state $(SITE_STATE))

federation: $(READY) ## a hub and two hospitals on this machine, in real processes, every command shown; FEDERATION="--port 9443"
	$(BIN)/python -m deploy.laptop.commands start $(FEDERATION)

federation-stop: $(READY) ## stop what `make federation` left running; its folders stay
	$(BIN)/python -m deploy.laptop.commands stop

federation-clean: $(READY) ## stop it and remove its folders
	$(BIN)/python -m deploy.laptop.commands clean

prepare: $(READY) ## make the workspace that `flwr run .` starts from; DATA and STUDY without SITES: a hub's, of public images alone
	$(simulate) prepare $(options) $(student) --seed $(SEED)

teacher: $(READY) ## fit the teacher and keep it by digest; TEACHER=file keeps that one
	$(simulate) teacher $(options) --seed $(SEED)

compare: $(READY) ## add the comparisons to the report; SEEDS="0 1 2"
	$(simulate) compare $(options) $(student) $(foreach seed,$(SEEDS),--seeds $(seed)) $(COMPARE)

membership: $(READY) ## measure what the demo's student tells of who trained it, with and without privacy
	$(simulate) membership $(if $(STUDY),--study $(STUDY)) $(if $(SITES),--sites $(SITES)) --seed $(SEED) $(MEMBERSHIP)

# As many files at once as there are cores, each process with one thread; whole runs wait much of their time, so two of
# them fit on two cores, in the order of their names, for the longest have few tests. gRPC's own log is not seen from a worker of pytest.
WHOLE := tests/system tests/browser
ALONE := tests/server/feed
test: $(READY) ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile $(patsubst %,--ignore=%,$(WHOLE) $(ALONE))
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(WHOLE)
	$(BIN)/python -m pytest $(ALONE)

e2e: $(READY) ## a hub behind nginx and three sites in real processes; KILL=1 kills each process at each stage
	$(BIN)/python -m pytest tests/system/test_deployment.py
	$(if $(KILL),$(BIN)/python -m tests.system.kill_matrix)

browser: $(READY) ## Chromium walks every page of the dashboard; RUN=results/latest for a real run; pictures in results/screenshots
	mkdir -p results/screenshots
	ROUNDS_RUN=$(RUN) ROUNDS_SCREENSHOTS=results/screenshots $(BIN)/python -m pytest tests/browser

load: $(READY) ## twenty readers at once on a large store; needs wrk
	mkdir -p results
	$(BIN)/python -m tests.benchmarks.dashboard_load --store results/load.sqlite --json results/load.json

check: $(READY) ## lint, types, import contracts, container files, scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(call lint,hadolint,deploy/*.Dockerfile)
	$(call lint,shellcheck,deploy/*.sh .ci/run)

advisories: $(READY) ## look each pinned package up in PyPI's list of advisories; needs the internet
	$(BIN)/uv tool run pip-audit@2.10.1 --strict --no-deps --disable-pip -r constraints.txt

bench: $(READY) ## time and memory against the alternatives; writes results/bench.json
	mkdir -p results
	$(BIN)/python -m tests.benchmarks.run --json results/bench.json

privacy-check: $(READY) ## attack our own privacy claim, plant faults and see them caught; writes docs/privacy-check.md
	$(BIN)/python -m tests.privacy.run --docs docs/privacy-check.md

mutation: $(READY) ## plant small mistakes and see which the tests notice; MUTATION="client/ledger --mutants 20"
	$(BIN)/python -m tests.mutation.run $(MUTATION)

fuzz: $(READY) ## read damaged pictures of every kind; FILES=100000 SEED=0; keeps in results/fuzz what breaks a rule
	$(BIN)/python -m tests.fuzz.pictures --files $(or $(FILES),100000) --seed $(SEED)

troubleshooting: $(READY) ## make docs/troubleshooting.md anew from the programs' own messages
	$(BIN)/python -m deploy.documents.troubleshooting

images: $(READY) ## build hub, site and offline bundle as images, look inside, run a study between them; as root; writes results/images
	$(BIN)/python -m deploy.images.make all --out results/images $(IMAGES)

proto: $(READY) ## make the audit feed's code from server/feed/feed.proto
	PATH="$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I . --python_out=. --mypy_out=. --grpc_python_out=. --mypy_grpc_out=. server/feed/feed.proto

format: $(READY) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what was built; keeps results
	rm -rf $(VENV) *.egg-info
