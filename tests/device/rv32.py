"""The portable tests' firmware and machine: 32-bit MicroPython in QEMU (boards/VIRT_RV32).

    python -m tests.device.rv32 [MODULE ...]    all of them, and allocation.py in each mode

Its small integers end at 2**30, its machine code is that of the ESP32-C3, its floats have 32
bits. The heap is larger than a board's, because a whole group of replicas lives in it.
"""

import ast
import sys
import tempfile
import time
from pathlib import Path

from tests.device.test_on_micropython import portable_modules
from tools.device.link import BoardError, Link, LinkError
from tools.firmware import virt
from tools.firmware.stage import ROOT
from tools.virt.board import Board

HEAP_LENGTH = 4000000
MODES = ("ram", "mirror", "nvm")
FOLDER = ROOT / "build" / "rv32-tests"
CONSOLE_PORT = 47390
PATIENCE_S = 300.0  # with a test that prints nothing
_EVERY = 16  # calls: allocation.py counts bytes at one of them
_STORY_S = 3600.0  # allocation.py prints at the end only
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


# Who imports one of these needs files or sockets, which the machine has not.
_OF_A_HOST = {"hal.filestore", "hal.udp", "hal.unix", "temporary_path", "with_nodes"}


def modules():
    """The portable test modules that need no host."""
    return [name for name in portable_modules() if not _imported(name) & _OF_A_HOST]


def _imported(module):
    """Modules and names that a module imports anywhere."""
    path = ROOT / (module.replace(".", "/") + ".py")
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


def build(output=FOLDER):
    """The firmware, everything in it that the test modules import from this project."""
    output = Path(output).absolute()
    output.mkdir(parents=True, exist_ok=True)
    manifest = output / "manifest.py"
    text = _MANIFEST.format(root=str(ROOT), files=_frozen_tests(), asyncio=_ASYNCIO)
    if not manifest.is_file() or manifest.read_text(encoding="utf-8") != text:
        manifest.write_text(text, encoding="utf-8")
    virt.build(None, None, manifest, output, heap_length=HEAP_LENGTH)
    return output / "firmware.elf"


def _frozen_tests():
    """The portable modules, and what lies beside them that is no test itself."""
    tests = ROOT / "tests"
    wanted = {"/".join(name.split(".")[1:]) + ".py" for name in portable_modules()}
    for folder in ("", "device", "hal", "hal/fakes", "tinybft"):
        paths = (path.relative_to(tests) for path in (tests / folder).glob("*.py"))
        wanted |= {str(path) for path in paths if not path.name.startswith("test_")}
    return sorted(wanted - {"device/rv32.py"})


class Machine:
    """A machine with that firmware. A context manager: switched on inside.

    After an answer that did not come it is switched off and on.
    """

    def __init__(self, folder, firmware, port=CONSOLE_PORT):
        self._board = Board(0, Path(folder), firmware, port)
        self._link = None

    def __enter__(self):
        try:
            self._power_on()
        except BaseException:
            self._board.close()
            raise
        return self

    def _power_on(self):
        self._board.power_on("", 0)
        deadline = time.monotonic() + _BOOT_S
        while True:
            try:
                self._link = Link(self._board.device)
                return
            except LinkError:
                if self._board.has_ended() or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def __exit__(self, *_):
        self._link.close()
        self._board.close()

    def execute(self, code, silence_s=PATIENCE_S):
        """What the code prints; LinkError, BoardError."""
        try:
            return self._link.execute(code, silence_s)
        except LinkError:
            self._link.close()
            self._board.power_off()
            self._power_on()
            raise

    def run(self, module):
        """(whether a module's tests pass, what they print)."""
        return self._main("runner", repr(module), PATIENCE_S)

    def measure(self, mode, brief=False):
        """(whether nothing allocates, what allocation.py prints); mode: where the regions are."""
        return self._main("allocation", f"{mode!r}, {brief}, {_EVERY}", _STORY_S)

    def _main(self, program, arguments, silence_s):
        try:
            output = self.execute(
                f"from tests.device import {program}\n"
                f"print('ends with', {program}.main({arguments}))",
                silence_s,
            )
        except (BoardError, LinkError) as error:
            return False, str(error)
        return output.rstrip().endswith("ends with 0"), output.replace("\r", "")


def main(chosen):
    """Run the modules, or all and the allocation test; 1 if something failed."""
    passed = True
    with tempfile.TemporaryDirectory() as folder, Machine(folder, build()) as machine:
        runs = [(name, machine.run, name) for name in chosen or modules()]
        if not chosen:
            runs += [(f"allocation, {mode}", machine.measure, mode) for mode in MODES]
        for name, run, argument in runs:
            begin = time.monotonic()
            ok, output = run(argument)
            passed = passed and ok
            words = "ok" if ok else "FAILED"
            print(f"{words} {name} {time.monotonic() - begin:.1f} s", flush=True)
            if not ok:
                print(output, flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
