"""Fields that the configuration fixes, put where they are read: `self._size` becomes 412.

A firmware has one configuration, so `self._window = config.WINDOW` in an `__init__` gives every
object of the class the same number: 8 bytes of RAM that need not be there, and a look-up for each
use. What such an assignment gives is computed here, by the project's own modules, offsets of
regions included. Lines stay where they are.
"""

import ast
import importlib
from types import SimpleNamespace

_POINTERS = ("ptr", "ptr8", "ptr16", "ptr32")
_SMALL = range(-0x20000000, 0x20000000)  # what a 32-bit MicroPython needs no object for


def fixed(texts, config, as_they_are=()):
    """{module: source}; such fields are numbers, stored no more where nobody reads them.

    as_they_are: modules whose reads stay.
    """
    trees = {name: ast.parse(text) for name, text in texts.items()}
    stored = _stored(trees)
    values = {}  # (module, class): {field: number}
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found = _fields(module, node, config)
                values[module, node.name] = {
                    name: value for name, value in found.items() if stored[name][1] == 0
                }
    alone = {
        name: value
        for fields in values.values()
        for name, value in fields.items()
        if stored[name][0] == 1
    }
    constants = {
        name: value
        for name, value in vars(config).items()
        if name.isupper() and type(value) in (int, bool) and value in _SMALL
    }
    texts = {
        name: texts[name]
        if name in as_they_are
        else _read(texts[name], tree, name, values, alone, constants)
        for name, tree in trees.items()
    }
    return _without_stores(texts, values)


def _stored(trees):
    """{attribute: [stores in an __init__, other definitions]}."""
    found = {}
    for tree in trees.values():
        stores = [one.targets[0] for one in _init_statements(tree) if is_store(one)]
        for target in stores:
            found.setdefault(target.attr, [0, 0])[0] += 1
        for name in _others(tree, set(map(id, stores))):
            found.setdefault(name, [0, 0])[1] += 1
    return found


def _init_statements(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if getattr(inner, "name", None) == "__init__":
                    yield from inner.body


def _others(tree, stores):
    """Names of methods and of a class's own, and attributes stored elsewhere than in `stores`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield getattr(inner, "name", "")
                yield from (getattr(target, "id", "") for target in getattr(inner, "targets", []))
        is_store = isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        if is_store and id(node) not in stores:
            yield node.attr


def is_store(node):
    """`self.field = ...`"""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return False
    target = node.targets[0]
    return isinstance(target, ast.Attribute) and getattr(target.value, "id", None) == "self"


def _fields(module, node, config):
    """{field: number} of what __init__ computes from the configuration alone."""
    init = next((one for one in node.body if getattr(one, "name", None) == "__init__"), None)
    if init is None:
        return {}
    try:
        names = vars(importlib.import_module(module))
    except (ImportError, AttributeError):
        return {}  # of a board
    parameters = {argument.arg for argument in init.args.args}
    given = {"config": config, "core": SimpleNamespace(config=config)}
    known = {name: value for name, value in given.items() if name in parameters}
    found = {}
    for statement in init.body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            for one in ast.walk(statement):
                if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                    known[one.id] = None
            continue
        value = _computed(statement.value, names, known, parameters)
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            known[target.id] = value
        elif is_store(statement) and type(value) in (int, bool) and value in _SMALL:
            found[target.attr] = value
    return found


def _computed(node, names, known, parameters):
    """What an expression gives if only what is known takes part; else None."""
    read = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    if isinstance(node, ast.Constant) or not read & set(known):
        return None  # does not come from the configuration
    if read & parameters - set(known) or any(known.get(name, 0) is None for name in read):
        return None
    try:
        return eval(compile(ast.Expression(node), "<field>", "eval"), names, known)
    except Exception:  # noqa: BLE001 - what cannot be computed here stays a field
        return None


def _read(text, tree, module, values, alone, constants):  # noqa: PLR0913 - what is known
    """The text with numbers for fields of its classes, of any class, and of the configuration."""
    lines = [line.encode() for line in text.split("\n")]
    spans = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            fields = values.get((module, node.name), {})
            spans += [
                (one, fields[one.attr])
                for one in ast.walk(node)
                if isinstance(one, ast.Attribute)
                and isinstance(one.ctx, ast.Load)
                and getattr(one.value, "id", None) == "self"
                and one.attr in fields
            ]
    objects = _objects_in_viper(tree)
    spans = [(node, value) for node, value in spans if id(node) not in objects]
    taken = objects | {id(node) for node, _ in spans}
    for node in ast.walk(tree):
        is_read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        if is_read and id(node) not in taken:
            if node.attr in alone:
                spans.append((node, alone[node.attr]))
            elif node.attr in constants and _name_of(node.value) == "config":
                spans.append((node, constants[node.attr]))
    for node, value in sorted(spans, key=lambda s: (-s[0].lineno, -s[0].col_offset)):
        if node.lineno == node.end_lineno:
            at = node.lineno - 1
            number = str(value) if value >= 0 else f"({value})"
            lines[at] = (
                lines[at][: node.col_offset] + number.encode() + lines[at][node.end_col_offset :]
            )
    return "\n".join(line.decode() for line in lines)


def read_as(text, tree, numbers):
    """The text with {field: number} put where the fields are read, of whatever object."""
    return _read(text, tree, None, {}, numbers, {})


def _name_of(node):
    """`config` of `config`, and of `core.config`."""
    return getattr(node, "attr", getattr(node, "id", None))


def _objects_in_viper(tree):
    """Attributes that viper's machine code takes as objects: a number is of another type there.

    Where it is cast, or handed to a function, it may be one.
    """
    found = set()
    for function in ast.walk(tree):
        if any(
            getattr(one, "attr", "") == "viper" for one in getattr(function, "decorator_list", ())
        ):
            cast = {
                id(argument)
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") not in _POINTERS
                for argument in node.args
            }
            found |= {id(node) for node in ast.walk(function) if isinstance(node, ast.Attribute)}
            found -= cast
    return found


def _without_stores(texts, values):
    trees = {name: ast.parse(text) for name, text in texts.items()}
    read = {
        node.attr
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    result = {}
    for module, tree in trees.items():
        lines = texts[module].split("\n")
        for node in tree.body:
            fields = values.get((module, getattr(node, "name", None)), {})
            for init in node.body if fields else ():
                for one in init.body if getattr(init, "name", None) == "__init__" else ():
                    if is_store(one) and one.targets[0].attr in set(fields) - read:
                        lines[one.lineno - 1 : one.end_lineno] = [""] * (
                            one.end_lineno - one.lineno + 1
                        )
        result[module] = "\n".join(lines)
    return result
