# All tasks of the command line; `make help` lists them.
# Each target first installs the packages it needs into .venv (Testing/setup_environment.py), unless they are there.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help segment train train-starter measure-starter bench bench-quick bench-training screenshots test test-slow lint clean
MAKEFLAGS += --no-print-directory

DATASET ?= ../shared/data/Task09_SpleenOpen

# Values are passed through the environment, so that paths may contain spaces and accents.
export PYTHON CT OUT MODEL DEVICE DATASET
OPTIONS ?=
unexport PYTHONPATH PYTHONHOME

python := .venv/bin/python
# $(call ready,purpose): set up .venv for the purpose, or stop with an error message.
ready = @python=$$(sh Testing/find_python.sh) && "$$python" Testing/setup_environment.py $(1)
# $(call resume,name): --resume if OUT, or runs/name, contains a training.
resume = $$(test ! -f "$${OUT:-runs/$(1)}/recipe.toml" || echo --resume)

help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22
	@echo 'PYTHON=/path/to/python3 sets up .venv with that Python (3.10 or newer).'

# Existing results are replaced for the sample only.
segment:  ## Segment the sample CT, or CT=file-or-folder to OUT=file-or-folder [MODEL=folder] [DEVICE=cpu|cuda|mps]
	$(call ready,segment)
	@$(python) SpleenSmoothSeg/CommandLine/segment.py "$${CT:---overwrite}" $${OUT:+-o "$$OUT"} \
	  $${MODEL:+--model "$$MODEL"} $${DEVICE:+--device "$$DEVICE"}

train:  ## Train on DATASET=folder to OUT=folder with the published recipe [OPTIONS="--compare ..."], or resume it
	$(call ready,train)
	@$(python) SpleenSmoothSegTraining/CommandLine/train.py "$$DATASET" "$${OUT:-runs/training}" $(call resume,training) $(OPTIONS)

train-starter:  ## Train the starter ensemble again on DATASET=folder to OUT=folder [OPTIONS=...], or resume it
	$(call ready,starter)
	@$(python) SpleenSmoothSegTraining/CommandLine/train.py "$$DATASET" "$${OUT:-runs/starter}" $(call resume,starter) \
	  --recipe SpleenSmoothSegTraining/Resources/Recipes/starter.toml \
	  --splits SpleenSmoothSegTraining/Resources/Recipes/starter-splits.json \
	  --card SpleenSmoothSegTraining/Resources/Recipes/starter-card.toml $(OPTIONS)

measure-starter:  ## Evaluate the starter on DATASET, each case by the fold that held it out
	$(call ready,train)
	@$(python) SpleenSmoothSegTraining/CommandLine/evaluate.py "$${MODEL:-SpleenSmoothSeg/Resources/Models/Starter}" "$$DATASET"

bench:  ## Benchmark speed and memory next to MONAI's spleen network and nnU-Net; 25 minutes
	$(call ready,bench)
	@$(python) Testing/Benchmarks/bench.py

bench-training:  ## Benchmark the training loop
	$(call ready,starter)
	@$(python) Testing/Benchmarks/bench_training.py

bench-quick:  ## Benchmark in four minutes, with fewer repeats and one patch of nnU-Net
	$(call ready,bench)
	@$(python) Testing/Benchmarks/bench.py --quick

screenshots:  ## Create the pictures of README.md again
	$(call ready,test)
	$(call ready,starter)
	@$(python) Testing/screenshots.py

# Up to four processes with one thread each; each loads PyTorch, about 1 GB. Tests of one file share fixtures.
test:  ## Run the tests, in parallel [TESTS=file-or-folder]
	$(call ready,test)
	@OMP_NUM_THREADS=1 $(python) -m pytest -n auto --maxprocesses 4 --dist loadfile $${TESTS}

# Serially, because several of them use two cores.
test-slow:  ## Run the tests that start trainings, clusters, CMake and Python [TESTS=file-or-folder]
	$(call ready,test)
	@OMP_NUM_THREADS=1 $(python) -m pytest -m slow --durations 10 $${TESTS}

lint:  ## Check the code's style and types
	$(call ready,lint)
	@$(python) -m ruff check --output-format concise .
	@$(python) -m mypy

clean:  ## Delete .venv and caches; results are kept
	@rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
