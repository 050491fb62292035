# make demo   a first look: installs into .venv, prints the layers of LeNet-5, audits a trained one, draws; see reports/
# make test   the test suite (installs what it needs on first use)
# make gallery  draws docs/gallery.md and its pictures anew
# make lint   formatting, types, import contracts, dependencies
# make clean  removes everything made here, .venv included

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test gallery lint clean

demo: $(VENV)/.user
	@mkdir -p reports
	$(BIN)/cnnscope summary lenet5
	$(BIN)/cnnscope diagram resnet152 -o reports/resnet152.svg
	$(BIN)/cnnscope audit lenet5-digits -o reports/audit
	$(BIN)/cnnscope page lenet5-digits -o reports/lenet5-digits.html
	@echo "Open reports/audit/report.html, reports/lenet5-digits.html and reports/resnet152.svg in a browser;"
	@echo "$(BIN)/cnnscope --help has the rest."

test: $(VENV)/.dev
	@sh .ci/browser
	$(BIN)/python -m pytest -n auto --dist loadfile -rs

gallery: $(VENV)/.user
	$(BIN)/python examples/gallery.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/deptry .

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cnnscope needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt -e '.[all]'
	touch $@

# torchvision and timm are oracles for the tests. Their wheels ask for a torch of their own choosing, built for CUDA and
# several GB large; without their dependencies they run beside whichever torch is here, which is all the tests need.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	$(PIP) install -q -c constraints.txt --no-deps torchvision timm
	touch $@ $(VENV)/.user
