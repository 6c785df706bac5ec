# The commands of this repository. `make demo` and `make test` set up all they need themselves
# (scripts/setup); the others expect .venv to be there.

SHELL := /bin/bash
PYTHON := .venv/bin/python
PROBES := $(wildcard probes/*.c probes/*.h)
PYTEST_ARGS ?=
ROWS ?=
KERNELS ?=
SHORT ?=

.DEFAULT_GOAL := help
.PHONY: help demo test kernels bench check format probes wheel man docs clean

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## audit a real `uv sync --frozen` and show what a report looks like
	@scripts/setup demo
	@scripts/demo

test: ## everything: set-up, static checks, all tests (PYTEST_ARGS=… is handed on)
	@scripts/setup test
	@$(MAKE) --no-print-directory check
	@$(PYTHON) -m pytest $(PYTEST_ARGS); status=$$?; scripts/hand-over; exit $$status

kernels: ## boot the kernels that people run, write docs/kernels.md (KERNELS=6.1,newest: some; SHORT=1: as in make test)
	@scripts/setup kernels
	$(PYTHON) -m tests.kernels $(if $(KERNELS),--kernels $(KERNELS)) $(if $(SHORT),--short)

bench: ## what it costs, against strace and others (ROWS=startup,sync-disk: a part; SHORT=1: does it work)
	@scripts/setup bench
	@$(MAKE) --no-print-directory probes
	$(PYTHON) -m bench $(if $(ROWS),--rows $(ROWS)) $(if $(SHORT),--short)

check: ## the static checks
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	$(if $(PROBES),.venv/bin/clang-format --dry-run -Werror $(PROBES))

format: ## bring Python and C sources into their form
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	$(if $(PROBES),.venv/bin/clang-format -i $(PROBES))

probes: ## compile probes/ into build/writeaudit.bpf.o if they have changed
	@$$([ -x $(PYTHON) ] && echo $(PYTHON) || echo python3) hatch_build.py --werror

wheel: ## build the wheel into dist/
	$(PYTHON) -m build --wheel

man: ## write the manual page, build/man/writeaudit.1
	PYTHONPATH=. $(PYTHON) scripts/man_page.py build/man/writeaudit.1

docs: ## build the documentation's pages into build/site; a link that leads nowhere is an error
	@scripts/setup docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet
	@printf 'docs: file://%s/build/site/index.html\n' "$$PWD"

clean: ## remove what was built (not .venv)
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find writeaudit tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
