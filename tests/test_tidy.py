"""The project's own bans, which no general linter knows."""

import ast
import re
from pathlib import Path

import pytest

from tools.config import generate

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("hal", "tests", "tinybft", "tools")
DEVICE_FOLDERS = ("hal", "tinybft")
LINE_LENGTH_MAX = 99
DEVICE_LINES_MAX = 400

# The core is handed what it needs; see the architecture: bytes and time in, bytes out.
_IMPURE = {"asyncio", "hal", "machine", "network", "os", "random", "socket", "time"}
_MAY_IMPORT = {
    "tinybft/compat.py": {"builtins", "ctrl_c"},
    "tinybft/node.py": {"asyncio"},
    "tinybft/__init__.py": {"asyncio"},
    "tinybft/octets.py": {"struct"},
    "tinybft/repl.py": {"json"},
}
_CORE_KNOWS = {"tinybft", "micropython", "sys", "gc"}
# Where people's side begins: an f-string there costs nothing on the message path.
_MAY_FORMAT = {"tinybft/node.py"}
_VAGUE = re.compile(r"manager|handler|util")
_UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def python_files(*folders):
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def tree_of(name):
    return ast.parse(text_of(name))


def imports_of(name):
    """Yield (top-level package, line) of every import in a file, lazy ones included."""
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}:{node.lineno}: relative import"
            yield node.module.split(".")[0], node.lineno


def is_app(name):
    return name.startswith("tinybft/apps/")


@pytest.mark.parametrize("name", python_files("tinybft"))
def test_core_imports_nothing_impure(name):
    allowed = _CORE_KNOWS | _MAY_IMPORT.get(name, set())
    if is_app(name):
        allowed = allowed | {"asyncio"}
    for package, line in imports_of(name):
        assert package not in _IMPURE - allowed, f"{name}:{line}: imports {package}"
        assert package in allowed, f"{name}:{line}: imports {package}, not part of the core"


@pytest.mark.parametrize("name", python_files("hal"))
def test_hal_does_not_import_tools(name):
    for package, line in imports_of(name):
        assert package not in ("tools", "tests"), f"{name}:{line}: imports {package}"


@pytest.mark.parametrize("name", python_files("tinybft"))
def test_core_formats_no_strings(name):
    if name in _MAY_FORMAT or is_app(name):
        return
    for node in ast.walk(tree_of(name)):
        assert not isinstance(node, ast.JoinedStr), f"{name}:{node.lineno}: f-string allocates"


def constants_of(tree):
    """Names that MicroPython's compiler knows the value of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            name = node.targets[0]
            if getattr(node.value.func, "id", None) == "const" and isinstance(name, ast.Name):
                yield name.id


def is_constant(node, known):
    if isinstance(node, ast.Tuple):
        return all(is_constant(element, known) for element in node.elts)
    return isinstance(node, ast.Constant) or getattr(node, "id", None) in known


@pytest.mark.parametrize("name", python_files(*DEVICE_FOLDERS))
def test_constant_tuples_hold_small_integers(name):
    """MicroPython (mpy-tool.py, 1.26) freezes larger ones as big integers: computing allocates."""
    if name.startswith("hal/sim"):
        return
    tree = tree_of(name)
    known = set(constants_of(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and is_constant(node, known):
            for element in node.elts:
                value = getattr(element, "value", 0)
                large = isinstance(value, int) and not -0x2000 <= value <= 0x1FFF
                assert not large, f"{name}:{node.lineno}: {value} is frozen as a big integer"


@pytest.mark.parametrize("name", python_files(*DEVICE_FOLDERS))
def test_range_with_a_start_is_in_a_for_statement(name):
    """There the compiler counts, if the step is a constant. Elsewhere a range object of a 32-bit
    MicroPython before 1.27 gives wrong numbers from 2**30 on."""
    tree = tree_of(name)
    known = set(constants_of(tree))
    counted = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Call):
            step = node.iter.args[2:]
            if not step or is_constant(step[0], known) or isinstance(step[0], ast.UnaryOp):
                counted.add(node.iter)
    for node in ast.walk(tree):
        is_range = isinstance(node, ast.Call) and getattr(node.func, "id", None) == "range"
        if is_range and node not in counted:
            start = 0 if len(node.args) == 1 else getattr(node.args[0], "value", None)
            assert start == 0, f"{name}:{node.lineno}: a range object with a start"


@pytest.mark.parametrize("name", python_files(*FOLDERS))
def test_has_module_docstring(name):
    empty = not text_of(name).strip()
    assert empty and name.endswith("__init__.py") or ast.get_docstring(tree_of(name)), name


@pytest.mark.parametrize("name", python_files(*FOLDERS))
def test_nothing_unfinished_and_no_long_line(name):
    for number, line in enumerate(text_of(name).splitlines(), 1):
        assert len(line) <= LINE_LENGTH_MAX, f"{name}:{number}: {len(line)} columns"
        assert not _UNFINISHED.search(line), f"{name}:{number}: unfinished: {line.strip()}"


@pytest.mark.parametrize("name", python_files(*DEVICE_FOLDERS))
def test_device_file_is_one_idea(name):
    lines = len(text_of(name).splitlines())
    if name == "tinybft/slots.py":  # batches and votes of a slot: a second class would cost heap
        lines -= 25
    assert lines <= DEVICE_LINES_MAX, f"{name}: {lines} lines; two ideas live in it"


@pytest.mark.parametrize("name", python_files(*DEVICE_FOLDERS))
def test_names_say_what_is_meant(name):
    assert not _VAGUE.search(name), f"{name}: a vague file name"
    for node in ast.walk(tree_of(name)):
        given = getattr(node, "name", None) or getattr(node, "id", None) or ""
        found = _VAGUE.search(str(given).lower())
        assert not found, f"{name}:{node.lineno}: {given} does not say what it is"


def test_committed_configuration_is_generated():
    expected = generate(ROOT / "config.toml")
    assert text_of("tinybft/config.py") == expected, "run `tinybft config`"


def test_configurations_keep_to_the_line_length():
    for path in [ROOT / "config.toml", *(ROOT / "tools" / "configs").glob("*.toml")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= LINE_LENGTH_MAX, f"{path.name}:{number}"
