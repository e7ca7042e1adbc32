# Everything that people do here. `make run` and `make test` set up what they need.

PYTHON ?= python3
BIN := .venv/bin
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help setup run serve tutorial experiments sweep search push verify test test-all trials bench lint ui track lock

help:
	@echo 'make run          set up, then run the pipeline: one to two minutes'
	@echo 'make ui           look at the runs in MLflow'
	@echo 'make serve        draw a digit in the browser, or send pictures over HTTP'
	@echo 'make experiments  rank what was tried on this commit: dvc exp run -S lr=0.2'
	@echo 'make sweep        try six learning rates, two at a time: two minutes'
	@echo 'make search       try 48 settings, three seeds of each, in one pass: five minutes'
	@echo 'make tutorial     the article, checked: a minute'
	@echo 'make push         share results, and what restores experiments on another machine'
	@echo 'make track        record in MLflow what an outage has left'
	@echo 'make test         quick tests: nine to thirteen minutes; make test-all, all of them: 26; make lint: style and types'
	@echo 'make bench        measure the speed: an hour; make trials, interrupt it 120 times: 40'
	@echo 'Beside these: softmax --help, and the commands of dvc, in .venv/bin.'

setup: .venv/installed

# pip installs only uv, checked against its hashes in the lock; uv installs the rest, and compiles it, since Python may be
# told to keep no compiled modules (PYTHONDONTWRITEBYTECODE, as in most containers): MLflow then loads in 3.9 s, not 1.5.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	@echo 'Installing into .venv what requirements.lock lists: 7 GB on the disk, a minute or two with a fast network'
	$(PYTHON) -m venv .venv
	awk '/^[a-z]/ { wanted = /^uv==/ } wanted' requirements.lock > .venv/uv.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# Experiments are commits, which git refuses to one who has not told it a name.
identity = git config user.email > /dev/null || export GIT_AUTHOR_NAME=nobody GIT_AUTHOR_EMAIL=nobody@localhost \
	GIT_COMMITTER_NAME=nobody GIT_COMMITTER_EMAIL=nobody@localhost;

# Where no mirror answers, the bundled digits show the pipeline; `dvc repro` itself never swaps data.
run: verify
	@$(BIN)/dvc repro || { \
	  $(BIN)/softmax mirrors; test $$? -eq 1 || exit 1; \
	  echo 'No mirror can be reached: running the bundled digits instead, as dvc exp run -S dataset=digits'; \
	  $(identity) $(BIN)/dvc exp run -S dataset=digits && \
	  echo 'params.yaml now says digits. Back to MNIST, once a mirror is there: git checkout . && make run'; }
	@$(BIN)/dvc metrics show
	@echo 'The pictures are in figures/, the model in models/. Next: make ui, or .venv/bin/dvc exp run -S lr=0.2'

# The model behind HTTP, with a page to draw on, for this machine alone.
serve: setup
	@$(BIN)/softmax serve

# The article that the project grew out of: each figure it printed beside the reproduced one.
# Not stages: DVC would show them with the pipeline's own in `dvc dag` and `dvc status`.
tutorial: setup
	$(BIN)/dvc repro download
	sh stages/run tutorial/trainings.py
	sh stages/run tutorial/report.py
	@cat tutorial/report.md

# What was tried on this commit, the lowest cost on the held-out images first.
experiments: setup
	@$(BIN)/softmax experiments

# Another sweep: make sweep SWEEP="-S 'lr=choice(0.1,0.2)' -S 'momentum=choice(0,0.5,0.9)' --jobs 4"
SWEEP ?= -S 'lr=choice(0.01,0.03,0.1,0.3,1.0,3.0)' -S epochs=10

# In copies beside the workspace, as it is when the sweep begins. What ran before is restored.
sweep: run
	@$(identity) $(BIN)/softmax sweep $(SWEEP)

# Many settings in one pass, those of search/search.yaml; the ranking is the comment of search/best.yaml (docs/search.md).
search: setup
	@$(BIN)/dvc repro search/dvc.yaml
	@sed -n 's/^# \{0,1\}//p' search/best.yaml

# All that another clone needs to restore experiments instead of computing them; for results alone `dvc push` is enough.
push: setup
	$(BIN)/dvc push --run-cache
	$(BIN)/softmax push

# DVC does not look whether the files in its cache are still what they were.
verify: setup
	@$(BIN)/softmax verify

# In a few minutes, what a change is likely to break; test-all is everything, with servers, browsers and power cuts.
test: setup
	$(BIN)/pytest --numprocesses=auto --dist=loadfile -m 'not slow'

test-all: setup
	$(BIN)/pytest --numprocesses=auto --dist=loadfile

# Interrupts the pipeline 120 times, in about 40 minutes, and writes docs/interruptions.md.
trials: setup
	PYTHONPATH=tests $(BIN)/python trials/count.py $(TRIALS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

ui: setup
	@$(BIN)/softmax ui

# Records in MLflow what a server's outage or a killed stage has left in .journal.
track: setup
	@$(BIN)/softmax track

# The project beside what people would use instead, side by side: benchmarks/results.md, and the tables in docs/. An
# hour and 15 GB; it needs wrk.
bench: setup
	$(BIN)/python benchmarks/measure.py
	PYTHONPATH=tests $(BIN)/python benchmarks/redrawn.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/own_pictures.py
	PYTHONPATH=tests $(BIN)/python benchmarks/searching.py
	PYTHONPATH=tests $(BIN)/python benchmarks/scattering.py

lock: setup
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --upgrade \
	  --all-extras --group dev pyproject.toml --output-file requirements.lock
