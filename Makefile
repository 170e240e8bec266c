# Two commands do everything on a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-slow check format bench models docs clean

demo: $(VENV)/core.done
	$(BIN)/shotnoise demo -o demo

test: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

test-slow: $(VENV)/dev.done
	$(BIN)/python -m pytest --slow

check: $(VENV)/dev.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py

format: $(VENV)/dev.done
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.done
	$(BIN)/shotnoise benchmark photo raw --engine onnxruntime --engine openvino \
		--precision fp32 --precision bf16 --precision int8

# make models DATA="CLIC2025 CID22": trains every bundled model again; `make models PLAN=--plan` says what that costs.
models: $(VENV)/dev.done
	$(BIN)/python benchmarks/make_models.py $(foreach place,$(DATA),--data $(place)) $(PLAN)

docs: $(VENV)/dev.done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

clean:
	rm -rf $(VENV) demo site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The core is small and holds no torch; the rest is installed on top of it when a developer asks for it.
$(VENV)/core.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "installing shotnoise (about half a minute)"
	$(PIP) install --editable .
	@touch $@

$(VENV)/dev.done: $(VENV)/core.done constraints.txt
	@echo "installing the development environment, torch included (some minutes)"
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@touch $@
