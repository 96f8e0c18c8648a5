"""The promise of static memory, on the real MicroPython: see `allocation.py` and `soak.py`.

F65: every message type is handled with the heap locked.
"""

import pytest

from tests.device.test_on_micropython import run_on_micropython
from tinybft import wire
from tinybft.faults import NAMES

# Not reached: an application that fails raises, 2**32 batches take too long, memory does not rot.
_LATER_FAULTS = {"none", "service", "seqno_exhausted", "rotten"}


@pytest.fixture(scope="module", params=("ram", "mirror", "nvm", "early_ram", "early_nvm"))
def report(request):
    return run_on_micropython(request.param, script="allocation.py", heap="6M")


def test_message_path_allocates_nothing_outside_hashing(report):
    assert report.returncode == 0, report.stdout


def test_every_message_type_was_of_use(report):
    for kind in range(1, wire.TYPE_MAX + 1):
        assert report.stdout.count(f" {wire.TYPE_NAMES[kind]} used ") == 2, report.stdout


def test_every_fault_occurred(report):
    lines = [line for line in report.stdout.splitlines() if "faults that occurred" in line]
    assert len(lines) == 2
    for line in lines:
        assert set(line.split()) >= set(NAMES) - _LATER_FAULTS, line


def test_soak_with_constant_memory():
    result = run_on_micropython("2000", script="soak.py", heap="4M")
    assert result.returncode == 0, result.stdout
