"""The parts of a replica, made one object: what there is once needs no class for itself.

Each part (agreement, slots, status, ...) is made once, by the `Core` that all share. A class takes
80 bytes and 8 for each method, an object 16 and 8 for each field, one of them the core. Here the
fields become those of the core, and methods functions of the module: `core.slots.find(seqno)` is
`find(core, seqno)`, which also takes fewer instructions. What is handed on, or called from other
modules, is a method of the core, too. Names that several parts have get the part's behind them.

Fields that are given the same thing once and for all are one field.

Done by types: `self`, what is called `core`, what an `__init__` is given, and what is assigned of
these. A part that is used otherwise than by its fields and methods stays an object of its own.
"""

import ast
import builtins

CORE = "Core"
_SHARED = {"config", "memory", "auth", "store"}  # arguments that mean the same in each __init__
_NAMED = {"core": CORE, "replica": "Replica"}  # attributes, whatever they are of
# What these do is rare, so it stays what is called as a method: of the sizes that MicroPython's
# tables have (..., 59, 73, 97, ... 223, 293, 389) the module and the core's class get less then.
_RARE = {"NewView", "Claims", "Transfer"}


def one_object(texts, home):
    """{module: source}; parts that are made by the class `Core` of the module `home` are in it."""
    if home not in texts:
        return texts
    apart = set()
    while True:
        program = _Typed(texts, home, apart)
        escaped = program.escaped()
        if not escaped:
            break
        apart |= escaped
    return _Rewritten(program).texts() if program.parts else texts


class _Typed:
    """Which expressions are the core, or a part. apart: classes that stay objects of their own."""

    def __init__(self, texts, home, apart=()):
        self.source = texts
        self.home = home
        self.trees = {name: ast.parse(text) for name, text in texts.items()}
        self.classes = {
            node.name: node
            for tree in self.trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }
        self.own = {
            node.name: node for node in self.trees[home].body if isinstance(node, ast.ClassDef)
        }
        self.made = {}  # part: (attribute, statement that makes it)
        self.parts = self._parts(apart)
        self.whole = {CORE, *self.parts}
        self.fields = {name: {} for name in self.classes}  # {class: {field: class}}
        for name, part in self.parts.items():
            self.fields[part[2]][part[0]] = name
        self.given = {}  # {class: {parameter of __init__: class}}
        self._escaped = set()
        for _ in range(4):
            self._learn()

    def _parts(self, apart):
        """{class: (attribute, statement, class that makes it)}; what makes one is one, too."""
        calls, bases = {}, set()
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    calls[node.func.id] = calls.get(node.func.id, 0) + 1
                elif isinstance(node, ast.ClassDef):
                    bases |= {getattr(base, "id", "") for base in node.bases}
        found = {}
        waiting = [CORE]
        while waiting:
            maker = waiting.pop()
            for node in ast.walk(self.own[maker]):
                made = _creation(node)
                is_part = made in self.own and calls[made] == 1 and made not in bases
                if is_part and made not in apart and _is_simple(self.own[made]):
                    found[made] = (node.targets[0].attr, node, maker)
                    waiting.append(made)
        return found

    def functions(self, tree):
        """(class or None, function) of a module, nested ones left to their function."""
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        yield node.name, inner
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield None, node

    def _learn(self):
        for tree in self.trees.values():
            for owner, function in self.functions(tree):
                names = self.names(owner, function)
                for node in ast.walk(function):
                    if isinstance(node, ast.Assign) and len(node.targets) == 1:
                        self._learn_field(node, names)
                    if isinstance(node, ast.Call):
                        self._learn_parameters(node, names)

    def _learn_field(self, node, names):
        target = node.targets[0]
        if isinstance(target, ast.Attribute) and _creation(node) not in self.parts:
            owner = self.type_of(target.value, names)
            value = self.type_of(node.value, names)
            if owner and value:
                self.fields[owner][target.attr] = value

    def _learn_parameters(self, node, names):
        made = getattr(node.func, "id", None)
        init = _init(self.classes.get(made))
        if init is None:
            return
        for argument, value in zip(init.args.args[1:], node.args, strict=False):
            kind = self.type_of(value, names)
            if kind:
                self.given.setdefault(made, {})[argument.arg] = kind

    def names(self, owner, function):
        """{local name: its class}"""
        found = {"core": CORE}
        if owner in self.classes and function.args.args:
            found[function.args.args[0].arg] = owner
        if function.name == "__init__":
            found.update(self.given.get(owner, {}))
        assigned = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                assigned.setdefault(node.id, []).append(None)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                if isinstance(target, ast.Name) and target.id != "core":
                    kind = self.type_of(node.value, found)
                    if kind and len(set(map(id, assigned[target.id]))) == 1:
                        found[target.id] = kind
        return found

    def type_of(self, node, names):
        if isinstance(node, ast.Call):  # `sim.core(0)`
            return _NAMED.get(getattr(node.func, "attr", None))
        if isinstance(node, ast.Name):
            return names.get(node.id)
        if isinstance(node, ast.Attribute):
            kind = self.fields.get(self.type_of(node.value, names), {}).get(node.attr)
            return kind or _NAMED.get(node.attr)
        return None

    def escaped(self):
        """Parts that are used otherwise than by what they have."""
        found = set()
        for tree in self.trees.values():
            for owner, function in self.functions(tree):
                names = self.names(owner, function)
                parents = _parents(function)
                for node in ast.walk(function):
                    if isinstance(node, ast.Name | ast.Attribute) and isinstance(
                        node.ctx, ast.Load
                    ):
                        kind = self.type_of(node, names)
                        if kind in self.parts and not self._is_plain(node, parents[node], names):
                            found.add(kind)
                found |= self._mixed(function, names)
        return found

    def _is_plain(self, node, parent, names):
        if isinstance(parent, ast.Attribute):
            return True
        if isinstance(parent, ast.Assign) and len(parent.targets) == 1:
            target = parent.targets[0]
            if isinstance(target, ast.Name):
                return names.get(target.id) == self.type_of(node, names)
            if isinstance(target, ast.Attribute):
                return self.type_of(target, names) == self.type_of(node, names)
        if isinstance(parent, ast.Call) and node in parent.args:
            made = getattr(parent.func, "id", None)
            init = _init(self.classes.get(made))
            if init is not None:
                name = init.args.args[1 + parent.args.index(node)].arg
                return self.given.get(made, {}).get(name) == self.type_of(node, names)
        return False

    def _mixed(self, function, names):
        """Parts whose local name is also given something else."""
        stored = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                stored[node.id] = stored.get(node.id, 0) + 1
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                name = getattr(node.targets[0], "id", None)
                if self.type_of(node.value, names) == names.get(name):
                    stored[name] = stored.get(name, 0) - 1
        return {names[name] for name, left in stored.items() if left and name in names} & set(
            self.parts
        )


def _creation(node):
    """The class of `self.part = Class(...)`, else None."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return None
    target = node.targets[0]
    if not isinstance(target, ast.Attribute) or getattr(target.value, "id", None) != "self":
        return None
    if isinstance(node.value, ast.Call):
        return getattr(node.value.func, "id", None)
    return None


def _init(node):
    for inner in node.body if node is not None else ():
        if getattr(inner, "name", None) == "__init__":
            return inner
    return None


def _is_simple(node):
    """No base, no names but methods, and none that Python calls but __init__."""
    if node.bases or node.decorator_list:
        return False
    for index, inner in enumerate(node.body):
        if isinstance(inner, ast.FunctionDef):
            words = [getattr(one, "attr", "") for one in inner.decorator_list]
            if any(word not in ("native", "viper") for word in words):
                return False
            if inner.name.startswith("__") and inner.name != "__init__":
                return False
        elif index or not isinstance(inner, ast.Expr):
            return False
    return True


def _parents(function):
    return {child: node for node in ast.walk(function) for child in ast.iter_child_nodes(node)}


class _Same:
    """Fields of the core and its parts by what they are given, if that happens once."""

    def __init__(self, program):
        self._program = program
        self._stored = {}  # (class, field): [(value, names) or None]
        self._elsewhere = set()  # fields that something unknown is given
        for tree in program.trees.values():
            for owner, function in program.functions(tree):
                names = program.names(owner, function)
                values = {}
                for node in ast.walk(function) if function.name == "__init__" else ():
                    if isinstance(node, ast.Assign) and len(node.targets) == 1:
                        values[id(node.targets[0])] = (node.value, names)
                for node in ast.walk(function):
                    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                        kind = program.type_of(node.value, names)
                        if kind is None:
                            self._elsewhere.add(node.attr)
                        self._stored.setdefault((kind, node.attr), []).append(values.get(id(node)))

    def key(self, kind, name):
        """Equal for fields that are the same."""
        given = self._stored.get((kind, name), ())
        if len(given) != 1 or given[0] is None or name in self._elsewhere:
            return kind, name
        return self._value(*given[0]) or (kind, name)

    def _value(self, node, names):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return "number", node.value
        if isinstance(node, ast.Name) and node.id in _SHARED:
            return node.id
        if isinstance(node, ast.Attribute):
            kind = self._program.type_of(node.value, names)
            if kind in self._program.whole:
                is_once = len(self._stored.get((kind, node.attr), ())) == 1
                return self.key(kind, node.attr) if is_once else None
            base = self._value(node.value, names) if node.attr not in self._elsewhere else None
            return base and (base, node.attr)
        return None


class _Rewritten:
    def __init__(self, program):
        self._program = program
        self._final = {}  # (class, name): its name as one of the core's, or of a function
        self._functions = set()  # (class, method) that are functions of the module
        self._methods = set()  # those that are methods of the core, too
        self._name_all()

    # --- names ---

    def _name_all(self):
        program = self._program
        members = self._members()
        tree = program.trees[program.home]
        used = set(dir(builtins)) | {name for name, _ in _tops(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.arg):
                used.add(node.arg)
            elif isinstance(node, ast.Name):
                used.add(node.id)
        taken = set(members[CORE])
        same = _Same(program)
        shared = {}  # what a field is given: its name
        for name in members[CORE]:
            self._final[CORE, name] = shared[same.key(CORE, name)] = name
        self._functions, self._methods = self._called()
        for kind in program.parts:
            for name in members[kind]:
                part = program.parts[kind][0].strip("_")
                key = same.key(kind, name)
                if key in shared:
                    self._final[kind, name] = shared[key]
                    continue
                is_function = (kind, name) in self._functions
                final = "_init" if name == "__init__" else name
                while final == "_init" or final in taken or is_function and final in used:
                    final += "_" + part
                taken.add(final)
                self._final[kind, name] = shared[key] = final

    def _members(self):
        """{class: its methods, then its fields, in the order in which they are defined}"""
        program = self._program
        found = {
            kind: {
                inner.name: None
                for inner in program.own[kind].body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            for kind in program.whole
        }
        for tree in program.trees.values():
            for owner, function in program.functions(tree):
                names = program.names(owner, function)
                for node in ast.walk(function):
                    if isinstance(node, ast.Attribute):
                        found.get(program.type_of(node.value, names), {})[node.attr] = None
        return {
            kind: [name for name in names if program.fields[kind].get(name) not in program.whole]
            for kind, names in found.items()
        }

    def _called(self):
        """(class, method) that are called within the module; those that are referred to else."""
        program = self._program
        methods = {
            (kind, inner.name)
            for kind in program.parts
            for inner in program.own[kind].body
            if isinstance(inner, ast.FunctionDef) and inner.name != "__init__"
        }
        called, others = set(), set()
        for module, tree in program.trees.items():
            for owner, function in program.functions(tree):
                names = program.names(owner, function)
                calls = {
                    id(node.func)
                    for node in ast.walk(function)
                    if isinstance(node, ast.Call) and module == program.home
                }
                for node in ast.walk(function):
                    if isinstance(node, ast.Attribute):
                        key = (program.type_of(node.value, names), node.attr)
                        (called if id(node) in calls else others).add(key)
        often = {key for key in called if key[0] not in _RARE}
        return methods & often, methods & others

    # --- text ---

    def texts(self):
        result = {}
        for module, tree in self._program.trees.items():
            spans = []
            for owner, function in self._program.functions(tree):
                names = self._program.names(owner, function)
                callable_here = self._functions if module == self._program.home else ()
                spans += self._spans(owner, function, names, callable_here)
            text = _replaced(self._program.source[module], spans)
            result[module] = self._joined(text) if module == self._program.home else text
        return result

    def _spans(self, owner, function, names, functions):
        spans, done = [], set()
        if owner in self._program.parts:
            spans.append(_head(function, self._final[owner, function.name]))
        for node in ast.walk(function):
            if id(node) in done:
                continue
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                found = self._assignment(node, names)
                of = (node.targets[0], node.value.func) if self._is_made(node) else (node,)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found, of = self._call(node, names, functions), (node.func,)
            else:
                found, of = self._attribute(node, names), ()
            spans += found
            if found:
                done |= {id(inner) for one in of for inner in ast.walk(one)}
        return spans

    def _assignment(self, node, names):
        if self._is_made(node):
            text = f"self.{self._final[_creation(node), '__init__']}"
            return [_Span(node, node.value.func, text), _Behind(node.value, node)]
        is_dropped = self._is_dropped(node.targets[0], node.value, names)
        return [_Span(node, node, "pass")] if is_dropped else []

    def _call(self, node, names, functions):
        key = (self._program.type_of(node.func.value, names), node.func.attr)
        if key not in functions:
            return []
        text = f"{self._final[key]}({self._text(node.func.value, names)}"
        return [_Span(node.func, node.func, text + (", " if node.args else ""), 1)]

    def _attribute(self, node, names):
        new = self._suffix(node, names) if isinstance(node, ast.Attribute) else None
        return [] if new is None else [_Suffix(node, new)]

    def _is_made(self, node):
        made = _creation(node)
        return made in self._program.parts and self._program.parts[made][1] is node

    def _is_dropped(self, target, value, names):
        program = self._program
        if not isinstance(target, ast.Attribute):
            return False
        owner = program.type_of(target.value, names)
        return owner in program.whole and program.type_of(value, names) in program.whole

    def _suffix(self, node, names):
        """What takes the place of ".name", or None."""
        program = self._program
        kind = program.type_of(node.value, names)
        if kind not in program.whole:
            return None
        if program.fields[kind].get(node.attr) in program.whole:
            return ""
        final = self._final[kind, node.attr]
        return None if final == node.attr else "." + final

    def _text(self, node, names):
        if isinstance(node, ast.Name):
            return node.id
        suffix = self._suffix(node, names)
        return self._text(node.value, names) + (f".{node.attr}" if suffix is None else suffix)

    def _joined(self, text):
        """Methods go to the core, functions to the module; functions stay in their lines."""
        tree = ast.parse(text)
        lines = text.split("\n")
        functions = {self._final[key] for key in self._functions}
        moved = [
            f"    {self._final[key]} = {self._final[key]}"
            for key in sorted(self._functions & self._methods)
        ]
        core = None
        for node in tree.body:
            if not isinstance(node, ast.ClassDef):
                continue
            if node.name == CORE:
                core = node
            elif node.name in self._program.parts:
                kept = {}
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        first = min([inner.lineno, *(d.lineno for d in inner.decorator_list)])
                        rows = range(first - 1, inner.end_lineno)
                        if inner.name in functions:
                            kept |= {at: lines[at].removeprefix("    ") for at in rows}
                        else:
                            moved += ["", *(lines[at] for at in rows)]
                for at in range(node.lineno - 1, node.end_lineno):
                    lines[at] = kept.get(at, "")
        lines[core.end_lineno : core.end_lineno] = moved
        return "\n".join(lines)


def _tops(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name, node


class _Span:
    """From the begin of one node to the end of another; `more` characters behind it."""

    def __init__(self, first, last, text, more=0):
        self.lineno, self.col_offset = first.lineno, first.col_offset
        self.end_lineno, self.end_col_offset = last.end_lineno, last.end_col_offset + more
        self.text = text


class _Suffix(_Span):
    """The last dot of an attribute, and what follows it."""

    def __init__(self, node, text):
        super().__init__(node, node, text)
        self.lineno, self.col_offset = node.value.end_lineno, node.value.end_col_offset


class _Behind(_Span):
    """What a statement has behind its value: the parenthesis around that."""

    def __init__(self, value, node):
        super().__init__(node, node, "")
        self.lineno, self.col_offset = value.end_lineno, value.end_col_offset


def _head(function, final):
    span = _Span(function, function, final)
    words = "async def " if isinstance(function, ast.AsyncFunctionDef) else "def "
    span.col_offset += len(words)
    span.end_lineno, span.end_col_offset = span.lineno, span.col_offset + len(function.name)
    return span


def _replaced(text, spans):
    lines = text.split("\n")
    for span in sorted(spans, key=lambda s: (-s.lineno, -s.col_offset)):
        first, last = span.lineno - 1, span.end_lineno - 1
        head = lines[first].encode()[: span.col_offset].decode()
        tail = lines[last].encode()[span.end_col_offset :].decode()
        lines[first : last + 1] = [head + span.text + tail] + [""] * (last - first)
    return "\n".join(lines)
