# Every target does its own set-up: a fresh machine with Python >= 3.11 and make needs no other step.
PYTHON ?= python3
PHOTOS ?=
WEIGHTS ?=
RUN = .venv/bin/python
DEV = .venv-dev/bin/python
EXPORT = .venv-export/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run export test check format bench configs

help:  ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  e.g.  make run PHOTOS=~/Pictures      make export WEIGHTS=~/weights'

setup:  ## make the three environments (run time, development, export)
	@$(PYTHON) setup/environments.py run dev export

run:  ## photos in, searchable rows out: PHOTOS=dir (default: sample pictures), WEIGHTS=dir (default: download)
	@$(PYTHON) setup/trial.py $(if $(PHOTOS),--photos '$(PHOTOS)') $(if $(WEIGHTS),--weights '$(WEIGHTS)')

export:  ## fill model_repository/ once: WEIGHTS=dir (default: download)
	@$(PYTHON) setup/environments.py export
	@$(EXPORT) -m export $(if $(WEIGHTS),--weights '$(WEIGHTS)')

test:  ## the whole suite, fidelity against the original libraries included
	@$(PYTHON) setup/suite.py

check:  ## ruff, mypy --strict, import contracts, committed Triton configurations
	@$(PYTHON) setup/environments.py run dev
	@$(DEV) setup/checks.py

format:  ## let ruff rewrite the layout of the code
	@$(PYTHON) setup/environments.py run dev
	@$(DEV) setup/checks.py --format

bench:  ## measure: ratios from interleaved rounds, as JSON under benchmarks/results
	@$(PYTHON) setup/environments.py run dev export
	@$(RUN) -m benchmarks

configs:  ## render deploy/triton/*/*/config.pbtxt again from the specs
	@$(PYTHON) setup/environments.py run dev
	@$(DEV) -m export.configs
