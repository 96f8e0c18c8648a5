"""The portable tests' firmware and machine: 32-bit MicroPython in QEMU (boards/VIRT_RV32).

Its small integers end at 2**30, its machine code is that of the ESP32-C3, its floats have 32
bits. The heap is larger than a board's, because a whole group of replicas lives in it.
"""

import time
from pathlib import Path

from tools.device.link import Link, LinkError
from tools.firmware import virt
from tools.firmware.stage import ROOT
from tools.virt.board import Board

HEAP_LENGTH = 4000000
PATIENCE_S = 120.0  # with a test that prints nothing
_BOOT_S = 20.0

_MANIFEST = """\
package("tinybft", base_path={root!r})
package("hal", base_path={root!r})
package("tests", files={files!r}, base_path={root!r})
freeze({root!r} + "/boards/VIRT_RV32/modules")
freeze({root!r} + "/tests/device/rv32_modules")
package("asyncio", files={asyncio!r}, base_path="$(MPY_DIR)/extmod")
"""
_ASYNCIO = ["__init__.py", "core.py", "event.py", "funcs.py", "lock.py", "task.py"]


def build(output, modules):
    """The firmware, everything in it that the test modules import from this project."""
    output = Path(output).absolute()
    output.mkdir(parents=True, exist_ok=True)
    manifest = output / "manifest.py"
    text = _MANIFEST.format(root=str(ROOT), files=_frozen_tests(modules), asyncio=_ASYNCIO)
    if not manifest.is_file() or manifest.read_text(encoding="utf-8") != text:
        manifest.write_text(text, encoding="utf-8")
    virt.build(None, None, manifest, output, heap_length=HEAP_LENGTH)
    return output / "firmware.elf"


def _frozen_tests(modules):
    """The modules, and what lies beside them that is no test itself."""
    tests = ROOT / "tests"
    wanted = {"/".join(name.split(".")[1:]) + ".py" for name in modules}
    for folder in ("", "device", "hal", "hal/fakes", "tinybft"):
        paths = (path.relative_to(tests) for path in (tests / folder).glob("*.py"))
        wanted |= {str(path) for path in paths if not path.name.startswith("test_")}
    return sorted(wanted - {"device/rv32.py"})


class Machine:
    """A machine that has just been switched on. A context manager."""

    def __init__(self, folder, firmware, port, icount=False):
        self._board = Board(0, folder, firmware, port, icount=icount)

    def __enter__(self):
        self._board.power_on("", 0)
        try:
            self._link = self._connected()
        except BaseException:
            self._board.close()
            raise
        return self

    def _connected(self):
        deadline = time.monotonic() + _BOOT_S
        while True:
            try:
                return Link(self._board.device)
            except LinkError:
                if self._board.has_ended() or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def __exit__(self, *_):
        self._link.close()
        self._board.close()

    def execute(self, code):
        """What the code prints."""
        return self._link.execute(code, PATIENCE_S)

    def run(self, module):
        """(whether a module's tests pass, what they print)."""
        output = self.execute(
            f"from tests.device import runner\nprint('ends with', runner.main({module!r}))"
        )
        return output.rstrip().endswith("ends with 0"), output
