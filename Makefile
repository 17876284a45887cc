# From an empty clone: `make run`, `make test`. `make help` lists the rest.
# Paths are relative, so that the folder's own name may hold spaces or any letters.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin/python
# The kernel of .venv, whatever kernels the user has installed.
export JUPYTER_PREFER_ENV_PATH := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lab outputs lint fuzz matrix mutants bench submission assignment binder-check clean

help: ## This list
	@echo "A worked deep-learning coursework. The two commands: make run, make test"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo "The first call installs into $(VENV); choose a Python from 3.11 to 3.14 by: make PYTHON=python3.12 run"
	@echo "Linux without an NVIDIA card: README.md, 'Linux and CUDA', before the first call."

run: $(VENV)/.run ## Execute the notebook; the copy and an HTML page go to build/
	@echo "Executing coursework1.ipynb"
	@$(BIN) -m tools.execute

test: $(VENV)/.dev ## Run all the tests and re-execute the notebook against its outputs
	@$(BIN) -m pytest -p no:randomly --nbval --nbval-current-env tests coursework1.ipynb

lab: $(VENV)/.run ## Open the notebook in JupyterLab
	@$(BIN) -m jupyterlab coursework1.ipynb

outputs: $(VENV)/.run ## Re-execute the notebook in place, without timing metadata
	@$(BIN) -m tools.execute --in-place

lint: $(VENV)/.dev ## Check style and formatting, the notebook's included
	@$(BIN) -m ruff check .
	@$(BIN) -m ruff format --check .

fuzz: $(VENV)/.dev ## Try every public function on 10,000 generated inputs
	@$(BIN) -m pytest -p no:randomly --hypothesis-profile=fuzz tests/test_fuzz.py

matrix: $(VENV)/.dev ## Run tests and notebook under many circumstances (hours; see python -m tools.matrix --help)
	@$(BIN) -m tools.matrix

mutants: $(VENV)/.mutants ## Plant small faults and see whether the tests notice (an hour)
	@$(BIN) -m tools.mutants --figures
	@$(BIN) -m tools.mutants

bench: $(VENV)/.dev ## Time the operations side by side with the libraries'
	@$(BIN) -m benchmarks

submission: $(VENV)/.dev ## Write build/submission.zip, after checking that the outputs are fresh
	@$(BIN) -m tools.submission

assignment: $(VENV)/.dev ## Write the blank coursework to build/assignment/
	@$(BIN) -m tools.assignment

binder-check: .venv-binder/.made ## Show that Binder's builder reads environment.yml and picks its Python
	@.venv-binder/bin/python -m repo2docker --no-build . 2>&1 | grep "conda environment for $$(grep -o 'python=.*' environment.yml)"

clean: ## Remove build/ and what killed writes left (remove $(VENV) by hand to install anew)
	rm -rf build .*.part data/.*.part

# Stamps are touched last, so that an installation that was interrupted is taken up again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit((3, 11) > sys.version_info[:2] and "Python 3.11 to 3.14 is needed, $(PYTHON) is " + sys.version)'
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.run: requirements.txt $(VENV)/.made
	@echo "Installing what the notebook needs (some minutes the first time)"
	@$(BIN) -m pip install --disable-pip-version-check -r requirements.txt
	@echo "Importing torch and matplotlib once (the first time compiles them and caches the fonts)"
	@$(BIN) -c 'import torch, matplotlib.pyplot'
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "Installing what the tests need"
	@$(BIN) -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/.mutants: $(VENV)/.dev
	@$(BIN) -m pip install --disable-pip-version-check 'cosmic-ray>=8.4,<9'
	@touch $@

.venv-binder/.made:
	@$(PYTHON) -m venv --clear .venv-binder
	@.venv-binder/bin/python -m pip install -q --disable-pip-version-check jupyter-repo2docker
	@touch $@

# A Python that was asked for by name replaces an environment of another version.
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -V 2>&1),$(shell $(BIN) -V 2>&1))
.PHONY: $(VENV)/.made
endif
endif
