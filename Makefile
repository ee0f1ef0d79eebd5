# Everything runs in .venv at the repository root; nothing is installed elsewhere.
PYTHON ?= python3
BIN := .venv/bin
export HARMONIZER_DATA ?= $(abspath ../shared/data)

.PHONY: help ray ray-test bench-service studio studio-build attack serve-demo setup prerequisites cuda train train-gpu train-s2crnet model demo test test-quick test-all check format bench bench-gpu gpu-kit gpu-test pycuda wheel wheels page-of-wheels builders-of-wheels site clean

help:
	@echo "make demo      set up, export with parity, harmonize sample photographs"
	@echo "make test      set up, run the test suite"
	@echo "make test-quick  a set-up of its own without torch, the package's tests in two minutes"
	@echo "make test-all  the same with the slow tests (after make pycuda also the CUDA runtime's)"
	@echo "make check     the form of Python and C++, ruff, mypy"
	@echo "make train     fit the shipped network on the CPU: hours; interrupted, it goes on where it was"
	@echo "make train-gpu fit it on one large GPU; its files come in pieces too"
	@echo "make train-s2crnet  fit the second network, with the encoder of the first: an hour and a half"
	@echo "make model     export the checkpoints in models/ to ONNX, beside them"
	@echo "make bench     measure on this machine, write bench/results/"
	@echo "make pycuda    build PyCUDA into .venv (needs cuda.h; the GPU tests and backend cuda use it)"
	@echo "make gpu-test  on a GPU machine: every GPU test, result in bench/results/gpu-test.json"
	@echo "make gpu-kit   pack all of that for a GPU machine without a network (docs/gpu-proof.md)"
	@echo "make bench-gpu on a GPU machine: measure, write bench/results/gpu.json"
	@echo "make cuda      compile the CUDA kernels for every supported GPU (nvcc, or NVRTC's wheels)"
	@echo "make wheel     build dist/*.whl (needs a C++ compiler alone; no set-up)"
	@echo "make wheels    build dist/*.whl for Linux (glibc 2.28; x86-64, arm64), Windows and macOS"
	@echo "make studio    build the page and serve it on this machine (needs Node.js with npm)"
	@echo "make studio-build  build the page in build/studio; wheels built afterwards hold it"
	@echo "make site      build the documentation's site in build/site (needs no other set-up)"
	@echo "make serve-demo  start the web service, ask it with curl, end it; its picture in out/serve"
	@echo "make ray-test    install Ray, then run batches and the service on it"
	@echo "make bench-service    load the service, compare it and Ray with batches; then the tables of docs/serving.md"
	@echo "make attack    attack files, models, the C interface; write the tables of docs/reliability.md"

setup: .venv/.ready

prerequisites:
	@command -v $(PYTHON) >/dev/null || { echo "set-up needs Python 3.11 or newer: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || { echo "set-up needs Python 3.11 or newer with venv: apt-get install python3-venv (or give PYTHON=...)"; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || { echo "set-up needs a C++ compiler: apt-get install g++"; exit 1; }

sources := pyproject.toml constraints.txt hatch_build.py $(shell find runtime/kernels runtime/cpp -type f)

.venv/.ready: $(sources) | prerequisites
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The package and what its own tests need: no torch, no compilers of kernels.
build/quick/.ready: $(sources) | prerequisites
	test -x build/quick/bin/python || $(PYTHON) -m venv build/quick
	build/quick/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

train: setup
	$(BIN)/python -m train --output runs/cpu $(if $(wildcard runs/cpu/state.pt),--resume,--config recipes/cpu.json)

train-s2crnet: setup
	$(BIN)/python -m train --output runs/s2crnet $(if $(wildcard runs/s2crnet/state.pt),--resume,--config recipes/s2crnet.json)

train-gpu: setup
	$(BIN)/python -m train --output runs/gpu --pieces runs/gpu-pieces $(if $(wildcard runs/gpu/state.pt),--resume,--config recipes/gpu.json)

model: setup
	$(BIN)/python export/to_onnx.py --checkpoint models/harmonizer.safetensors --output models/harmonizer.onnx
	$(BIN)/python export/to_onnx.py --checkpoint models/s2crnet.safetensors --output models/s2crnet.onnx
	$(BIN)/python export/hashes.py models

demo: setup
	$(BIN)/python export/to_onnx.py --checkpoint models/harmonizer.safetensors --output out/demo/harmonizer.onnx
	$(BIN)/python export/to_onnx.py --checkpoint models/harmonizer.safetensors --output out/demo/harmonizer.fp16.onnx --precision fp16
	$(BIN)/python export/to_onnx.py --checkpoint models/harmonizer.safetensors --output out/demo/end_to_end.onnx --variant end-to-end
	$(BIN)/python export/demo.py --model out/demo/harmonizer.onnx --output out/demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-quick: build/quick/.ready
	OMP_NUM_THREADS=1 build/quick/bin/python -m pytest -n auto --dist loadfile -m 'not slow and not gpu and not long'

test-all: setup
	$(BIN)/python -m pytest -m ''

attack: setup
	$(BIN)/python tests/fuzz/report.py

serve-demo: setup
	$(BIN)/python -m export.samples out/serve
	PATH="$(abspath $(BIN)):$$PATH" sh examples/serve.sh out/serve/photo.png out/serve/mask.png out/serve

compiled := $(shell find runtime tests -name '*.cpp' -o -name '*.hpp' -o -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh')

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(compiled)
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(compiled)
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python bench/cpu.py --output bench/results/cpu.json

pycuda: setup
	$(BIN)/python -c 'import pycuda' 2>/dev/null || $(BIN)/python tests/helpers/cuda_driver/build.py

ray: setup
	$(BIN)/python -c 'import moto, ray.data' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]' 'moto[server]==5.2.5'

ray-test: ray
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m '' tests/harmonizer/ray

bench-service: ray
	$(BIN)/python -m bench.service --output bench/results/service.json

gpu-test: pycuda
	$(BIN)/python tests/gpu/run_gpu.py --output bench/results/gpu-test.json

# For a GPU machine without a network: pieces in build/gpu-kit, and drive.py, which runs them there.
gpu-kit: setup
	$(BIN)/python gpu_kit/pack.py

bench-gpu: pycuda
	$(BIN)/harmonizer bench --backend cuda --against bench.rivals -o bench/results/gpu.json
	$(BIN)/python -m bench.results_file bench/results/gpu.json

cuda: setup
	$(BIN)/python build_kernels.py

studio: studio-build
	$(BIN)/harmonizer studio

studio-build: setup
	$(BIN)/python build_studio.py

# The page goes into the wheels where Node.js is there to build it.
page-of-wheels: build/wheel/bin/python
	@if command -v npm >/dev/null; then \
	  build/wheel/bin/pip install --quiet --disable-pip-version-check $$($(PYTHON) -c "import cross_targets; print(cross_targets.ZIG)") && build/wheel/bin/python build_studio.py; \
	else echo "wheels are built without the studio: npm is not on PATH"; fi

build/wheel/bin/python: | prerequisites
	$(PYTHON) -m venv build/wheel

wheel: page-of-wheels
	build/wheel/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

targets := linux-x86_64 linux-arm64 windows-x86_64 macos-arm64 macos-x86_64

wheels: $(addprefix wheel-,$(targets))

# What builds them is installed once, not for each.
builders-of-wheels: build/wheel/bin/python
	build/wheel/bin/pip install --quiet --disable-pip-version-check $$($(PYTHON) -c "import tomllib, pathlib, cross_targets; print(*tomllib.loads(pathlib.Path('pyproject.toml').read_text())['build-system']['requires'], cross_targets.ZIG)")

wheel-%: page-of-wheels builders-of-wheels
	PATH="$(abspath build/wheel/bin):$$PATH" HARMONIZER_TARGET=$* build/wheel/bin/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

site:
	test -x build/site-tools/bin/mkdocs || { $(PYTHON) -m venv build/site-tools && build/site-tools/bin/pip install --quiet --disable-pip-version-check mkdocs-material==9.8.2; }
	$(PYTHON) site_pages.py
	build/site-tools/bin/mkdocs build --strict --clean

clean:
	rm -rf build dist out .venv
