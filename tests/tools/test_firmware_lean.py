"""What a firmware need not hold in RAM: constants, fields, short functions, the boot's own."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.config import ROOT, load
from tools.firmware.bundle import bundled
from tools.firmware.fixed import fixed
from tools.firmware.fold import folded
from tools.firmware.frozen import frozen_files
from tools.firmware.inline import inlined
from tools.firmware.kept import missing
from tools.firmware.program import Program, Reach
from tools.firmware.stage import stage
from tools.firmware.unread import without_unread
from tools.firmware.whole import one_object

LAYOUT = """
KIND = const(1)
LARGE = const(0x12345)
_PRIVATE = const(KIND + 2)
node = None


def kind(buf, at=0):
    return buf[at + KIND]
"""


def test_a_constant_of_another_module_is_a_number():
    user = "from a import KIND as K\nimport a\nfrom p import a as b\nx = (K, b.KIND, b.other)\n"
    texts = folded({"a": LAYOUT, "p": "", "p.a": "KIND = 7\n", "u": user})
    assert texts["u"].splitlines()[3] == "x = (1, 7, b.other)"
    assert "_PRIVATE = const(1 + 2)" in texts["a"]


def test_a_tuple_of_constants_holds_small_ones():
    texts = folded({"a": LAYOUT, "u": "from a import KIND, LARGE\nx = (KIND, LARGE), LARGE + 1\n"})
    assert texts["u"].splitlines()[1] == f"x = (1, LARGE), {0x12345} + 1"


def test_a_name_that_is_bound_again_is_no_constant():
    user = "from a import KIND\ndef f(KIND):\n    return KIND\n"
    assert folded({"a": LAYOUT, "u": user})["u"] == user
    changing = "N = 1\ndef f():\n    global N\n    N = 2\n    return N\n"
    assert folded({"c": changing})["c"] == changing


SLOTS = """
class Slots:
    def __init__(self, config, count):
        self.window = config.WINDOW
        self.size = 3 * config.WINDOW
        self.changes = config.WINDOW
        self.count = count

    def step(self):
        self.changes += 1
        return self.window + self.size + self.count + self.changes
"""


def test_a_field_that_the_configuration_fixes_is_a_number(monkeypatch):
    monkeypatch.setitem(sys.modules, "slots_of_test", SimpleNamespace())
    user = "def f(slots):\n    return slots.size\n"
    texts = fixed({"slots_of_test": SLOTS, "u": user}, SimpleNamespace(WINDOW=4))
    assert "return 4 + 12 + self.count + self.changes" in texts["slots_of_test"]
    assert (
        "self.window" not in texts["slots_of_test"] and "self.size" not in texts["slots_of_test"]
    )
    assert "self.changes = 4" in texts["slots_of_test"]
    assert texts["u"] == "def f(slots):\n    return 12\n"
    assert len(texts["slots_of_test"].splitlines()) == len(SLOTS.splitlines())


def test_viper_gets_numbers_where_it_casts_them_or_hands_them_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "slots_of_test", SimpleNamespace())
    method = "    @micropython.viper\n    def end(self) -> bool:\n        return "
    text = SLOTS + method + "int(self.window) > f(self.window, x < self.size)\n"
    text = fixed({"slots_of_test": text}, SimpleNamespace(WINDOW=4))["slots_of_test"]
    assert text.endswith("return int(4) > f(4, x < self.size)\n") and "self.size = 3" in text


@pytest.mark.parametrize(
    ("call", "expression"),
    [
        ("a.kind(buf)", "(buf[0 + 1])"),
        ("a.kind(buf, at + 2)", "(buf[at + 2 + 1])"),
        ("a.kind(next(x))", "a.kind(next(x))"),  # does something
        ("a.kind(*x)", "a.kind(*x)"),
    ],
)
def test_a_short_function_is_an_expression(call, expression):
    texts = folded({"p": "", "p.a": LAYOUT, "u": f"from p import a\nz = {call}\n"})
    assert inlined(texts)["u"] == f"from p import a\nz = {expression}\n"


NOTHING = """
def _nothing(_self, _first=None):
    \"\"\"Nothing.\"\"\"
class Volatile:
    write = _nothing
    note = _nothing
class Core:
    def make(self):
        self.durability = self._durability()
    def _durability(self):
        if not False:
            return Volatile()
        return Durability()
"""


def test_what_does_nothing_and_what_is_decided_are_expressions():
    texts = inlined({"a": NOTHING, "u": "core.durability.note(1)\nx.write(2)\n"})
    assert texts["u"] == "(None)\nx.write(2)\n"  # streams have a write, too
    assert "        self.durability = (Volatile())" in texts["a"]


METHODS = """
from b import word
class A:
    def at(self, i):
        return word(self.buf, self.start + i)
    def both(self):
        return 1
class B:
    def both(self):
        return 2
    def index(self):
        return 3
"""


def test_a_short_method_is_an_expression_if_its_name_is_its_own():
    user = "import c\nx = y.at(5) + y.both() + y.index()\n"
    texts = inlined({"a": METHODS, "b": "def word(b, at):\n    print(b)\n", "u": user})
    assert texts["u"].splitlines() == [
        "from b import word; import c",
        "x = (word(y.buf, y.start + 5)) + y.both() + y.index()",
    ]
    user = "x = get().at(5)\n"  # asked for twice
    assert inlined({"a": METHODS, "b": "", "u": user})["u"] == user


PARTS = """
from octets import copy
class Slots:
    def __init__(self, config):
        self.buf = bytearray(8)
    def find(self, number):
        return self._look(number)
    def _look(self, number):
        return copy(self.buf, number)
    def send(self):
        pass
class Post:
    def __init__(self, core):
        self.core = core
        self.mine = core.slots.buf
        self.buf = bytearray(4)
    def send(self, number):
        slots = self.core.slots
        return slots.find(number) + len(self.mine) + len(self.buf)
class Core:
    def __init__(self, config):
        self.slots = Slots(config)
        self.post = Post(self)
        self.post.send(1)
"""


def test_parts_of_a_core_become_one_object():
    user = "def f(core):\n    core.slots.send()\n    return core.post.buf\n"
    texts = one_object({"parts": PARTS, "u": user}, "parts")
    assert texts["u"] == "def f(core):\n    core.send()\n    return core.buf_post\n"
    lines = texts["parts"].splitlines()
    assert "def find(self, number):" in lines and "    return _look(self, number)" in lines
    assert "    slots = self" in lines and "        self._init_post(self)" in lines
    assert "    return find(slots, number) + len(self.buf) + len(self.buf_post)" in lines
    assert "        send_post(self, 1)" in lines and "class Slots:" not in lines


def test_a_part_that_is_handed_on_stays_an_object():
    text = PARTS.replace("self.post.send(1)", "print(self.post)")
    lines = one_object({"parts": text}, "parts")["parts"].splitlines()
    assert "class Post:" in lines and "class Slots:" not in lines


def test_modules_that_are_imported_for_their_names_become_one():
    texts = {
        "tinybft.a": "from tinybft.o import copy\n_X = (1, 2)\n"
        "def f(x):\n    return copy(_X, x)\n",
        "tinybft.b": "from tinybft.a import f as g\n_X = 3\ndef h(f):\n    return g(f) + _X\n",
        "tinybft.o": "def copy(a, b):\n    pass\n",
        "tinybft.n": "from tinybft.b import h\nfrom tinybft.o import copy\nh(copy)\n",
        "tinybft.m": "import tinybft.o\n",
    }
    result = bundled(texts, "tinybft.p", "tinybft.n", ["tinybft.m"])
    assert set(result) == {"tinybft.o", "tinybft.n", "tinybft.m", "tinybft.p"}
    assert result["tinybft.n"].startswith("from tinybft.p import h\n")
    assert "    return g_of_b(f) + _X_b" in result["tinybft.p"]
    names = {"copy": lambda values, x: values[x], "__name__": "p"}
    source = result["tinybft.p"].replace("from tinybft.o import copy", "pass")
    exec(source, names)
    assert names["h"](1) == 5  # an argument keeps its name


def test_what_is_reached_is_told_by_names_and_by_the_configuration():
    texts = {
        "m": "from a import f\nf()\n",
        "a": "def f():\n    if config.ON:\n        g()\n    x.method()\ndef g():\n    pass\n"
        "class C:\n    def method(self):\n        pass\n    def other(self):\n        pass\n",
    }
    reach = Reach(Program(texts, SimpleNamespace(ON=False)))
    reach.modules.add("m")
    assert reach.run().units == {("a", None, "f"), ("a", "C", "method")}
    reach = Reach(Program(texts, SimpleNamespace(ON=True)))
    reach.modules.add("m")
    assert ("a", None, "g") in reach.run().units


def _module(file):
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.fixture(scope="module", params=("config.toml", "tools/configs/durable.toml"))
def staged(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    manifest = stage(folder / "source", ROOT / request.param, "VIRT_RV32")
    return folder / "source", frozen_files(manifest), load(ROOT / request.param)


def test_staged_sources_know_every_name_of_what_can_run(staged):
    _, files, config = staged
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "-q"]
    viper = ["--config", 'builtins = ["ptr8", "ptr16", "ptr32", "uint", "ptr"]']
    told = ["--output-format", "json", "--select", "F821,F823,E9"]
    command = [*ruff, *viper, *told, *files.values()]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    names = {path: _module(file) for file, path in files.items()}
    texts = {name: path.read_text(encoding="utf-8") for path, name in names.items()}
    program = Program(texts, config)
    for row in json.loads(result.stdout):
        module = program.modules[names[Path(row["filename"])]]
        name = row["message"].split("`")[1]
        at = row["location"]["row"]
        around = [unit for _, unit in module.units if unit.lineno <= at <= unit.end_lineno]
        found = program.references(around[-1], is_function=True)
        assert name not in found.loads, f"{module.name}:{at}: {row['message']}"


def test_staged_sources_keep_their_lines(staged):
    _, files, _ = staged
    for name, path in files.items():
        source = ROOT / name
        if source.is_file() and name not in ("tinybft/config.py", "main.py"):
            lines = len(source.read_text(encoding="utf-8").splitlines())
            assert len(path.read_text(encoding="utf-8").splitlines()) == lines, name


def test_staged_sources_compile(staged, tmp_path):
    """Viper's types are looked at when a firmware is built."""
    compiler = shutil.which("mpy-cross")
    if compiler is None:
        pytest.skip("no mpy-cross")
    for name, path in staged[1].items():
        command = [compiler, "-march=rv32imc", "-o", str(tmp_path / "out.mpy"), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{name}: {result.stderr}"


def test_imports_of_staged_sources_find_what_they_ask_for(staged):
    _, files, _ = staged
    names = {}
    for file, path in files.items():
        module = _module(file)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names[module] = {getattr(node, "name", None) for node in ast.walk(tree)}
        names[module] |= {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    for file, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in names:
                for alias in node.names:
                    found = alias.name in names[node.module]
                    found = found or f"{node.module}.{alias.name}" in names
                    found = found or node.module in ("tinybft", "hal")
                    assert found, f"{file}: {node.module}.{alias.name}"


def test_what_goes_on_running_finds_every_name(staged):
    folder, files, _ = staged
    given = {}
    exec((folder / "hal" / "boot_only.py").read_text(encoding="utf-8"), given)
    texts = {_module(name): path.read_text(encoding="utf-8") for name, path in files.items()}
    names = given["NAMES"]
    assert missing(texts, names) == []
    for module, name in (
        ("hal.cmac_cryptolib", "sha256"),  # of what a field holds
        ("hal.virt", "copy"),
        ("tinybft.parts", "find_certified"),
        ("tinybft.parts", "get_u32"),
        ("tinybft.parts", "wire"),
        ("tinybft.wire", "put_new_view_counts"),  # by the module's name
        ("tinybft.octets_viper", "copy"),
    ):
        rows = [(one, (*own, name) if one == module else own, of) for one, own, of in names]
        found = missing(texts, rows)
        is_used = module != "tinybft.octets_viper"  # others have it under their own names
        assert any(one.endswith(": " + name) or name in one for one in found) == is_used, name
    row = next(row for row in names if row[0] == "tinybft.node")
    rows = [one for one in names if one is not row]
    rows.append((row[0], row[1], tuple((of, (*own, "_turn")) for of, own in row[2])))
    assert any(one.endswith(": Node._turn") for one in missing(texts, rows))


def test_the_boot_gives_back_what_it_alone_needed(staged):
    folder, files, config = staged
    given = {}
    exec((folder / "hal" / "boot_only.py").read_text(encoding="utf-8"), given)
    rows = {name: (names, dict(classes)) for name, names, classes in given["NAMES"]}
    names, classes = rows["tinybft.parts"]
    assert "Core" in names and "advance_agreement" not in names
    assert "_init_agreement" in classes["Core"] and "on_pre_prepare" not in classes["Core"]
    assert "tinybft.parts" in given["MODULES"] and "tinybft.attached" not in given["MODULES"]
    assert ("tinybft/durability.py" in files) == config.DURABLE


def test_a_part_that_is_handed_on_stays_an_object_and_so_does_what_it_makes():
    source = """
class Tree:
    def __init__(self, config):
        self.count = 0

class State:
    def __init__(self, config):
        self.tree = Tree(config)

class Slots:
    def __init__(self, config):
        self.held = 0

class Core:
    def __init__(self, config):
        self.state = State(config)
        self.slots = Slots(config)

    def show(self, out):
        out(self.state)
        return self.state.tree.count + self.slots.held
"""
    text = one_object({"parts": source}, "parts")["parts"]
    assert "self.state = State(config)" in text and "self.tree = Tree(config)" in text
    assert "class Slots" not in text and "self._init_slots(config)" in text
    assert "self.state.tree.count + self.held" in text


def test_private_fields_of_one_number_or_without_a_reader_go():
    source = """
class Slots:
    def __init__(self, out):
        self._size = 4 + 8
        self._noise = bytearray(8)
        self._said = out()
        self._times = 0
        self.shown = 1

    def step(self):
        self._times += 1
        return self._size
"""
    text = without_unread({"tinybft.slots": source}, ("tinybft",))["tinybft.slots"]
    assert "return 12" in text and "_size" not in text and "_noise" not in text
    assert "self._said = out()" in text and "self._times = 0" in text and "self.shown = 1" in text
