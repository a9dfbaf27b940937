# Everything that is done from the command line; `make help` lists it.
# Each target sets up what it needs in .venv by itself (Testing/setup_environment.py) and is quick when that is done.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help segment train train-starter measure-starter bench bench-quick bench-training screenshots test test-slow lint clean
MAKEFLAGS += --no-print-directory

DATASET ?= ../shared/data/Task09_SpleenOpen

# Values go to the recipes through the shell's environment, so that spaces and accents in paths stay whole.
export PYTHON CT OUT MODEL DEVICE DATASET
OPTIONS ?=
unexport PYTHONPATH PYTHONHOME

python := .venv/bin/python
# $(call ready,purpose): .venv has what the purpose needs, or one sentence says why not.
ready = @python=$$(sh Testing/find_python.sh) && "$$python" Testing/setup_environment.py $(1)
# $(call resume,name): --resume where OUT, or runs/name, holds a training already.
resume = $$(test ! -f "$${OUT:-runs/$(1)}/recipe.toml" || echo --resume)

help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22
	@echo 'PYTHON=/path/to/python3 sets .venv up with that Python (3.10 or newer).'

# The sample's results may be replaced by the next run's; those of a CT of one's own may not.
segment:  ## Segment the sample CT, or CT=file-or-folder to OUT=file-or-folder [MODEL=folder] [DEVICE=cpu|cuda|mps]
	$(call ready,segment)
	@$(python) SpleenSmoothSeg/CommandLine/segment.py "$${CT:---overwrite}" $${OUT:+-o "$$OUT"} \
	  $${MODEL:+--model "$$MODEL"} $${DEVICE:+--device "$$DEVICE"}

train:  ## Train on DATASET=folder to OUT=folder by the published recipe [OPTIONS="--compare ..."]; goes on where it stopped
	$(call ready,train)
	@$(python) SpleenSmoothSegTraining/CommandLine/train.py "$$DATASET" "$${OUT:-runs/training}" $(call resume,training) $(OPTIONS)

train-starter:  ## Train the starter ensemble again on DATASET=folder to OUT=folder [OPTIONS=...]; goes on where it stopped
	$(call ready,starter)
	@$(python) SpleenSmoothSegTraining/CommandLine/train.py "$$DATASET" "$${OUT:-runs/starter}" $(call resume,starter) \
	  --recipe SpleenSmoothSegTraining/Resources/Recipes/starter.toml \
	  --splits SpleenSmoothSegTraining/Resources/Recipes/starter-splits.json \
	  --card SpleenSmoothSegTraining/Resources/Recipes/starter-card.toml $(OPTIONS)

measure-starter:  ## Measure the starter on DATASET, each case by the fold that did not learn from it
	$(call ready,train)
	@$(python) SpleenSmoothSegTraining/CommandLine/evaluate.py "$${MODEL:-SpleenSmoothSeg/Resources/Models/Starter}" "$$DATASET"

bench:  ## Measure speed and memory beside MONAI's spleen network and nnU-Net; 25 minutes
	$(call ready,bench)
	@$(python) Testing/Benchmarks/bench.py

bench-training:  ## Measure how fast the training loop is beside bare forward and backward passes
	$(call ready,starter)
	@$(python) Testing/Benchmarks/bench_training.py

bench-quick:  ## The same in minutes, with fewer repeats and one patch of nnU-Net
	$(call ready,bench)
	@$(python) Testing/Benchmarks/bench.py --quick

screenshots:  ## Make the pictures of README.md again
	$(call ready,test)
	@$(python) Testing/screenshots.py

# Up to four processes, one core each: each loads PyTorch, about 1 GB. A file's tests share their fixtures.
test:  ## Run the tests, in parallel [TESTS=file-or-folder]
	$(call ready,test)
	@OMP_NUM_THREADS=1 $(python) -m pytest -n auto --maxprocesses 4 --dist loadfile $${TESTS}

# One after another: several of them keep two cores busy.
test-slow:  ## Run the tests that start trainings, clusters, CMake and Python [TESTS=file-or-folder]
	$(call ready,test)
	@OMP_NUM_THREADS=1 $(python) -m pytest -m slow --durations 10 $${TESTS}

lint:  ## Check the code's style and types
	$(call ready,lint)
	@$(python) -m ruff check --output-format concise .
	@$(python) -m mypy

clean:  ## Delete .venv and what tools left behind; results stay
	@rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
