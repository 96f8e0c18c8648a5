"""Constants of other modules, put where they are used: `wire.REQUEST` becomes 1.

MicroPython's `const` does so within the module that defines the name. Here the names of all
others go, too, which takes them out of RAM, and looking them up out of the instructions. Lines
stay where they are, so a traceback is that of the source.
"""

import ast

_SMALL = range(-0x2000, 0x2000)  # what a constant tuple may hold, see tests/test_tidy.py
_OPERATIONS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.LShift: lambda a, b: a << b,
    ast.BitOr: lambda a, b: a | b,
}


def folded(texts, left_out=()):
    """{module: source} with constants in place of their names; those of `left_out` stay."""
    trees = {name: ast.parse(text) for name, text in texts.items()}
    values = {}
    for name, tree in trees.items():
        if name not in left_out:
            values[name] = _constants(tree)
    return {name: _replaced(texts[name], tree, name, values) for name, tree in trees.items()}


def _value(node, known):
    """The integer that an expression is, or None."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "const":
        return _value(node.args[0], known)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand, known)
        return None if value is None else -value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left, known), _value(node.right, known)
        if left is not None and right is not None:
            return _OPERATIONS[type(node.op)](left, right)
    return None


def _stored(tree):
    """{name: how often it is given a value} anywhere in a module, arguments included."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found[node.id] = found.get(node.id, 0) + 1
        elif isinstance(node, ast.arg):
            found[node.arg] = found.get(node.arg, 0) + 1
    return found


def _constants(tree):
    stored = _stored(tree)
    known = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            value = _value(node.value, known)
            if value is not None and stored[name] == 1 and not name.startswith("__"):
                known[name] = value
    return known


def _replaced(text, tree, own, values):
    known, modules = _imported(tree, values)
    known |= values.get(own, {})
    spans = []
    for node, in_tuple in _expressions(tree):
        value = None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            value = known.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            value = modules.get(node.value.id, {}).get(node.attr)
        if value is not None and not (in_tuple and value not in _SMALL):
            spans.append((node, str(value) if value >= 0 else f"({value})"))
    return _edited(text, spans)


def _imported(tree, values):
    """({name: constant}, {name of a module: its constants}) of what a module imports."""
    stored = _stored(tree)
    known, modules = {}, {}
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            name = alias.asname or alias.name
            if name in stored:
                continue
            if alias.name in values.get(node.module, {}):
                known[name] = values[node.module][alias.name]
            elif f"{node.module}.{alias.name}" in values:
                modules[name] = values[f"{node.module}.{alias.name}"]
    return known, modules


def _expressions(node, in_tuple=False):
    """Every expression, an attribute before what it is of; whether it stands in a tuple."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr):
            continue  # Python 3.11 does not say where its parts are
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
            yield child, in_tuple
            yield child.value, in_tuple
        else:
            yield child, in_tuple
            yield from _expressions(child, isinstance(child, ast.Tuple))


def _edited(text, spans):
    """`text` with nodes, each in one line, replaced; the last ones first."""
    lines = text.split("\n")
    taken = set()
    for node, new in sorted(spans, key=lambda s: (-s[0].lineno, -s[0].col_offset, s[1])):
        place = (node.lineno, node.col_offset)
        if place in taken or node.lineno != node.end_lineno:
            continue
        taken.add(place)
        line = lines[node.lineno - 1].encode()
        line = line[: node.col_offset] + new.encode() + line[node.end_col_offset :]
        lines[node.lineno - 1] = line.decode()
    return "\n".join(lines)
