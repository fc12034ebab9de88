# Short names for scripts/. `make test ARGS="tests/unit -x"` hands arguments on to pytest.
.PHONY: help setup demo test lint format coverage constraints clean
.DEFAULT_GOAL := help
ARGS ?=
BIN := .venv/bin

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## make .venv with all that development needs
	@scripts/setup dev

demo: ## set up and run the example notebook
	@scripts/demo

test: ## all that CI checks, or only pytest with ARGS
	@scripts/test $(ARGS)

lint: ## lint, types and floors only
	@scripts/test --lint

format: setup ## put the code into its form and mend what ruff can mend
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

coverage: ## the lines and branches that the last full test run missed
	@$(BIN)/coverage report

constraints: ## write constraints.txt anew, from the newest versions that pyproject.toml allows
	@: >constraints.txt
	@rm -rf .venv
	@scripts/setup dev
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet hatchling
	@$(BIN)/python -m pip freeze --all --exclude kernel-gateway --exclude setuptools | LC_ALL=C sort -f >constraints.new
	@mv constraints.new constraints.txt

clean: ## remove .venv and what the tools leave behind
	@rm -rf .venv .clients out dist htmlcov .coverage .hypothesis .*_cache
