"""What only the boot needed is given back: a fifth of what the modules take.

A function takes 24 bytes of RAM, frozen or not, a name of a module 8. Much of it is for the boot
alone: classes that are made once, their `__init__`, sums of sizes. `tinybft firmware` lists it
(hal/boot_only.py, constants in flash); without that list nothing here has an effect.

    hal.boot, first of all         from hal import after_boot
    once the node is there         after_boot.give_back()

Two peculiarities of MicroPython make it possible. `__build_class__` may be replaced, and a class
goes on using the dict that it was made of: so classes are made of dicts that are kept here, and
can be made anew without what is not needed. And a dict that is cleared and filled again is as
small as it can be; one from which names were deleted is not.
"""

import builtins
import sys

try:
    from hal.boot_only import MODULES, NAMES
except ImportError:
    MODULES = NAMES = ()

_tables = {}  # (module, class): its dict
_NAMELESS = ("__name__", "__file__", "__all__")
_NEVER = ("__module__", "__qualname__")

if NAMES:
    _build = builtins.__build_class__

    def _build_class(body, name, *bases):
        built = _build(body, name, *bases)
        table = dict(built.__dict__)
        _tables[table["__module__"], name] = table
        return type(name, bases, table)

    builtins.__build_class__ = _build_class


def give_back():
    """Requires: nothing of what is listed is in use any more. The caller collects the garbage."""
    if not NAMES:
        return
    del builtins.__build_class__
    for name, names, classes in NAMES:
        if name in sys.modules:
            module = sys.modules[name]
            table = module.__dict__
            _keep(table, names + (_NAMELESS if "__path__" not in table else _NAMELESS[1:]))
            for owner, methods in classes:
                if (name, owner) in _tables:
                    _keep(_tables[name, owner], methods + _NEVER)
    _forget_modules()
    _tables.clear()


def _forget_modules():
    """tinybft finds its modules without having them as attributes, see there."""
    inner = [name[8:] for name in sys.modules if name.startswith("tinybft.")]
    _keep(sys.modules["tinybft"].__dict__, inner)
    inner = [name[4:] for name in MODULES if name.startswith("hal.")]
    _keep(sys.modules["hal"].__dict__, inner + ["boot_only"])
    _keep(sys.modules, MODULES + ("hal.boot_only",))


def _keep(table, without):
    """Fill the dict anew but for some names."""
    rest = {key: value for key, value in table.items() if key not in without}
    table.clear()
    table.update(rest)
