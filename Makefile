# The commands of the project; `make` alone lists them.
# PYTHON says which interpreter makes .venv, OUT where the demo writes, QUICK=1 runs the two-minute demo.
PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo
NBS ?= nbs
bin := $(VENV)/bin
pip := $(bin)/python -m pip install -qq --disable-pip-version-check --no-warn-script-location -c constraints.txt
needs := constraints.txt settings.ini setup.py

.PHONY: help demo test test-newest lab docs clean
.DEFAULT_GOAL := help

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/'

demo: $(VENV)/.installed ## Corpus, three models, a hundred pieces and the listening page (QUICK=1: smaller in every part)
	$(bin)/musiclm demo $(if $(QUICK),--quick) --out $(OUT)
	@echo "Listening page: $(abspath $(OUT))/index.html"

test: $(VENV)/.installed-dev ## Run all notebooks, then all tests
	OMP_NUM_THREADS=1 $(bin)/nbdev_test --path $(NBS) --n_workers 2 --do_print --timing
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n 2

test-newest: $(VENV)-newest/.installed ## The same on the newest packages, in an environment of its own
	OMP_NUM_THREADS=1 $(VENV)-newest/bin/nbdev-test $(NBS) --n-workers 2 --do-print --timing
	OMP_NUM_THREADS=1 $(VENV)-newest/bin/python -m pytest -n 2

lab: $(VENV)/.installed-dev ## Open JupyterLab on the notebooks
	$(bin)/jupyter lab $(NBS)

docs: $(VENV)/.installed-docs ## Build the docs site in _docs/ and check its links
	$(bin)/python docs/build_site.py

clean: ## Remove what was built; .venv and the demo's output stay
	rm -rf _docs _proc build dist .pytest_cache .hypothesis
	find musiclm tests nbs docs -name __pycache__ -prune -exec rm -rf {} +

$(bin)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "make: no '$(PYTHON)' here; install Python 3.10 or later, or say PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "make: Python 3.10 or later is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); say PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: $(PYTHON) cannot make virtual environments; install its venv package (python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.installed: $(bin)/pip $(needs)
	@echo "Installing the pinned packages into $(VENV) (once, a few minutes)"
	$(pip) -e .
	@touch $@

$(VENV)/.installed-dev: $(bin)/pip $(needs)
	@echo "Installing the pinned packages into $(VENV) (once, a few minutes)"
	$(pip) -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(bin)/pip $(needs)
	@echo "Installing the pinned packages into $(VENV) (once, a few minutes)"
	$(pip) -e '.[dev,docs]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

$(VENV)-newest/.installed: $(needs)
	$(PYTHON) -m venv --clear $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install -qq --disable-pip-version-check --upgrade --upgrade-strategy eager -e '.[dev]'
	@touch $@
