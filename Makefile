# Everything a new checkout needs: `make demo`, `make test`. Each sets up .venv on its first call.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
S3_SERVER := tests/support/s3_server
STAMP := $(VENV)/.installed-from-lock

.PHONY: install demo test test-all serve lint bench lock clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: install  ## build -> train -> evaluate -> tune -> index -> serve -> query, on rendered data
	$(BIN)/python -m jobs.demo

serve: install  ## leave the demo's endpoint running with its page
	$(BIN)/python -m jobs.demo --serve

test: install  ## the quick suite (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow"

test-all: install  ## everything, slow checks included
	$(BIN)/python -m pytest

lint: install  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy reid pipelines jobs

bench: install  ## speed and memory as ratios, on a quiet machine: minutes to tens of minutes
	for group in model sharing moe evaluate stream build; do $(BIN)/python -m jobs.benchmark $$group || exit 1; done

lock:  ## rewrite requirements.lock (needs uv); names no package host
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header -o requirements.lock
	echo swift | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-emit-index-url --no-emit-find-links --no-header -o $(S3_SERVER)/requirements.txt

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache
