# Each target first installs its dependencies into .venv. Nothing outside this folder changes.
PYTHON_IN_VENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo ui dagster lakeflow-demo test test-all hunt fuzz audit sbom check format docs bench bench-org bench-all lock runtime dev clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: runtime  ## load an emulated mailbox into ten Delta tables, no account needed (own export: make demo MBOX=takeout.mbox)
	@$(PYTHON_IN_VENV) -m gmail_assets.demo run $(if $(MBOX),--mbox "$(MBOX)") $(if $(MESSAGES),--messages $(MESSAGES))

ui: runtime  ## start the Dagster UI for the tables and the emulated mailbox of the demo
	@$(PYTHON_IN_VENV) -m gmail_assets.demo ui $(if $(PORT),--port $(PORT))

dagster: runtime  ## start the Dagster UI for your own Gmail (credentials: environment, .env or login file)
	@$(PYTHON_IN_VENV) -m gmail_assets.demo dagster $(if $(PORT),--port $(PORT))

lakeflow-demo: dev  ## run the Lakeflow pipeline on local Spark (needs Java) for an emulated mailbox
	@$(PYTHON_IN_VENV) -m lakeflow_entry.demo $(if $(MESSAGES),--messages $(MESSAGES))

test: dev  ## run the tests (under five minutes on two cores)
	$(PYTHON_IN_VENV) -m pytest -n 3 -m "not slow"

test-all: dev  ## run all tests, including the slow ones
	$(PYTHON_IN_VENV) -m pytest -n 2

hunt: dev  ## run randomized fault tests: LIVES (500) mailbox histories, different ones each time
	LIVES=$(or $(LIVES),500) $(PYTHON_IN_VENV) -m pytest -n 2 -m slow tests/faults

fuzz: dev  ## fuzz the parsers of everything that comes from outside: EXAMPLES (20000) inputs each, new ones each time
	FUZZ=$(or $(EXAMPLES),20000) $(PYTHON_IN_VENV) -m pytest -n 2 tests/security/test_fuzz.py

audit: dev  ## look up the locked packages in an index of advisories (exit code 3: none could be reached)
	$(PYTHON_IN_VENV) scripts/audit

sbom: dev  ## write the CycloneDX SBOM of the runtime lock to dist/sbom.cdx.json
	@scripts/sbom

check: dev  ## check lint, format and types
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m ruff format --check .
	$(PYTHON_IN_VENV) -m mypy

format: dev  ## fix what ruff can fix
	$(PYTHON_IN_VENV) -m ruff check --fix .
	$(PYTHON_IN_VENV) -m ruff format .

docs: dev  ## build the documentation as a site with search, and check its links: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(PYTHON_IN_VENV) -m mkdocs --quiet build --strict
	@echo "The site is in build/site. To read it: $(PYTHON_IN_VENV) -m http.server --directory build/site --bind 127.0.0.1"

bench: dev  ## compare with other ways to copy a mailbox, write docs/benchmarks.md, 35 minutes (PEER=clone of the Lakeflow connectors, SECTIONS="growth quota")
	$(PYTHON_IN_VENV) -m benchmarks.page $(SECTIONS)

bench-org: dev  ## measure 200 and 500 mailboxes in one process (20 minutes)
	$(PYTHON_IN_VENV) -m benchmarks.organisation

bench-all: dev  ## run all benchmarks
	$(PYTHON_IN_VENV) -m benchmarks

lock: dev  ## resolve the dependencies into requirements.lock and requirements-dev.lock
	scripts/lock

runtime:
	@scripts/install runtime

dev:
	@scripts/install dev

clean:  ## remove files of demo, ui and tests (./lake only if it is the demo's); keep .venv
	@[ ! -e lake/.made-by-make-demo ] || ls -d lake/*/mailbox=* 2>/dev/null | grep -qv '%40gmail\.test$$' || rm -rf lake
	rm -rf .demo .dagster build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse
