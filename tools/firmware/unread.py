"""Private fields that need not be there: those of one number for ever, and those nobody reads.

After the parts are one object (whole.py) a field's name means one thing, so that more of them are
seen to be constants than fixed.py can tell, class by class. An object's fields lie in a table of
1.0 to 1.3 times their number, 8 bytes each. Lines stay where they are.
"""

import ast

from tools.firmware.fixed import is_store, read_as

_BYTES = "bytearray"  # what it is given may make nothing else


def without_unread(texts, own, as_they_are=()):
    """{module: source}. own: the packages whose fields these are. as_they_are: not changed."""
    trees = {name: ast.parse(text) for name, text in texts.items()}
    changed = [name for name in texts if name.split(".")[0] in own and name not in as_they_are]
    numbers = _numbers(trees, changed)
    texts = dict(texts)
    for name in changed:
        texts[name] = read_as(texts[name], trees[name], numbers)
    trees = {name: ast.parse(text) for name, text in texts.items()}
    read = _named(trees)
    for name in changed:
        lines = texts[name].split("\n")
        for node in _stores(trees[name]):
            if node.targets[0].attr not in read and _is_plain(node.value):
                rows = range(node.lineno - 1, node.end_lineno)
                if all(_is_alone(lines[at], node) for at in rows):
                    for at in rows:
                        lines[at] = ""
                    lines[rows[0]] = " " * node.col_offset + "pass"
        texts[name] = "\n".join(lines)
    return texts


def _numbers(trees, changed):
    """{field: number} of private fields that are stored once, by what makes their object."""
    count, defined = {}, set()
    for node in (node for tree in trees.values() for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            count[node.attr] = count.get(node.attr, 0) + 1
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            defined.add(node.value)
        defined.add(getattr(node, "name", None))
    found = {}
    for node in (node for module in changed for node in _first_stores(trees[module])):
        name, value = node.targets[0].attr, _number(node.value)
        if value is not None and count[name] == 1 and name not in defined:
            found[name] = value
    return found


def _first_stores(tree):
    """`self._field = ...` of what makes an object: also of a part that was one (whole.py)."""
    for owner in ast.walk(tree):
        for init in owner.body if isinstance(owner, ast.ClassDef) else ():
            if getattr(init, "name", "").startswith(("__init__", "_init_")):
                for node in init.body:
                    if is_store(node) and node.targets[0].attr.startswith("_"):
                        yield node


def _number(node):
    """What an expression of numbers alone gives; else None."""
    parts = (ast.Constant, ast.BinOp, ast.operator, ast.UnaryOp, ast.USub)
    if not all(isinstance(part, parts) for part in ast.walk(node)):
        return None
    value = eval(compile(ast.Expression(node), "<field>", "eval"), {})
    return value if type(value) in (int, bool) and abs(value) < 1 << 29 else None


def _stores(tree):
    """Statements that give a private field something, wherever they are."""
    for node in ast.walk(tree):
        if is_store(node) and node.targets[0].attr.startswith("_"):
            yield node


def _named(trees):
    """Attributes that some code reads, or changes by what they were, or has a string for."""
    found = set()
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.AugAssign):
                found.add(getattr(node.target, "attr", None))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def _is_plain(value):
    """True if to compute it does nothing else, and cannot fail."""
    for part in ast.walk(value):
        if isinstance(part, ast.Call) and getattr(part.func, "id", None) != _BYTES:
            return False
        if isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            return False
    return True


def _is_alone(line, node):
    """True if the line has nothing but the statement, and perhaps what is said of it."""
    before, after = line.encode()[: node.col_offset], line.encode()[node.end_col_offset :]
    return node.lineno == node.end_lineno and not before.strip() and after.strip()[:1] in b"#"
