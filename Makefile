# make demo    four MicroPython replicas agree under load and loss; the primary is killed and
#              returns; at last all lose power at once
# make test    the whole suite, on CPython and on the real MicroPython
# make virt    four emulated rv32 boards under load and loss: power cuts of the primary, of some,
#              of all; builds their firmware. Needs Debian's packages qemu-system-misc,
#              gcc-riscv64-unknown-elf and picolibc-riscv64-unknown-elf
# make lint    ruff, that tinybft/config.py is what config.toml gives, and that the HAL of the
#              ESP32-C3 fits the stubs of MicroPython's ESP32 port
# make clean   remove what make made
#
# Each needs Python 3.11 or newer (PYTHON=python3.12 chooses one) and makes .venv by itself.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/installed

.PHONY: demo test virt lint clean venv

# An invalid config.toml stops here, before anything runs.
demo: $(STAMP)
	$(BIN)/tinybft config
	$(BIN)/tinybft cluster --name durable

test: $(STAMP)
	$(BIN)/python -m pytest

virt: $(STAMP)
	$(BIN)/tinybft cluster --virt --name durable --operations 1000 --loss 10 --power-cuts 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/tinybft config --check
	$(BIN)/python -m tools.typings

venv: $(STAMP)

# The stamp is written last: an installation that broke off is begun anew.
$(STAMP): pyproject.toml tools/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is missing or older than Python 3.11;" \
	    "install a newer one or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "$(PYTHON) cannot make virtual environments;" \
	    "install its venv package" >&2; exit 2; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint tools/constraints.txt --editable '.[bench,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
