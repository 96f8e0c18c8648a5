"""Short functions, put where they are called: `slots.digest_at(base)` becomes an expression.

A function that is `return <expression>` and nothing else costs 24 bytes of RAM, and each call of
it more instructions than the expression. Done by names, as in program.py, where that is safe:

* a method's name is defined once in the whole program, is no attribute of anything else, and
  none of the types that Python brings has it: then whatever it is called on is of that class;
* arguments, and what a method is called on, are names, constants and the like, which may be
  looked up twice or in another order; what does more is used once and stands alone.

Of machine code in viper's types: what is called from other functions loses its casts, in one that
is viper itself each argument gets its parameter's; there only viper's functions are put.

Lines stay where they are.
"""

import ast
import builtins
import copy

_PURE = {"get_u16", "get_u32", "len", "min", "max", "elapsed"}
_VIPER_TYPES = {"int", "uint", "bool", "ptr8", "ptr16", "ptr32"}
_TYPES = (str, bytes, bytearray, int, list, tuple, dict, set, memoryview, object, Exception)
_TAKEN = {name for kind in _TYPES for name in dir(kind)} | {"read", "write", "collect", "send"}
_USES_MAX = 3  # of an attribute in place of a parameter, less one for each further dot
_PASSES = 4


def inlined(texts):
    """{module: source} with calls replaced."""
    for _ in range(_PASSES):
        trees = {name: ast.parse(text) for name, text in texts.items()}
        functions = _functions(trees)
        sources = {name: _sources(tree) for name, tree in trees.items()}
        result = {
            name: _Sites(trees, name, functions, sources).text(text)
            for name, text in texts.items()
        }
        if result == texts:
            break
        texts = result
    return texts


def _sources(tree):
    """{name: (module, name there)} of what a module imports."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


class _Short:
    """A function that is one expression."""

    def __init__(self, module, owner, node):
        self.module = module
        self.is_method = owner is not None
        self.name = node.name
        self.parameters = [argument.arg for argument in node.args.args]
        self.defaults = node.args.defaults
        returned = _returned(node)
        self.does_nothing = returned is None
        self.expression = ast.Constant(None) if returned is None else returned
        names = [one.id for one in ast.walk(self.expression) if isinstance(one, ast.Name)]
        self.uses = {name: names.count(name) for name in self.parameters}
        self.free = {name for name in names if name not in self.parameters}
        self.is_viper = _is_viper(node)
        self.types = {
            argument.arg: argument.annotation.id
            for argument in node.args.args
            if self.is_viper and argument.annotation is not None
        }
        if self.is_viper and node.returns is not None:
            self.types["return"] = node.returns.id


def _functions(trees):
    """{method's name, or (module, function's name): _Short}."""
    found, seen = {}, {}
    stored = set()
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                stored.add(node.attr)
            elif isinstance(node, ast.ClassDef):
                stored |= _count_methods(node, tree, seen)
        for name, node in _nothings(tree):
            found[name] = _Short(module, tree, node)
        for owner, node in _defined(tree):
            if _is_short(node):
                short = _Short(module, owner, node)
                found[node.name if short.is_method else (module, node.name)] = short
    return {
        name: short
        for name, short in found.items()
        if not short.is_method or (seen[name] == 1 and name not in stored and name not in _TAKEN)
    }


def _count_methods(node, tree, seen):
    """Count the names of a class's methods in `seen`; returns its other names."""
    others = set()
    for one in node.body:
        names = set()
        if isinstance(one, ast.Assign):
            names = {getattr(target, "id", "") for target in one.targets}
            if not _is_nothing(one.value, tree):
                others |= names
                continue
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {one.name}
        for name in names:
            seen[name] = seen.get(name, 0) + 1
    return others


def _nothings(tree):
    """(method's name, the function of the module that it is), where that does nothing."""
    for node in tree.body:
        for one in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(one, ast.Assign) and _is_nothing(one.value, tree):
                for target in one.targets:
                    yield target.id, _is_nothing(one.value, tree)


def _is_nothing(value, tree):
    """The function of a module that a name stands for, if it does nothing."""
    for node in tree.body if isinstance(value, ast.Name) else ():
        if isinstance(node, ast.FunctionDef) and node.name == value.id and _is_short(node):
            return node if _returned(node) is None else None
    return None


def _defined(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield None, node
        elif isinstance(node, ast.ClassDef):
            yield from ((node, inner) for inner in node.body if isinstance(inner, ast.FunctionDef))


def _is_viper(node):
    return any(getattr(one, "attr", None) == "viper" for one in node.decorator_list)


def _body(node):
    """Statements of a function without its docstring, and without what cannot run."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    if body and isinstance(body[0], ast.If) and _is_true(body[0].test):
        return body[0].body
    return body


def _is_true(test):
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return isinstance(test.operand, ast.Constant) and not test.operand.value
    return isinstance(test, ast.Constant) and bool(test.value)


def _returned(node):
    """The expression of a function that is nothing else, or None."""
    body = _body(node)
    return body[0].value if body and isinstance(body[0], ast.Return) else None


def _is_short(node):
    body = _body(node)
    does_nothing = not body or len(body) == 1 and isinstance(body[0], ast.Pass)
    if not does_nothing and (len(body) != 1 or _returned(node) is None):
        return False
    if node.name.startswith("__") or node.args.kwonlyargs or node.args.vararg or node.args.kwarg:
        return False
    allowed = {"native", "viper"}
    if any(getattr(one, "attr", None) not in allowed for one in node.decorator_list):
        return False
    banned = (ast.Lambda, ast.JoinedStr, ast.Yield, ast.Await, ast.NamedExpr, ast.Starred)
    banned += (ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp, ast.Dict, ast.List)
    parts = [] if does_nothing else list(ast.walk(body[0].value))
    return len(parts) < 60 and not any(isinstance(part, banned) for part in parts)


def _is_simple(node):
    """Looking it up twice is the same as once."""
    if isinstance(node, ast.Attribute):
        return _is_simple(node.value)
    return isinstance(node, ast.Name | ast.Constant)


def _uses_max(node):
    if not _is_simple(node):
        return 1
    dots = 0
    while isinstance(node, ast.Attribute):
        node = node.value
        dots += 1
    return max(1, _USES_MAX + 1 - dots) if dots else 99


def _is_pure(node):
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", None)
        return name in _PURE and all(map(_is_pure, node.args)) and not node.keywords
    if isinstance(node, ast.BinOp | ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Subscript):
        parts = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)]
        return all(map(_is_pure, parts))
    return _is_simple(node)


class _Sites(ast.NodeVisitor):
    """Calls in one module that can be replaced."""

    def __init__(self, trees, module, functions, sources):
        self._module = module
        self._functions = functions
        self._tree = trees[module]
        self._imported = {}
        self._missing = {}
        self._local = set()
        self._in_viper = False
        self._spans = []
        for node in ast.walk(self._tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = (node.module, alias.name)
        self._sources = sources

    def text(self, text):
        self.visit(self._tree)
        return _with_imports(_edited(text, self._spans), self._missing)

    def visit_FunctionDef(self, node):
        outer = self._local
        stored = {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                stored.add(one.id)
        self._local = outer | stored
        outside = self._in_viper
        self._in_viper = _is_viper(node)
        for statement in node.body:
            self.visit(statement)
        self._local = outer
        self._in_viper = outside

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_JoinedStr(self, node):
        """Python 3.11 does not say where its parts are."""

    def visit_UnaryOp(self, node):
        """Viper negates objects, as a call gives, but no numbers."""
        is_kept = self._in_viper and isinstance(node.op, ast.Not)
        if is_kept and isinstance(node.operand, ast.Call):
            self.generic_visit(node.operand)
        else:
            self.visit(node.operand)

    def visit_Call(self, node):
        short, receiver = self._called(node)
        if short is not None:
            text = self._expression(short, receiver, node)
            if text is not None:
                self._spans.append((node, text))
                return
        self.generic_visit(node)

    def _called(self, node):
        function = node.func
        if isinstance(function, ast.Attribute):
            base = getattr(function.value, "id", None)
            if base in self._imported and base not in self._local:
                return self._functions.get((".".join(self._imported[base]), function.attr)), None
            return self._functions.get(function.attr), function.value
        if isinstance(function, ast.Name) and function.id not in self._local:
            source = self._imported.get(function.id, (self._module, function.id))
            return self._functions.get(source), None
        return None, None

    def _expression(self, short, receiver, node):
        """The text in place of the call, or None."""
        if self._in_viper and not short.is_viper:
            return None
        arguments = _arguments(short, receiver, node)
        if arguments is None:
            return None
        if short.free & self._local or not self._can_see(short):
            return None
        return "(" + ast.unparse(_Put(arguments).visit(self._typed(short, arguments))) + ")"

    def _typed(self, short, arguments):
        """The function's expression, in viper's types where they are of use."""
        expression = copy.deepcopy(short.expression)
        if not self._in_viper:
            return _WithoutCasts().visit(expression) if short.is_viper else expression
        for name, kind in short.types.items():
            if name in arguments:
                arguments[name] = _cast(kind, arguments[name])
        return _cast(short.types["return"], expression) if "return" in short.types else expression

    def _can_see(self, short):
        """Names of the function's own module have to be here, too, or can be imported."""
        wanted = {}
        for name in short.free:
            if hasattr(builtins, name) or name in _VIPER_TYPES:
                continue
            source = self._sources[short.module].get(name, (short.module, name))
            if self._module == short.module:
                continue
            if self._imported.get(name, source) != source or source[0] == self._module:
                return False
            wanted[name] = source
        for name, source in wanted.items():
            if name not in self._imported:
                self._imported[name] = source
                self._missing[name] = source
        return True


def _cast(kind, node):
    return ast.Call(ast.Name(kind, ast.Load()), [node], [])


def _arguments(short, receiver, node):
    """{parameter: what is given for it}, or None if that is not known, or cannot be put there."""
    given = ([receiver] if short.is_method else []) + node.args
    if short.does_nothing:
        return {} if all(map(_is_pure, given)) and not node.keywords else None
    missing = len(short.parameters) - len(given)
    if missing > 0:
        given += short.defaults[len(short.defaults) - missing :]
    if node.keywords or len(given) != len(short.parameters):
        return None
    arguments = dict(zip(short.parameters, given, strict=True))
    for name, value in arguments.items():
        if not _is_pure(value) or short.uses[name] > _uses_max(value):
            return None
    return arguments


class _WithoutCasts(ast.NodeTransformer):
    """Viper's types are of no use where all are objects."""

    def visit_Call(self, node):
        self.generic_visit(node)
        return node.args[0] if getattr(node.func, "id", None) in _VIPER_TYPES else node


class _Put(ast.NodeTransformer):
    """Arguments in place of parameters."""

    def __init__(self, arguments):
        self._arguments = arguments

    def visit_Name(self, node):
        return self._arguments.get(node.id, node)


def _edited(text, spans):
    """`text` with nodes replaced, the last ones first; a node's lines stay."""
    lines = text.split("\n")
    for node, new in sorted(spans, key=lambda s: (-s[0].lineno, -s[0].col_offset)):
        first, last = node.lineno - 1, node.end_lineno - 1
        head = lines[first].encode()[: node.col_offset].decode()
        tail = lines[last].encode()[node.end_col_offset :].decode()
        if first == last:
            lines[first] = head + new + tail
        else:
            lines[first] = head + new[:-1]
            lines[first + 1 : last] = [""] * (last - first - 1)
            lines[last] = ")" + tail
    return "\n".join(lines)


def _with_imports(text, missing):
    """Further imports in the line of the first one that has a line for itself."""
    if not missing:
        return text
    words = [
        f"from {module} import {name}" + (f" as {alias}" if alias != name else "")
        for alias, (module, name) in sorted(missing.items())
    ]
    lines = text.split("\n")
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno == node.end_lineno:
            lines[node.lineno - 1] = "; ".join([*words, lines[node.lineno - 1]])
            return "\n".join(lines)
    at = ast.parse(text).body[0].end_lineno
    lines[at] = "; ".join(words)
    return "\n".join(lines)
