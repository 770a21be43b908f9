# Every target installs what it needs into .venv first; nothing else on the machine is touched.
PYTHON_IN_VENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo ui dagster lakeflow-demo test test-all hunt check format bench lock runtime dev clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: runtime  ## a whole mailbox in ten Delta tables, no account needed (your own export: make demo MBOX=takeout.mbox)
	@$(PYTHON_IN_VENV) -m gmail_assets.demo run $(if $(MBOX),--mbox "$(MBOX)") $(if $(MESSAGES),--messages $(MESSAGES))

ui: runtime  ## Dagster in the browser, on the demo's tables, with the demo's mailbox served again
	@$(PYTHON_IN_VENV) -m gmail_assets.demo ui $(if $(PORT),--port $(PORT))

dagster: runtime  ## Dagster in the browser, on your own Gmail (credentials from the environment or .env)
	@mkdir -p .dagster && cp dagster.yaml .dagster/dagster.yaml
	@DAGSTER_HOME="$(CURDIR)/.dagster" .venv/bin/dagster dev $(if $(PORT),--port $(PORT))

lakeflow-demo: dev  ## the Lakeflow pipeline on local Spark (needs Java), on an emulated mailbox
	@$(PYTHON_IN_VENV) -m lakeflow_entry.demo $(if $(MESSAGES),--messages $(MESSAGES))

test: dev  ## the tests, under five minutes on two cores
	$(PYTHON_IN_VENV) -m pytest -n 2 -m "not slow"

test-all: dev  ## the slow tests too
	$(PYTHON_IN_VENV) -m pytest -n 2

hunt: dev  ## LIVES (500) random lives of a mailbox, other ones each time
	LIVES=$(or $(LIVES),500) $(PYTHON_IN_VENV) -m pytest -n 2 -m slow tests/faults

check: dev  ## lint, format and types
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m ruff format --check .
	$(PYTHON_IN_VENV) -m mypy

format: dev  ## mend what ruff can mend
	$(PYTHON_IN_VENV) -m ruff check --fix .
	$(PYTHON_IN_VENV) -m ruff format .

bench: dev  ## the benchmarks behind the figures in the README
	$(PYTHON_IN_VENV) -m benchmarks

lock: dev  ## resolve the dependencies anew into requirements.lock and requirements-dev.lock
	scripts/lock

runtime:
	@scripts/install runtime

dev:
	@scripts/install dev

clean:  ## remove what demo, ui and the tests made (./lake only where it is the demo's), keep .venv
	@[ ! -e lake/.made-by-make-demo ] || ls -d lake/*/mailbox=* 2>/dev/null | grep -qv '%40gmail\.test$$' || rm -rf lake
	rm -rf .demo .dagster build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse
