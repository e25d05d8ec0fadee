# `make demo` and `make test` do all the set-up on a machine that has Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/demo
# A file of versions to install, such as .ci/constraints.txt; empty for the newest that pyproject.toml allows.
CONSTRAINTS ?=

# Test files for `make test`, `make test-all` and the like, such as T=tests/test_solve.py; empty for every file.
T =
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: setup demo test test-all test-exhaustive test-experiments coverage lint docs gallery dist lock bench-gpu clean

setup: $(VENV)/.installed

INSTALL = $(BIN)/python -m pip install --quiet --no-compile $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable

# kuttax alone, which is enough to use it.
$(VENV)/.used: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kuttax needs Python >= 3.11; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

# What tests, linters and documentation need too.
$(VENV)/.installed: $(VENV)/.used
	$(INSTALL) '.[dev,docs]'
	touch $@

demo: $(VENV)/.used
	$(BIN)/kuttax compare digits --methods dopri5 rk4 learned --out $(OUT) --overwrite

# What one test has compiled serves the others, their processes, and the next run.
test test-all test-exhaustive test-experiments coverage: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/$(VENV)/jax-cache
test test-all test-exhaustive test-experiments coverage: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0.3
test test-all test-exhaustive test-experiments coverage: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES = 0

# The quick tests: five minutes on two cores, with nothing compiled before.
test: setup
	$(PYTEST) --durations=15 -m "not slow and not exhaustive and not experiment" $(T)

# Those marked slow too. .ci/run calls it.
test-all: setup
	$(PYTEST) --durations=15 -m "not exhaustive and not experiment" $(T)

# Slow cases once more by Dopri8 and by diffrax, whose programs take long to compile, and in processes: before a release,
# and after a change to the engine.
test-exhaustive: setup
	$(PYTEST) --durations=15 -m exhaustive $(T)

# The scripts of experiments/ and benchmarks/, at tiny sizes: run it after a change to one, or to what they use.
test-experiments: setup
	$(PYTEST) --durations=15 -m experiment

# The suite with line coverage of src/, the least covered files first. With T the limit of the whole suite does not hold.
coverage: setup
	$(PYTEST) --cov --cov-report=term $(T) $(if $(T),--cov-fail-under=0)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# On a machine with an NVIDIA GPU and kuttax's extra "cuda"; it installs nothing. Run it again to go on.
MINUTES = 8
# The folder with mnist.npz or mnist10k.npz; without one, MNIST is downloaded.
DATA =
# A Python with torchdiffeq and a PyTorch for CUDA; without one, PyTorch is left out.
TORCH_PYTHON =
bench-gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks gpu --minutes $(MINUTES) \
		$(if $(DATA),--data-dir $(DATA)) $(if $(TORCH_PYTHON),--torch-python $(TORCH_PYTHON))

docs: export NO_MKDOCS_2_WARNING = 1
docs: setup
	$(BIN)/mkdocs build

# Run the notebooks of the gallery again, and keep their output. One of them needs the extra "torch".
gallery: setup
	$(BIN)/python docs/execute.py

# The wheel and the source distribution, into dist/.
dist: setup
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build

# Record the versions in .venv as those that .ci/run installs. It names its version of PyTorch itself.
lock:
	head -n 1 .ci/constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip freeze --exclude kuttax --exclude torch >> $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt .ci/constraints.txt

clean:
	rm -rf $(VENV) runs site dist
