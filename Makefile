# make demo: see SE at work. make test: the tests. Both make an environment of their own first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint clean

demo: $(VENV)/installed
	$(BIN)/senet demo

test: $(VENV)/tested-with
	$(BIN)/pytest -m "not slow" -n auto

test-slow: $(VENV)/tested-with
	$(BIN)/pytest -n auto

lint: $(VENV)/developed-with
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The stamps stand for what is installed; a change of pyproject.toml installs again.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet .
	touch $@

$(VENV)/tested-with: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@

$(VENV)/developed-with: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
