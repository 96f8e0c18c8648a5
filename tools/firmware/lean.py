"""What a firmware need not hold in RAM: each function, class and name of a module takes some.

Of the staged sources, line by line where they were:

    constants of other modules       put where they are used (fold.py)
    what the configuration fixes     the same (fixed.py)
    functions of one expression      the same (inline.py)
    modules that only a node imports become one (bundle.py)
    parts of a replica               become one object (whole.py)
    its fields that nobody reads     go, and those of one number (unread.py)
    what nothing refers to           goes: functions, classes, names, imports; whole modules
    what only the boot refers to     is listed in hal/boot_only.py, by which hal/after_boot.py
                                     gives it back once the node runs

Told from what main.py, the application's modules and people at the prompt reach (program.py).
"""

import ast
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

from tools.firmware.bundle import bundled
from tools.firmware.fixed import fixed
from tools.firmware.fold import folded
from tools.firmware.frozen import frozen_files
from tools.firmware.inline import inlined
from tools.firmware.program import Program, Reach, flat
from tools.firmware.unread import without_unread
from tools.firmware.whole import one_object

CONFIG = "tinybft.config"
# What people import at the prompt, and the methods that they call there.
AT_THE_PROMPT = ("tinybft.repl", "tinybft.apps.kv_client", "tinybft.apps.kv_format")
_PUBLIC = (("tinybft.node", "Node"), ("tinybft.node", "Hold"), ("hal.boot", None))
_BOOT = {("hal.boot", "boot"), ("hal.boot", "start")}
_OWN = ("tinybft", "hal")
LIST = "hal/boot_only.py"
PARTS = "tinybft.parts"
_FIRST = ("hal.boot", "hal.crypto", "tinybft.memory")  # imported before the node, see hal/boot.py
_GIVER = "hal.after_boot"
_SERVICE = "tinybft.apps.kv"
_MEASURED = "measured"


def make_lean(folder, manifest, measured=None):
    """Rewrite the sources that `manifest` in `folder` freezes.

    measured: a main.py. What is frozen as main and as application only looks at the firmware
    with that one: all that it uses is there, but what it needs is given back as it would be.
    """
    files = frozen_files(manifest)
    names = {_module(file): path for file, path in files.items()}
    texts = {name: path.read_text(encoding="utf-8") for name, path in names.items()}
    applications = foreign = [name for name in texts if name.split(".")[0] not in _OWN]
    if measured is not None:
        applications = [_MEASURED]
        texts[_MEASURED] = measured.read_text(encoding="utf-8")
    items = tuple(sorted(texts.items()))
    texts, listed = _lean_of(items, tuple(foreign), tuple(applications))
    names[PARTS] = Path(folder) / (PARTS.replace(".", "/") + ".py")
    for name, path in names.items():
        if name in texts:
            path.write_text(texts[name], encoding="utf-8")
        else:
            path.unlink(missing_ok=True)
    path = Path(folder) / LIST
    path.write_text(listed, encoding="utf-8")


@lru_cache(maxsize=16)
def _lean_of(items, foreign, applications):
    """({module: source}, the text of LIST). Takes seconds: the same sources are rewritten once."""
    start = {*foreign, *applications}
    program, everything, texts = lean(dict(items), start, applications)
    texts.pop(_MEASURED, None)
    return texts, _list_text(program, everything, applications)


def lean_on_host(texts, programs):
    """{module: source} of processes on a host, in the form of a firmware's sources.

    programs: the modules that they run, which stay as they are.
    """
    return lean(texts, set(programs), [_SERVICE], as_they_are=set(programs))[2]


def lean(texts, start, applications, as_they_are=()):
    """(program, what of it is reached, {module: source} of that) of a firmware's sources.

    start: what runs first, besides the boot. applications: those that import the service.
    as_they_are: modules that only follow the parts of a replica into their one object.
    """
    config = _configuration(texts[CONFIG])
    kept = {name: text for name, text in texts.items() if name in as_they_are}
    texts = fixed(folded(texts, left_out={CONFIG}) | kept, config, as_they_are) | kept
    texts = _reached(texts, config, start)[2]  # a name is its function's own the sooner
    kept = {name: text for name, text in kept.items() if name in texts}
    texts = _reached(inlined(texts) | kept, config, start)[2]
    before = (*applications, *_FIRST)
    texts = one_object(bundled(texts, PARTS, "tinybft.node", before, as_they_are), PARTS)
    kept = {name: text for name, text in texts.items() if name in kept}
    texts = without_unread(_reached(texts, config, start)[2], _OWN, kept)
    return _reached(inlined(texts) | kept, config, start)


def _reached(texts, config, start):
    """The program, what of it is reached, and its sources without the rest."""
    program = Program(texts, config, hidden={PARTS})
    everything = _everything(program, start)
    kept = everything.modules | start
    return (
        program,
        everything,
        {name: _without(program, everything, name) for name in texts if name in kept},
    )


def _module(file):
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _configuration(text):
    names = {}
    exec(text, names)
    return SimpleNamespace(**{key: value for key, value in names.items() if key.isupper()})


def _roots(reach, program, foreign):
    """The application, and people at the prompt."""
    for name in foreign:
        reach.modules.add(name)
        reach.named |= {source for _, source in program.modules[name].imported}
        for _, node in program.modules[name].units:
            reach.take(name, node, True)
    for name, owner in _PUBLIC:
        for of, node in program.modules[name].units if name in program.modules else ():
            if of == owner and not node.name.startswith("_") and (name, node.name) not in _BOOT:
                reach.attributes.add(node.name)
                reach.named.add((name, node.name))
    for name in AT_THE_PROMPT:
        if name in program.modules:
            reach.modules.update(program.sources(name, None))
            for _, node in program.modules[name].units:
                if not node.name.startswith("_") and name != "tinybft.apps.kv_format":
                    reach.attributes.add(node.name)
                    reach.named.add((name, node.name))


def _everything(program, foreign):
    reach = Reach(program)
    _roots(reach, program, foreign)
    reach.modules.update(program.sources("hal.boot", None), program.sources(_GIVER, None))
    reach.named |= _BOOT
    return reach.run()


class _AfterBoot:
    """What is in RAM when the node runs, and what of it may be asked for from then on.

    booted     what ran
    present    what may run without importing a module
    later      what may run at all; of modules that are gone it imports what it needs anew
    """

    def __init__(self, program, foreign):
        self.booted = Reach(program)
        self.booted.modules.update(foreign, program.sources("hal.boot", None))
        self.booted.named |= _BOOT
        self.booted.run()
        self.present = self._reach(program, foreign, follow_imports=False)
        self.present.run()
        self._shown = _imported_by(program, AT_THE_PROMPT)
        self._program = program
        new = {*self._shown, *AT_THE_PROMPT} & set(program.modules) - self.booted.modules
        self._new_attributes = {
            node.attr
            for name in new
            for node in ast.walk(program.modules[name].tree)
            if isinstance(node, ast.Attribute)
        }
        self.later = self._reach(program, foreign, follow_imports=True)
        self.later.started |= {name for name in self.booted.modules if not self.is_gone(name)}
        self.later.run()

    def _reach(self, program, foreign, follow_imports):
        reach = Reach(program, follow_imports, left_out=_BOOT, made=self.booted)
        _roots(reach, program, foreign)
        reach.attributes |= self.booted.kept
        if not follow_imports:
            reach.modules = set(foreign)
        return reach

    def is_gone(self, name):
        """True if no function or class of the module is looked up in its namespace any more.

        Who imports it later has it anew. So it stays if it has state and somebody goes on using
        that, or if it is another module's name through which it will be found.
        """
        module = self._program.modules[name]
        own = [node.name for owner, node in module.units if owner is None] + [*module.classes]
        if name in self._program.re_exported:
            return False
        if self._program.has_state(name):
            is_used = any(self.present.needs(name, one) for one in own)
            return not is_used and name not in self._shown
        return not any((name, one) in self.present.named for one in own)

    def is_needed(self, name, one):
        if (name, one) in _BOOT:
            return False
        if name == CONFIG and one in self.later.strings:
            return True  # memory.py names them so
        stays = not self.is_gone(name) and self._program.has_state(name)
        if stays and self.present.needs(name, one):
            return True  # the same for whoever imports it
        if name in self._program.handed_on and one in self._new_attributes:
            return True  # of an object that a node has
        if name == CONFIG and self._program.config.DURABLE:  # recovery hands it on, too
            return self.later.looks_up(name, one)
        return self.reach_of(name).looks_up(name, one)

    def reach_of(self, name):
        """What may run of the module as it is in RAM now."""
        return self.present if self.is_gone(name) else self.later


def _imported_by(program, names):
    """Modules that importing these imports."""
    found = set()
    waiting = [name for name in names if name in program.modules]
    while waiting:
        for _, source in program.modules[waiting.pop()].imported:
            new = set(program.sources(*source)) - found
            found |= new
            waiting += new
    return found


def _list_text(program, everything, applications):
    after = _AfterBoot(program, applications)
    rows = []
    gone = [_GIVER]
    for name in sorted(after.booted.modules & everything.modules - {_GIVER}):
        if name.split(".")[0] in _OWN:
            module = program.modules[name]
            names = [one for one in _globals(module) if not after.is_needed(name, one)]
            classes = [
                _Source(f'("{owner}", {_tuple(methods)})')
                for owner, methods in _methods(module, everything, after.reach_of(name))
            ]
            rows.append(f'    ("{name}", {_tuple(names)}, {_tuple(classes)}),\n')
            if after.is_gone(name) and not _is_package(program, name):
                gone.append(name)
    return f"{_HEAD}MODULES = {_tuple(gone)}\nNAMES = (\n{''.join(rows)})\n"


class _Source(str):
    """To be written as it is."""


def _tuple(items):
    inner = [item if isinstance(item, _Source) else f'"{item}"' for item in items]
    return "(" + ", ".join(inner) + ("," if len(inner) == 1 else "") + ")"


def _is_package(program, name):
    return any(other.startswith(name + ".") for other in program.modules)


def _globals(module):
    """Names that a module has at its top."""
    found = {alias for alias, _ in module.imported} | set(module.classes)
    found |= {node.name for owner, node in module.units if owner is None}
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.add(node.targets[0].id)
    return sorted(one for one in found if not one.startswith("__"))


def _methods(module, everything, later):
    """(class, its names that only the boot needs)."""
    for name, node in module.classes.items():
        names = [
            unit.name
            for owner, unit in module.units
            if owner == name
            and (module.name, name, unit.name) in everything.units
            and (module.name, name, unit.name) not in later.units
        ]
        for one in node.body:
            if isinstance(one, ast.Assign) and one.targets[0].id not in later.attributes:
                names.append(one.targets[0].id)
        yield name, names


# --- what nothing refers to ---


def _without(program, reach, name):
    """The module's source without what is not reached; lines stay where they are."""
    module = program.modules[name]
    lines = module.text.split("\n")
    if name.split(".")[0] not in _OWN or name == CONFIG:
        return module.text
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef):
            if not reach.needs(name, node.name):
                _blank(lines, node)
            else:
                _thin_class(lines, node, reach, name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if (name, None, node.name) not in reach.units and not node.name.startswith("__"):
                _blank(lines, node)
        elif _is_plain(node) and not reach.needs(name, node.targets[0].id):
            _blank(lines, node)
    _thin_imports(lines, module.tree, reach, name)
    return "\n".join(lines)


def _thin_class(lines, node, reach, name):
    left = False
    for inner in node.body:
        is_function = isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and (name, node.name, inner.name) not in reach.units:
            _blank(lines, inner)
        else:
            left = True
    if not left:
        at = node.body[0].lineno - 1
        lines[at] = " " * node.body[0].col_offset + "pass"


def _thin_imports(lines, tree, reach, name):
    """Statements of one line are looked at together: inline.py adds some to a line."""
    rows = {}
    for node in flat(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            rows.setdefault(node.lineno, []).append(node)
    for row in rows.values():
        texts = [_thin_import(node, reach, name) for node in row]
        if texts != [ast.unparse(node) for node in row]:
            for node in row:
                _blank(lines, node)
            text = "; ".join(filter(None, texts)) or "pass"
            lines[row[0].lineno - 1] = " " * row[0].col_offset + text


def _thin_import(node, reach, name):
    """The statement's text without what nothing refers to; "": all of it."""
    if isinstance(node, ast.Import):
        return ast.unparse(node)
    kept = [one for one in node.names if reach.needs(name, one.asname or one.name)]
    if not kept:
        return ""
    return ast.unparse(ast.ImportFrom(module=node.module, names=kept, level=0))


def _is_plain(node):
    """True for a name that is given a value of constants."""
    if (
        not isinstance(node, ast.Assign)
        or len(node.targets) != 1
        or not isinstance(node.targets[0], ast.Name)
    ):
        return False
    if node.targets[0].id.startswith("__"):
        return False
    parts = (ast.Constant, ast.Tuple, ast.Load, ast.UnaryOp, ast.USub, ast.BinOp, ast.operator)
    return all(
        isinstance(part, parts)
        or isinstance(part, ast.Call)
        and getattr(part.func, "id", None) == "const"
        or getattr(part, "id", None) == "const"
        for part in ast.walk(node.value)
    )


def _blank(lines, node):
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    for at in range(first - 1, node.end_lineno):
        lines[at] = ""


_HEAD = '''"""What only the boot needs: modules; (module, its names, ((class, its names), ...)).

Generated with this firmware, for hal/after_boot.py.
"""

'''
