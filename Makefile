# Every target sets itself up: a fresh clone needs make, Python 3.11 to 3.13 and a package registry.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
LIGHTNING := .venv/bin/lightning
ARGS ?=
DATA ?= data

.DEFAULT_GOAL := help
# A target for each arm that has a config: configs/fer_full.yaml -> fer-full.
ARMS := $(subst _,-,$(patsubst configs/%.yaml,%,$(wildcard configs/*_*.yaml)))

.PHONY: help setup demo test test-slow lint lock data sample-data epoch-cost peers bench bench-check bench-gpu report fashion $(ARMS) clean clean-features

help:  ## Show this list
	@grep -hE '^[a-z0-9 %-]+:.*## |^\$$\(ARMS\):.*## ' $(MAKEFILE_LIST) | sed 's/^$$(ARMS):/STUDY-ARM:/' | awk 'BEGIN {FS = ":.*## "}; {printf "  make %-53s %s\n", $$1, $$2}'
	@echo "  ARGS='--trainer.max_epochs 3 ...' overrides values of a config in every training target"

setup: .venv/.complete  ## Make .venv with the versions of requirements.lock (about a minute)

.venv/.complete: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 found: install one, or pass PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet uv
	.venv/bin/uv pip install --quiet --python .venv/bin/python -r requirements.lock
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
	@touch $@

demo: setup  ## Pretrain, transfer to generated faces with three arms, print the table (2 minutes, no data needed)
	.venv/bin/python -m experiments.demo

test: setup  ## Run the tests (5 to 6 minutes on 2 cores)
	.venv/bin/python -m pytest $(ARGS)

test-slow: setup  ## The long proofs (killed everywhere, and resumed), and the report in chromium (7 minutes)
	.venv/bin/python -m pytest -m "slow or browser" $(ARGS)

lint: setup  ## Style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

lock: .venv/.complete  ## Write requirements.lock anew from pyproject.toml
	.venv/bin/uv pip compile pyproject.toml --extra dev --python-version 3.11 --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements.lock

.PHONY: readme-tables

readme-tables: setup  ## Put the tables of results/ into README.md and docs/
	.venv/bin/python -m experiments.results --readme

data: setup  ## Download and decode the data sets into data/ (FER2013 says where to get it)
	.venv/bin/python -m datamodules --root data

sample-data: setup  ## Draw sample data in the official formats into data/sample/
	.venv/bin/python -m datamodules.sample_data --root data/sample

epoch-cost: setup  ## Measure seconds and peak memory of one epoch of each config, into docs/speed.md; ARGS as for `lightning fit`
	.venv/bin/python -m benchmarks.epoch $(ARGS)

peers: setup  ## The same correctness cases with Lightning's BackboneFinetuning and finetuning-scheduler (7 minutes)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --constraint requirements.lock finetuning-scheduler
	.venv/bin/python -m benchmarks.peers_correctness

bench bench-check bench-gpu: .venv/.bench

.venv/.bench: .venv/.complete
	.venv/bin/uv pip install --quiet --python .venv/bin/python --constraint requirements.lock pandas
	@touch $@

bench:  ## What rows of benchmarks/results.json gain over what else there is (12 minutes on 2 quiet cores)
	.venv/bin/python -m benchmarks.bench $(ARGS)

bench-check:  ## A quick part of it: fails when a ratio is worse than the committed one by more than 25 % (3 minutes)
	.venv/bin/python -m benchmarks.bench --check $(ARGS)

bench-gpu:  ## The same on a GPU, with images a second, memory and roofline
	.venv/bin/python -m benchmarks.gpu $(ARGS)

.PHONY: table-fashion table-deepweeds table-fer tables

table-fashion table-deepweeds table-fer: table-%: setup  ## All arms of a study with all seeds and folds; ARGS='--plan' shows the runs, values of configs come after `--`
	.venv/bin/python -m experiments.table --study $* $(ARGS)

tables: setup  ## All three, one after the other, also where one fails
	$(MAKE) --keep-going table-fashion table-deepweeds table-fer

test-slow: .venv/.cluster

.venv/.cluster: .venv/.complete
	.venv/bin/uv pip install --quiet --python .venv/bin/python --constraint requirements.lock ray submitit
	@touch $@

.PHONY: dashboard wandb-sync

dashboard: setup  ## W&B: create or renew the workspace and the report (no login: results/dashboard.json)
	.venv/bin/python -m experiments.tracking dashboard

wandb-sync: setup  ## W&B: upload what runs/ has recorded offline
	.venv/bin/python -m experiments.tracking sync

fashion: fashion-plain  ## Fashion-MNIST, own CNN: train and test

$(ARMS): setup  ## Train and test one arm: fashion-plain, deepweeds-frozen, fer-full, ... (one for each configs/<study>_<arm>.yaml)
	$(LIGHTNING) fit --config configs/$(subst -,_,$@).yaml $(ARGS)
	$(LIGHTNING) test --config configs/$(subst -,_,$@).yaml $(ARGS) --ckpt_path best

report: setup  ## All tables, figures and verdicts of the runs in one page, results/report.html (ARGS='--root FOLDER')
	.venv/bin/python -m experiments.report $(ARGS)

clean-features:  ## Remove the cached features of data/ (DATA=FOLDER: of another data folder)
	rm -rf $(DATA)/.features

clean:  ## Remove .venv and caches of tools; data and runs stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache *.egg-info
