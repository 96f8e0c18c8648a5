"""Modules that nobody asks for by name, made one: names that all import are there once.

What a replica is made of is some thirty modules. Each takes 32 bytes and 8 for each name in it,
most of which are the same functions imported again. Here those that are imported together, for
their names only, follow one another in one source: `tinybft/parts.py`, which lies among the staged
sources, so that a traceback's line can be looked up. Names that differ in meaning get their
module's behind them.
"""

import ast

from tools.firmware.program import flat


def bundled(texts, name, root, before, users=()):
    """{module: source}; modules that importing `root` brings are one, called `name`.

    before: modules that are imported earlier. What these import, too, stays where it is. users:
    modules that may import from the one whenever they like.
    """
    program = _Imports(texts)
    early = set(program.closure(before))
    late = [one for one in program.closure([root]) if one not in early]
    inside = _fitting(program, late, early | set(users), root)
    if len(inside) < 2:
        return texts
    order = [one for one in late if one in inside]
    return _Bundle(program, order, name).texts()


class _Imports:
    def __init__(self, texts):
        self.source = texts
        self.trees = {name: ast.parse(text) for name, text in texts.items()}
        self.tops = {name: self._of(flat(tree.body)) for name, tree in self.trees.items()}
        self.all = {name: self._of(ast.walk(tree)) for name, tree in self.trees.items()}

    def _of(self, nodes):
        """[(module, name imported from it, or None for the module itself)], in order."""
        found = []
        for node in nodes:
            if isinstance(node, ast.Import):
                found += [(alias.name, None) for alias in node.names if alias.name in self.source]
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    if whole in self.source:
                        found.append((whole, None))
                    elif node.module in self.source:
                        found.append((node.module, alias.name))
        return found

    def closure(self, roots):
        """Modules in the order in which their bodies end."""
        done, order = set(), []

        def visit(module):
            if module not in done:
                done.add(module)
                for one, _ in self.tops.get(module, ()):
                    visit(one)
                order.append(module)

        for root in roots:
            if root in self.source:
                visit(root)
        return order


def _fitting(program, late, early, root):
    inside = set(late) - {root}
    known = set(late) | early
    for module, found in program.all.items():
        for one, name in found:
            if name is None or module not in known or (one, name) not in program.tops[module]:
                inside.discard(one)  # by its own name, or later
    inside = {one for one in inside if one.startswith("tinybft.") and _is_plain(program, one)}
    changes = True
    while changes:  # what is outside must not import it while it is being imported
        changes = False
        outside = [one for one in program.closure(sorted(inside)) if one not in inside]
        for module in outside:
            taken = {one for one, _ in program.tops[module]} & inside
            changes = changes or bool(taken)
            inside -= taken
    return inside


def _is_plain(program, module):
    return not any(isinstance(node, ast.Global) for node in ast.walk(program.trees[module]))


class _Bundle:
    def __init__(self, program, order, name):
        self._program = program
        self._order = order
        self._name = name
        self._final = {}  # (module, name): its name in the bundle
        self._imported = {}  # name in the bundle: (module, name) outside
        self._locals = {module: _locals(program.trees[module]) for module in order}
        taken = set()
        for module in order:
            for one in _defined(program.trees[module]):
                final = one
                while final in taken:
                    final += "_" + module.split(".")[-1]
                taken.add(final)
                self._final[module, one] = final
        self._taken = taken

    def texts(self):
        bodies = []
        for module in self._order:
            bodies.append(f"# {module.replace('.', '/')}.py\n" + self._inner(module))
        result = {
            name: self._outer(name) for name in self._program.source if name not in self._order
        }
        result[self._name] = "\n".join(bodies) + "\n"
        return result

    def _outer(self, name):
        """A source that imports from the bundle."""
        spans = []
        for node in ast.walk(self._program.trees[name]):
            if isinstance(node, ast.ImportFrom) and node.module in self._order:
                words = []
                for alias in node.names:
                    final = self._final[node.module, alias.name]
                    here = alias.asname or alias.name
                    words.append(final if final == here else f"{final} as {here}")
                spans.append((node, f"from {self._name} import " + ", ".join(words)))
        return _replaced(self._program.source[name], spans)

    def _inner(self, module):
        tree = self._program.trees[module]
        spans, names = [], {}
        for node in flat(tree.body):
            if isinstance(node, ast.ImportFrom) and node.module in self._order:
                words = []
                for alias in node.names:
                    here, final = alias.asname or alias.name, self._final[node.module, alias.name]
                    if here != final and final in self._locals[module]:
                        words.append(f"{here}_of_{module.split('.')[-1]} = {final}")
                        final = words[-1].split()[0]
                    names[here] = final
                spans.append((node, "; ".join(words) or "pass"))
            elif isinstance(node, ast.ImportFrom | ast.Import):
                spans.append((node, self._import(node, names, module)))
        for one in _defined(tree):
            names[one] = self._final[module, one]
        names = {name: final for name, final in names.items() if name != final}
        renaming = _Renaming(names)
        renaming.visit(tree)
        return _replaced(self._program.source[module], spans + renaming.spans)

    def _import(self, node, names, module):
        """The statement; a name that means something else in the bundle gets another one."""
        words = []
        for alias in node.names:
            here = alias.asname or alias.name
            source = (getattr(node, "module", None), alias.name)
            final = here
            while final in self._taken or self._imported.get(final, source) != source:
                final += "_" + module.split(".")[-1]
            self._imported[final] = source
            names[here] = final
            words.append(alias.name if final == alias.name else f"{alias.name} as {final}")
        head = f"from {node.module} import " if isinstance(node, ast.ImportFrom) else "import "
        return head + ", ".join(words)


def _defined(tree):
    """Names that a module has of its own."""
    found = []
    for node in flat(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign | ast.For | ast.AugAssign):
            for one in ast.walk(node):
                if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                    found.append(one.id)
    return list(dict.fromkeys(found))


def _locals(tree):
    """Every name that some function has for itself."""
    found = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return found | {
        node.id
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


class _Renaming(ast.NodeVisitor):
    def __init__(self, names):
        self.spans = []
        self._names = names
        self._local = set()
        self._owner = None

    def visit_ClassDef(self, node):
        self._head(node, "class ")
        for part in (*node.bases, *node.decorator_list):
            self.visit(part)
        outer, self._owner = self._owner, node
        for inner in node.body:
            if isinstance(inner, ast.Assign):  # its own names
                self.visit(inner.value)
            else:
                self.visit(inner)
        self._owner = outer

    def visit_FunctionDef(self, node):
        if self._owner is None:
            self._head(node, "async def " if isinstance(node, ast.AsyncFunctionDef) else "def ")
        for part in (*node.decorator_list, *node.args.defaults):
            self.visit(part)
        outer, owner = self._local, self._owner
        found = {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                found.add(one.id)
            elif isinstance(one, ast.Import | ast.ImportFrom):
                found |= {alias.asname or alias.name for alias in one.names}
        self._local, self._owner = outer | found, node
        for inner in node.body:
            self.visit(inner)
        self._local, self._owner = outer, owner

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Name(self, node):
        if node.id in self._names and node.id not in self._local:
            self.spans.append((node, self._names[node.id]))

    def _head(self, node, word):
        if node.name in self._names:
            at = node.col_offset + len(word)
            place = ast.Name(node.name, lineno=node.lineno, col_offset=at)
            place.end_lineno, place.end_col_offset = node.lineno, at + len(node.name)
            self.spans.append((place, self._names[node.name]))


def _replaced(text, spans):
    """`text` with nodes replaced, the last ones first; what took several lines leaves them."""
    lines = text.split("\n")
    for node, new in sorted(spans, key=lambda s: (-s[0].lineno, -s[0].col_offset)):
        first, last = node.lineno - 1, node.end_lineno - 1
        head = lines[first].encode()[: node.col_offset].decode()
        tail = lines[last].encode()[node.end_col_offset :].decode()
        lines[first : last + 1] = [head + new + tail] + [""] * (last - first)
    return "\n".join(lines)
