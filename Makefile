# make demo: the main job on a fresh machine. make test: the tests. Both do all the set-up.
VENV   ?= .venv
PY     ?= python3.11
DATA   ?= ../shared/data
BIN    := $(VENV)/bin
# pip's own setting for a local torch wheel, where there is one, is handed to uv, which does not read it.
UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_FIND_LINKS
TORCH  := $(if $(strip $(UV_FIND_LINKS)),,--torch-backend=cpu)
INSTALL = $(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode $(TORCH) -c constraints.txt
export OMP_WAIT_POLICY = PASSIVE

.PHONY: demo test test-all lint format bench nano lock clean readme

demo: $(VENV)/.run
	$(BIN)/sensorium demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.eval
	$(BIN)/python -m benchmarks --data $(DATA)

nano: $(VENV)/.eval
	$(BIN)/python -m recipes.nano --data $(DATA)

$(VENV)/bin/uv:
	$(PY) -m venv $(VENV)
	$(BIN)/pip install -q uv

$(VENV)/.run: $(VENV)/bin/uv pyproject.toml constraints.txt
	$(INSTALL) torch==2.13.0 -e ".[nano]"
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(INSTALL) torch==2.13.0 -e ".[nano,foreign,train]" --group test --group lint
	touch $@

$(VENV)/.eval: $(VENV)/.dev
	$(INSTALL) torch==2.13.0 -e ".[all]"
	touch $@

lock: $(VENV)/bin/uv
	echo torch==2.13.0 > .torch-pin
	$(BIN)/uv pip compile -q $(TORCH) --upgrade --python-version 3.11 --no-header --no-annotate --all-extras --group test --group lint \
	  -c .torch-pin pyproject.toml -o .lock.tmp
	sed -E 's/\+cpu$$//' .lock.tmp | grep -vE '^-e|^sensorium' > constraints.txt
	rm -f .torch-pin .lock.tmp

clean:
	rm -rf $(VENV) build src/*.egg-info

readme: $(VENV)/.dev
	$(BIN)/python -m tests.contracts.readme
