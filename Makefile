# make demo: set up and run the main job on a drawn example.   make test: set up and pass the tests.
PY    ?= python3
VENV  ?= .venv
BIN   := $(VENV)/bin
# uv ignores pip's configuration: hand it the wheel folders that plain pip would search, and the constraints.
export UV_FIND_LINKS ?= $(shell $(PY) -m pip config get global.find-links 2>/dev/null)
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export UV_CONSTRAINT  := $(CURDIR)/constraints.txt
INSTALL = $(BIN)/uv pip install -q --python $(BIN)/python
JOBS  ?= 2

.PHONY: demo test check docs clean

demo: $(VENV)/.core
	$(BIN)/refocal demo -o demo

test: $(VENV)/.dev check
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

check: $(VENV)/.dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo

$(VENV)/bin/uv:
	test -x $(BIN)/python || $(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/uv
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/uv
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.core
