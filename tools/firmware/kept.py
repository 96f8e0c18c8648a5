"""Whether what goes on running finds every name: a second look, at the code itself.

hal/after_boot.py gives back names that lean.py, by its look at the sources, takes for the boot's
own. A name too many would be found missing by the one function that looks it up, perhaps in a
view change weeks later. So here the staged sources are compiled, by Python, and what their
instructions load is held against that list. Nothing of program.py takes part.
"""

import builtins
import dis
import warnings
from types import CodeType

_VIPER = {"ptr", "ptr8", "ptr16", "ptr32", "uint"}
_BUILTINS = set(dir(builtins)) | _VIPER
_CONFIG = "tinybft.config"  # the one module that is handed on as an object
_BOOT = {("hal.boot", "boot"), ("hal.boot", "start")}  # returned from; nobody calls them again


def missing(texts, names):
    """["module.function: name", ...] of names that are given back and looked up afterwards.

    texts: {module: source}. names: NAMES of hal/boot_only.py.
    """
    given = {module: (set(own), dict(classes)) for module, own, classes in names}
    modules = {name: _Module(name, text) for name, text in texts.items() if name in given}
    for module in modules.values():
        module.give_back(*given[module.name])
    goes_on = _goes_on(modules)
    lacking = []
    for key in sorted(goes_on, key=str):
        module = modules[key[0]]
        for name in _looked_up(modules, goes_on, module, module.functions[key[1:]]):
            lacking.append(f"{'.'.join(filter(None, key))}: {name}")
    return lacking


class _Module:
    """functions: {(class or None, name): its code}; imported: {name: [(module, name there)]}."""

    def __init__(self, name, text):
        self.name = name
        with warnings.catch_warnings():  # a constant put where a name was is no matter of style
            warnings.simplefilter("ignore", SyntaxWarning)
            self.code = compile(text, name, "exec")
        self.functions = {}
        self.imported = {}
        self.given = set()
        self.given_of = {}  # {class: its names}
        for inner in _inner(self.code):
            if "__module__" in inner.co_names and "__qualname__" in inner.co_names:
                for method in _inner(inner):
                    self.functions[inner.co_name, method.co_name] = method
            else:
                self.functions[None, inner.co_name] = inner
        self._find_imports()

    def _find_imports(self):
        source, found = None, None
        for step in dis.get_instructions(self.code):
            if step.opname == "IMPORT_NAME":
                source, found = step.argval, None
            elif step.opname == "IMPORT_FROM":
                found = step.argval
            elif step.opname == "STORE_NAME" and source is not None:
                self.imported.setdefault(step.argval, []).append((source, found))
                found = None
            elif step.opname == "POP_TOP":
                source = None

    def give_back(self, names, classes):
        self.given = names
        self.given_of = {owner: set(methods) for owner, methods in classes.items()}

    def is_kept(self, owner, name):
        if owner is None:
            return name not in self.given
        return name not in self.given_of.get(owner, ())


def _inner(code):
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _all(code):
    """A function's instructions, those of functions within it included."""
    yield from dis.get_instructions(code)
    for inner in _inner(code):
        yield from _all(inner)


def _goes_on(modules):
    """(module, class or None, function) of what can be called after the boot, and what may be:
    whatever was loaded, and not at once called, may lie in a field."""
    found = set()
    loaded = set()
    for module in modules.values():
        found |= {(module.name, *key) for key in module.functions if module.is_kept(*key)}
        for alias in module.imported.keys() - module.given:
            found |= _functions_of(modules, module, alias)
        for step in _all(module.code):
            if step.opname == "LOAD_ATTR":
                loaded.add(step.argval)
            elif step.opname == "LOAD_GLOBAL" and not step.arg & 1:
                found |= _functions_of(modules, module, step.argval)
    for module in modules.values():
        methods = {(owner, name) for owner, name in module.functions if owner and name in loaded}
        found |= {(module.name, *key) for key in methods if key[1] != "__init__"}
    return found - {(module, None, name) for module, name in _BOOT}


def _functions_of(modules, module, name):
    """{(module, None, name)} of functions that a module knows by a name."""
    if (None, name) in module.functions:
        return {(module.name, None, name)}
    found = set()
    for source, there in module.imported.get(name, ()):
        if source in modules and there is not None:
            found |= _functions_of(modules, modules[source], there)
    return found


def _looked_up(modules, goes_on, module, code):
    """Names that some code loads and does not find."""
    classes = {owner for owner, _ in module.functions}
    base = None  # the module that was loaded just before
    for step in _all(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            name = step.argval
            if name in module.given and (name not in _BUILTINS or name in classes):
                yield name
            base = None
            for source, there in module.imported.get(name, ()):
                base = base or modules.get(source if there is None else f"{source}.{there}")
            continue
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            if base is not None and step.argval in base.given:
                yield f"{base.name}.{step.argval}"
            elif base is None:
                yield from _given_methods(modules, step.argval)
                if step.argval in getattr(modules.get(_CONFIG), "given", ()):
                    yield f"{_CONFIG}.{step.argval}"
        base = None


def _given_methods(modules, name):
    """Classes that have given back a method of this name: it may have been meant."""
    if name == "__init__":  # of a base; what has a base and is made later keeps all
        return
    for module in modules.values():
        for owner, names in module.given_of.items():
            if name in names and (owner, name) in module.functions:
                yield f"{owner}.{name}"
