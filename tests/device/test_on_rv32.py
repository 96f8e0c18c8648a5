"""The portable test modules on a 32-bit machine, in QEMU; those that take seconds there are left
to `python -m tests.device.rv32`, which runs all.
"""

import pytest

from tests.device import rv32
from tests.e2e.boards import skip_without_boards
from tinybft import wire

_SLOW = {
    "tests.hal.test_boards_group",
    "tests.hal.test_fram_i2c",
    "tests.hal.test_fram_spi",
    "tests.tinybft.test_byzantine",
    "tests.tinybft.test_fuzz",
    "tests.tinybft.test_group",
    "tests.tinybft.test_kv",
    "tests.tinybft.test_rules_durable",
    "tests.tinybft.test_rules_durable_boot",
    "tests.tinybft.test_rules_durable_rejoin",
    "tests.tinybft.test_rules_durable_scrub",
    "tests.tinybft.test_rules_durable_state",
    "tests.tinybft.test_slots",
    "tests.tinybft.test_state",
    "tests.tinybft.test_storage",
    "tests.tinybft.test_storage_untouched",
    "tests.tinybft.test_view_change",
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    skip_without_boards()
    with rv32.Machine(tmp_path_factory.mktemp("rv32"), rv32.build()) as machine:
        yield machine


def test_integers_floats_and_code_are_those_of_the_board(machine):
    code = "import sys; print(sys.maxsize, 2**24 + 1.0 == 2**24, sys.implementation._mpy >> 10)"
    assert machine.execute(code).split() == ["2147483647", "True", "11"]


@pytest.mark.parametrize("module", [name for name in rv32.modules() if name not in _SLOW])
def test_passes_on_rv32(machine, module):
    passed, output = machine.run(module)
    assert passed, f"{module} on rv32:\n{output}"


@pytest.mark.parametrize("mode", rv32.MODES)
def test_message_path_allocates_nothing_outside_hashing(machine, mode):
    passed, output = machine.measure(mode, brief=True)
    assert passed, output
    for kind in range(1, wire.TYPE_MAX + 1):
        assert output.count(f" {wire.TYPE_NAMES[kind]} used ") == 2, output


def test_slow_modules_are_modules():
    assert set(rv32.modules()) > _SLOW
