# make demo   carve a bundled disk image, look at the result, write a report
# make test   run every test; those that need root or a tool that is not there are skipped, with the reason
# make check  formatting, lint, types, tests
# make bench  speed and memory against The Sleuth Kit's fls, of hashing against sha256sum, of XFS and E01, what comes back of what was removed, a large meta.db
# make clean  remove everything that make made
#
# Needs Python 3.11 or newer and nothing else; `make PYTHON=python3.12 demo` picks another one than python3.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
DEMO := .demo

.DELETE_ON_ERROR:
.PHONY: demo test check lint types bench clean

demo: $(VENV)/.installed
	@$(VENV)/bin/python samples/unpack.py webshop $(DEMO)/webshop.img
	$(VENV)/bin/ctrforensics carve $(DEMO)/webshop.img -o $(DEMO)/webshop.case.db --force
	@$(VENV)/bin/ctrforensics report $(DEMO)/webshop.case.db -o $(DEMO)/webshop.report.html --force
	@printf '\nThe report, for any browser: $(DEMO)/webshop.report.html\n'
	@printf '\nTo go on: . $(VENV)/bin/activate, then any of the commands above; ctrforensics --help lists the others.\n'

test: $(VENV)/.developing
	$(RUN) pytest -n 2

check: lint types test

lint: $(VENV)/.developing
	$(RUN) ruff format --check .
	$(RUN) ruff check .

types: $(VENV)/.developing
	$(RUN) mypy

bench: $(VENV)/.installed
	$(VENV)/bin/python -m compileall -q forensics parsers reports  # as pip does; where Python may not, each run would compile
	$(VENV)/bin/python tests/bench/bench.py
	$(VENV)/bin/python tests/bench/formats.py
	$(VENV)/bin/python tests/bench/removed.py
	$(VENV)/bin/python tests/bench/large_meta.py

clean:
	rm -rf $(VENV) $(DEMO) .bench build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The project is installed as a link to this directory, so only a change of its dependencies installs anything anew.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "make: $(PYTHON) is not Python 3.11 or newer; name one with make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "make: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check -e .
	@$(RUN) compileall -q forensics parsers reports
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(RUN) pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
