# Rackfit's one set of commands. `make help` lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TRUTH := .venv-truth
AUDIT := .venv-audit
SILICON := .venv-silicon
FUZZ := .venv-fuzz
READERS := config csv gguf kubernetes nvidia-smi safetensors slurm
PIP = $(@D)/bin/python -m pip --disable-pip-version-check --quiet
EDITABLE = $(PIP) install --no-deps --no-build-isolation --editable .
HASHES := --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run test unit fuzz fuzz-readers silicon truth truth-data lint format types openapi docs accuracy fit bench soak audit lock clean

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: $(VENV)/.runtime ## Serve on 127.0.0.1:8080 (RACKFIT_* variables configure it)
	@exec $(BIN)/python -m rackfit

test: lint types unit ## Everything: lint, types and the whole fast suite

unit: $(VENV)/.development
	$(BIN)/python -m pytest

fuzz: $(VENV)/.development ## At length: the contract, 300 examples an operation, and 20,000 mutated configs
	$(BIN)/python -m pytest -m slow tests/contract tests/architecture

fuzz-readers: $(FUZZ)/.ready ## Coverage-guided: each reader of a foreign format, a minute each (SECONDS=…)
	@for reader in $(READERS); do \
		echo "== $$reader"; $(FUZZ)/bin/python tests/fuzzing/readers.py $$reader $(SECONDS) || exit 1; \
	done

silicon: $(SILICON)/.ready ## Hold plans by measured kernels to NVIDIA's own figures (the extra `silicon`, 700 MB)
	$(SILICON)/bin/python -m pytest -m silicon tests/silicon
	PYTHONPATH=tests $(SILICON)/bin/python tests/silicon/runs.py

truth: $(TRUTH)/.ready ## Hold the readers to the transformers library itself (many minutes, torch)
	PYTHONPATH=service:tests $(TRUTH)/bin/python tests/truth/check_readers.py $(FAMILIES)

truth-data: $(TRUTH)/.ready ## Count the models of tests/truth/data anew with that library
	$(TRUTH)/bin/python tests/truth/regenerate_parameters.py

lint: $(VENV)/.development ## Lint and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.development ## Mend what the linter and the formatter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.development ## Types, strictly
	$(BIN)/mypy

openapi: $(VENV)/.development ## Record the examples anew and write openapi/openapi.json
	$(BIN)/python tests/recording.py openapi/examples
	$(BIN)/python -m rackfit.api.openapi openapi/openapi.json

docs: $(VENV)/.development ## Write into the documents what their commands print now
	$(BIN)/python tests/refreshing.py

accuracy: $(VENV)/.development ## Figures that others measured beside ours, all of them
	@$(BIN)/python tests/accuracy.py

fit: $(VENV)/.development ## Fit engines' efficiencies on measured kernels, into the catalog
	$(BIN)/python tests/fitting.py service/rackfit/catalog/data/efficiencies.toml

bench: $(VENV)/.development ## Time it: ratios to a no-op route in the same run
	$(BIN)/python -m benchmarks

soak: $(VENV)/.development ## Mixed load for ten minutes (SECONDS=…), and whether memory stays flat
	$(BIN)/python -m benchmarks.soak $(SECONDS)

audit: $(AUDIT)/.ready ## Known vulnerabilities of what is served, and its bill of materials (dist/sbom.json)
	@mkdir -p dist
	$(AUDIT)/bin/cyclonedx-py requirements requirements/runtime.txt --output-reproducible --of JSON -o dist/sbom.json
	$(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements/runtime.txt

lock: $(VENV)/.development ## Pin and hash the requirements anew
	$(BIN)/python requirements/lock.py

clean: ## Remove the virtual environment and the caches
	rm -rf $(VENV) $(TRUTH) $(AUDIT) $(SILICON) $(FUZZ) .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis

# Makes the environment of a target; what it depends on under requirements/ is installed into it.
define environment
	@requirements/check-python $(PYTHON)
	@$(PYTHON) -m venv $(@D)
	@echo "Installing pinned requirements into $(@D)"
	@$(PIP) install $(HASHES) $(patsubst %,-r %,$(filter requirements/%.txt,$^))
endef

$(VENV)/.created:
	@requirements/check-python $(PYTHON)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.created requirements/runtime.txt requirements/build.txt pyproject.toml
	@echo "Installing pinned requirements into $(VENV)"
	@$(PIP) install $(HASHES) -r requirements/build.txt -r requirements/runtime.txt
	@$(EDITABLE)
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements/development.txt
	@echo "Installing pinned development requirements into $(VENV)"
	@$(PIP) install $(HASHES) -r requirements/development.txt
	@touch $@

# Not hashed: requirements/truth.txt says why.
$(TRUTH)/.ready: HASHES :=
$(TRUTH)/.ready: requirements/truth.txt
	$(environment)
	@touch $@

$(SILICON)/.ready: requirements/silicon.txt requirements/build.txt requirements/development.txt
	$(environment)
	@$(EDITABLE)
	@touch $@

$(FUZZ)/.ready: requirements/runtime.txt requirements/build.txt requirements/fuzz.txt
	$(environment)
	@$(EDITABLE)
	@touch $@

$(AUDIT)/.ready: requirements/audit.txt
	$(environment)
	@touch $@
