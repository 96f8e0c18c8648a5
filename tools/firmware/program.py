"""A firmware's sources as one program: which names its code refers to, what that reaches.

By names: `x.take(...)` reaches every function and method called `take`, whatever x is. So rather
too much is taken for reached than too little, as long as no attribute is named by a string. A
test of the configuration (`if config.DURABLE:`) is decided here, since a firmware has but one.
"""

import ast
from dataclasses import dataclass, field

_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_ENDS = ast.Return | ast.Raise


class Module:
    """One source: its functions and methods as `units`, (class or None, node) each."""

    def __init__(self, name, text):
        self.name = name
        self.text = text
        self.tree = ast.parse(text)
        self.classes = {}
        self.units = []
        self.imported = []  # (alias, (module, name)) of the imports of the module itself
        for node in flat(self.tree.body):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    source = (node.module, alias.name)
                    self.imported.append((alias.asname or alias.name, source))
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
                for inner in flat(node.body):
                    if isinstance(inner, _DEFINITIONS):
                        self.units.append((node.name, inner))
            elif isinstance(node, _DEFINITIONS):
                self.units.append((None, node))


def flat(body):
    """The statements of a module or class, those in `if` and `try` included."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            for part in (node.body, node.orelse, getattr(node, "finalbody", [])):
                yield from flat(part)
            for clause in getattr(node, "handlers", []):
                yield from flat(clause.body)
        yield node


@dataclass
class References:
    """What some code refers to."""

    loads: set = field(default_factory=set)  # names, its own locals left out
    attributes: set = field(default_factory=set)  # x.name
    dotted: set = field(default_factory=set)  # (x, name, ...) of x.name...
    strings: set = field(default_factory=set)
    kept: set = field(default_factory=set)  # both, where they are not called but handed on
    imports: list = field(default_factory=list)  # (module, name or None)
    inner: list = field(default_factory=list)  # functions within functions


class Program:
    """`texts`: {module: source}; `config`: its attributes decide tests of the configuration.

    hidden: modules that no source has a name for, so what is in them is no attribute.
    """

    def __init__(self, texts, config, hidden=()):
        self.config = config
        self.hidden = set(hidden)
        self.modules = {name: Module(name, text) for name, text in texts.items()}
        self.importers = {}  # (module, name): [(module, alias), ...]
        self.for_modules = set()  # (module, alias) of another module
        self._with_state = {}  # module: see has_state
        for module in self.modules.values():
            for alias, source in module.imported:
                if ".".join(source) in self.modules:
                    self.for_modules.add((module.name, alias))
                self.importers.setdefault(source, []).append((module.name, alias))
        self._find_names()
        self._homes = {}
        for module in self.modules.values():
            for node in module.tree.body:
                if isinstance(node, ast.Assign) and _target(node) == "_HOMES":
                    for name, home in ast.literal_eval(node.value):
                        home = f"{module.name}.{home}"
                        if home in self.modules:
                            self._homes[module.name, name] = home

    def _find_names(self):
        self._names = {name: _names_of_modules(one.tree) for name, one in self.modules.items()}
        self.re_exported = set()  # modules that others ask for by a further module's name
        self.handed_on = set()  # those that some variable may stand for
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Attribute) and _dotted(node):
                    self.asked_for(module.name, _dotted(node))
            for name in _handed_on(module.tree):
                self.handed_on |= self._named(module.name, name)

    def sources(self, module, name):
        """Modules that `from module import name`, or `import module`, makes use of."""
        found = []
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            found.append(".".join(parts[:end]))
        if name is not None:
            found.append(f"{module}.{name}")
            found.append(self._homes.get((module, name)))
        return [one for one in found if one in self.modules]

    def _named(self, module, name):
        """Modules that a module has this name for, in any of its functions."""
        found = set()
        for source, inner in self._names[module].get(name, ()):
            whole = f"{source}.{inner}" if source else inner
            if whole in self.modules:
                found.add(whole)
            elif source in self.modules and (source, inner) != (module, name):
                self.re_exported |= self._named(source, inner)
                found |= self._named(source, inner)
        return found

    def asked_for(self, module, dotted):
        """(module, name) of what `x.name.name` looks up in modules, x being one of its names."""
        found = set()
        targets = self._named(module, dotted[0])
        for name in dotted[1:]:
            found |= {(target, name) for target in targets}
            inner = {f"{target}.{name}" for target in targets} & set(self.modules)
            others = set().union(*(self._named(target, name) for target in targets))
            self.re_exported |= others - inner
            targets = inner | others
        return found

    def has_state(self, name):
        """Whether a module that is imported anew is another one: of variables, or exceptions."""
        if name not in self._with_state:  # asked a thousand times
            self._with_state[name] = any(
                isinstance(node, ast.Global) or isinstance(node, ast.ClassDef) and node.bases
                for node in ast.walk(self.modules[name].tree)
            )
        return self._with_state[name]

    def homes_of(self, attributes):
        """Modules that a package imports when it is asked for one of these."""
        return {home for (_, name), home in self._homes.items() if name in attributes}

    def references(self, nodes, is_function=False, is_there=False):
        """Of statements; of a function its node's body, and, unless it is there, what makes it."""
        collector = _Collector(self)
        if is_function:
            collector.function(nodes, is_there)
        else:
            collector.body(nodes)
        return collector.found

    def decided(self, test):
        """(value,) of a test of the configuration; None: only known when it runs."""
        if isinstance(test, ast.Constant):
            return (test.value,)
        if isinstance(test, ast.Attribute):
            owner = getattr(test.value, "attr", getattr(test.value, "id", None))
            if owner == "config" and test.attr.isupper() and hasattr(self.config, test.attr):
                return (getattr(self.config, test.attr),)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            value = self.decided(test.operand)
            return None if value is None else (not value[0],)
        if isinstance(test, ast.BoolOp):
            values = [self.decided(one) for one in test.values]
            ends = (isinstance(test.op, ast.Or),)
            for value in values:
                if value is not None and bool(value[0]) == ends[0]:
                    return ends
            return None if None in values else (not ends[0],)
        if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq | ast.NotEq):
            left, right = self.decided(test.left), self.decided(test.comparators[0])
            if left is not None and right is not None:
                return ((left == right) is isinstance(test.ops[0], ast.Eq),)
        return None


def _target(node):
    return getattr(node.targets[0], "id", None)


def _names_of_modules(tree):
    """{name: (module or None, name) that it may stand for} by all imports of a source."""
    found = {}
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            target, name = alias.name, alias.asname or alias.name
            if isinstance(node, ast.Import) and alias.asname is None:
                target = name = alias.name.split(".")[0]
            found.setdefault(name, set()).add((getattr(node, "module", None), target))
    return found


def _handed_on(tree):
    """Names that are loaded otherwise than for an attribute."""
    bases = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in bases
    }


def _dotted(node):
    """(x, name, ...) of `x.name...`, or None."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) and names else None


class _Collector(ast.NodeVisitor):
    def __init__(self, program):
        self._program = program
        self.found = References()

    def body(self, statements):
        """True if it does not go on behind them."""
        for node in statements:
            if isinstance(node, ast.If):
                value = self._program.decided(node.test)
                if value is not None:
                    if self.body(node.body if value[0] else node.orelse):
                        return True
                    continue
            self.visit(node)
            if isinstance(node, _ENDS):
                return True
        return False

    def function(self, node, is_there=False):
        local = {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
        outside = set()
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                local.add(inner.id)
            elif isinstance(inner, ast.ImportFrom | ast.Import):
                local |= {alias.asname or alias.name for alias in inner.names}
            elif isinstance(inner, ast.Global):
                outside |= set(inner.names)
        collector = _Collector(self._program)
        collector.body(node.body)
        found = collector.found
        found.loads = (found.loads - local) | outside
        found.kept -= local
        for part in () if is_there else (*node.decorator_list, *node.args.defaults):
            self.visit(part)
        for name in ("loads", "attributes", "dotted", "strings", "kept"):
            getattr(self.found, name).update(getattr(found, name))
        self.found.imports += found.imports
        self.found.inner += found.inner

    def visit_If(self, node):
        value = self._program.decided(node.test)
        if value is None:
            self.visit(node.test)
        if value is None or value[0]:
            self.body(node.body)
        if value is None or not value[0]:
            self.body(node.orelse)

    def visit_IfExp(self, node):
        value = self._program.decided(node.test)
        if value is None:
            self.visit(node.test)
        if value is None or value[0]:
            self.visit(node.body)
        if value is None or not value[0]:
            self.visit(node.orelse)

    def visit_FunctionDef(self, node):
        self.found.inner.append(node)
        self.function(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        self.found.inner.append(node)
        self.visit(node.body)

    def visit_Call(self, node):
        self._looked_into(node.func)
        for part in (*node.args, *node.keywords):
            self.visit(part)

    def visit_Attribute(self, node):
        if isinstance(node.ctx, ast.Load):
            self.found.attributes.add(node.attr)
            self.found.dotted.add(_dotted(node))
            self.found.kept.add(node.attr)
        self._looked_into(node.value)

    def _looked_into(self, node):
        """Called, or asked for an attribute: not handed on."""
        if isinstance(node, ast.Attribute):
            self.found.attributes.add(node.attr)
            self.found.dotted.add(_dotted(node))
            self._looked_into(node.value)
        elif isinstance(node, ast.Name):
            self.found.loads.add(node.id)
        else:
            self.visit(node)

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            self.found.loads.add(node.id)
            self.found.kept.add(node.id)

    def visit_ExceptHandler(self, node):
        if node.type is not None:
            for inner in ast.walk(node.type):
                if isinstance(inner, ast.Name):
                    self.found.loads.add(inner.id)
        self.body(node.body)

    def visit_Constant(self, node):
        if isinstance(node.value, str):
            self.found.strings.add(node.value)

    def visit_Import(self, node):
        self.found.imports += [(alias.name, None) for alias in node.names]

    def visit_ImportFrom(self, node):
        self.found.imports += [(node.module, alias.name) for alias in node.names]


class Reach:
    """What runs if some of it does: `modules` that are imported, `units` that may be called.

    follow_imports: what functions import runs, too, and so does a module that is imported.
    left_out: units (module, name) that are not called any more. made: another Reach, that of
    what ran before. `started`: modules that are not imported any more.
    """

    def __init__(self, program, follow_imports=True, left_out=(), made=None):
        self.program = program
        self.modules = set()
        self.units = set()  # (module, class or None, name)
        self.attributes = set()
        self.named = set()  # (module, name) of what is asked for by both
        self.strings = set()
        self.loads = {name: set() for name in program.modules}
        self.kept = set()
        self._follow = follow_imports
        self._left_out = set(left_out)
        self._made = made
        self.started = set()
        self._done = set()

    def needs(self, module, name):
        """True if something may refer to what `module` calls `name`.

        A module's name for another module is its own affair: nobody writes `why.wire.sender`.
        """
        if name in self.loads[module] or (module, name) in self.named:
            return True
        is_attribute = (module, name) not in self.program.for_modules
        if is_attribute and module not in self.program.hidden and name in self.attributes:
            return True
        return any(self.needs(*user) for user in self.program.importers.get((module, name), ()))

    def looks_up(self, module, name):
        """True if something may look up `name` in the namespace of `module` from now on."""
        if name in self.loads[module] or (module, name) in self.named:
            return True
        return module in self.program.handed_on and name in self.attributes

    def take(self, module, nodes, is_function=False):
        """Some code of `module` runs."""
        is_there = bool(self._made) and module in self._made.modules
        found = self.program.references(nodes, is_function, is_there)
        self.attributes |= found.attributes
        self.strings |= found.strings
        for dotted in found.dotted - {None}:
            self.named |= self.program.asked_for(module, dotted)
        self.loads[module] |= found.loads
        if is_function:
            self.kept |= found.kept
        if self._follow:
            self.modules |= self.program.homes_of(found.attributes)
            for source, name in found.imports:
                self.modules.update(self.program.sources(source, name))
                if name and (is_function or self._made):  # as long as it runs now, it has it
                    self.named.add((source, name))
        for inner in found.inner:
            self.kept |= self.program.references([inner]).loads
            self.kept |= self.program.references([inner]).attributes

    def run(self):
        """To the fixed point."""
        before = -1
        while before != len(self._done):
            before = len(self._done)
            for module in list(self.program.modules.values()):
                is_run = module.name in self.modules and module.name not in self.started
                if is_run and self._once(module.name):
                    self.take(module.name, _plain(module.tree.body))
                self._take_units(module)
        return self

    def _once(self, key):
        is_new = key not in self._done
        self._done.add(key)
        return is_new

    def _take_units(self, module):
        for name, node in module.classes.items():
            if self.needs(module.name, name) and self._once((module.name, name)):
                self.take(module.name, _plain(node.body))
                for part in (*node.bases, *node.decorator_list):
                    self.loads[module.name] |= self.program.references([ast.Expr(part)]).loads
        for owner, node in module.units:
            key = (module.name, owner, node.name)
            if self._is_called(module.name, owner, node.name) and self._once(key):
                self.units.add(key)
                self.take(module.name, node, True)

    def _is_called(self, module, owner, name):
        if (module, name) in self._left_out:
            return False
        if name.startswith("__"):
            return self._is_made(module, owner, name)
        if owner is None:
            return self.needs(module, name)
        return name in self.attributes or name in self.loads[module]

    def _is_made(self, module, owner, name):
        """What Python calls by itself: of a module, or of a class that has objects."""
        if owner is None:
            return module in self.modules or (self._made and module in self._made.modules)
        key = (module, owner)
        was_made = self._made and key in self._made._done and name != "__init__"
        return key in self._done or bool(was_made)


def _plain(body):
    """Statements that are no definitions."""
    return [node for node in body if not isinstance(node, _DEFINITIONS)]
