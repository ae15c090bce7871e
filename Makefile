# make demo: see it work    make test: the whole suite    Both set everything up first; see README.md.

PYTHON ?= python3
# The service runs as another user than you: an interpreter that everybody may run.
SERVICE_PYTHON ?= /usr/bin/python3
VENV := .venv
STAMP := $(VENV)/.installed
BUILT_FROM := pyproject.toml CMakeLists.txt $(wildcard kernels/*.c kernels/*.cpp kernels/*.h kernels/include/*.h)

.PHONY: setup demo test test-service soak lint bench train install uninstall clean

setup: $(STAMP)

$(STAMP): $(BUILT_FROM) scripts/make-environment
	@PYTHON="$(PYTHON)" scripts/make-environment $(VENV) --editable '.[dev]'
	@touch $@

demo: setup
	$(VENV)/bin/depthd demo

test: setup
	$(VENV)/bin/python -m pytest $(PYTEST_OPTIONS)

test-service: setup
	$(VENV)/bin/python -m pytest -m systemd tests/system/test_service.py $(PYTEST_OPTIONS)

soak: setup
	DEPTHD_SOAK=1 $(VENV)/bin/python -m pytest -m systemd tests/system/test_service.py $(PYTEST_OPTIONS)

lint: setup
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m mypy

bench: setup
	$(VENV)/bin/python benchmarks/fusion_cpu.py
	$(VENV)/bin/python benchmarks/end_to_end.py

# Fifteen minutes on an NVIDIA GPU. Run again, it goes on from its last checkpoint; weights/train/NOTES.md.
TRAINED := out/train
train: setup
	@PYTHON="$(PYTHON)" scripts/make-environment $(VENV) --editable '.[dev,train]'
	cd weights && ../$(VENV)/bin/python -m train --validation ../out/validation.npz --out ../$(TRAINED) --samples
	cd weights && ../$(VENV)/bin/python -m train.evaluate ../$(TRAINED)/depthd-small.onnx --card ../$(TRAINED)/card.json

install:
	PYTHON="$(SERVICE_PYTHON)" scripts/install

uninstall:
	PURGE="$(PURGE)" scripts/uninstall

clean:
	rm -rf $(VENV) build out .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
