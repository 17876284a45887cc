# From an empty clone: `make run`, `make test`. `make help` lists the rest.
# Paths are relative, so that the folder's own name may hold spaces or any letters.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin/python
CONSTRAINTS := constraints.txt
INSTALL := $(BIN) -m pip install --disable-pip-version-check -c $(CONSTRAINTS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lab outputs lint fuzz seeds matrix lowest mutants bench submission assignment pdf clean

help: ## This list
	@echo "A worked deep-learning coursework. The two commands: make run, make test"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo "The first call installs into $(VENV). Another Python from 3.11 to 3.14: make PYTHON=python3.12 run"

run: $(VENV)/.run ## Execute the notebook; the copy and an HTML page go to build/
	@$(BIN) -m tools.execute

test: $(VENV)/.dev ## Run all the tests and re-execute the notebook against its outputs
	@$(BIN) -m pytest --nbval

lab: $(VENV)/.run ## Open the notebook in JupyterLab
	@$(BIN) -m jupyterlab coursework1.ipynb

outputs: $(VENV)/.run ## Re-execute the notebook in place, without timing metadata
	@$(BIN) -m tools.execute --in-place

lint: $(VENV)/.dev ## Check style and formatting, the notebook's included
	@$(BIN) -m ruff check .
	@$(BIN) -m ruff format --check .

fuzz: $(VENV)/.dev ## Try the public functions on thousands of generated inputs
	@$(BIN) -m pytest --hypothesis-profile=fuzz tests/test_fuzz.py

seeds: $(VENV)/.run ## Run the notebook with SEED = 0 to 19 and name the cells that fail
	@$(BIN) -m tools.seeds

matrix: $(VENV)/.dev ## Run all the tests with other instruction sets and threads (half an hour)
	@PYTHON=$(BIN) bash tools/matrix.sh

lowest: ## Run all the tests with the lowest versions that requirements.txt admits, in .venv-lowest
	@mkdir -p build
	@sed -nE 's/^([a-z0-9-]+)>=([0-9.]+).*/\1==\2/p' requirements.txt >build/lowest.txt
	@$(MAKE) test VENV=.venv-lowest CONSTRAINTS=build/lowest.txt

mutants: $(VENV)/.mutants ## Plant small faults in helpers/ and see whether the tests notice (hours)
	@PYTHON=$(BIN) bash tools/mutants.sh $(MODULES)

bench: $(VENV)/.dev ## Time the operations side by side with the libraries'
	@$(BIN) -m benchmarks

submission: $(VENV)/.run ## Write build/submission.zip, after checking that the outputs are fresh
	@$(BIN) -m tools.submission

assignment: $(VENV)/.run ## Write the blank coursework to build/assignment/, and nbgrader's course to build/course/
	@$(BIN) -m tools.assignment

pdf: run ## Print the HTML page to build/coursework1.pdf (needs Chromium or Chrome)
	@$(BIN) -m tools.pdf

clean: ## Remove build/ and what killed writes left (remove .venv by hand to install anew)
	rm -rf build .part-*

# Stamps are touched last, so that an installation that was interrupted is taken up again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit((3, 11) > sys.version_info[:2] and "Python 3.11 to 3.14 is needed, $(PYTHON) is " + sys.version)'
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.run: requirements.txt $(CONSTRAINTS) $(VENV)/.made
	@echo "Installing what the notebook needs (some minutes the first time)"
	@$(INSTALL) -r requirements.txt
	@echo "Importing torch and matplotlib once (the first time compiles them and caches the fonts)"
	@$(BIN) -c 'import torch, matplotlib.pyplot'
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "Installing what the tests need"
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

$(VENV)/.mutants: $(VENV)/.dev
	@$(INSTALL) 'cosmic-ray>=8.4,<9'
	@touch $@

# A Python that was asked for by name replaces an environment of another version.
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -V),$(if $(wildcard $(BIN)),$(shell $(BIN) -V)))
.PHONY: $(VENV)/.made
endif
endif
