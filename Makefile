# `make run` starts a development agent, `make test` runs the tests. Beside these,
# `make lint` checks style, types and import rules, `make format` mends the style,
# `make docs` builds the documentation.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint format docs venv venv-test venv-check clean

run: venv
	$(BIN)/consultwist agent -dev

test: venv-test
	$(BIN)/python -m pytest

lint: venv-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv-check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: venv-check
	$(BIN)/sphinx-build -W -q docs docs/_build

venv: $(VENV)/installed
venv-test: $(VENV)/installed-test
venv-check: $(VENV)/installed-check

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Twisted's plugin cache is made anew: it would go on without a dropin that could not be
# imported before. With the cache every start is quick.
$(VENV)/installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	rm -f twisted/plugins/dropin.cache
	$(BIN)/python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"
	touch $@

# Both client libraries call their package "consul", so each gets a folder of its own.
CLIENTS := py-consul python-consul

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[test]'
	for client in $(CLIENTS); do \
	  $(BIN)/pip install --quiet --upgrade --target $(VENV)/clients/$$client $$client \
	    || exit 1; \
	done
	touch $@

$(VENV)/installed-check: $(VENV)/installed-test
	$(BIN)/pip install --quiet --editable '.[test,check,docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/generated
