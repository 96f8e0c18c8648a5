"""What the objects of a started replica take from the heap: by module, by class.

A module costs what stays in use once it is imported, without the modules that it imports; the
functions, classes and names that it has are counted beside that. An object is charged to its
class: itself, the table of its attributes, and what only they refer to. Tables of MicroPython
(py/map.c) are sized by the steps below, all in blocks of 16 bytes.
"""

import builtins
import gc
import sys

import uctypes

from hal import virt_map

_STEPS = (0, 2, 4, 6, 8, 10, 12, 17, 23, 29, 37, 47, 59, 73, 97, 127, 167, 223, 293, 389, 521)
_BLOCK = 16
_POINTER = 4
_HEAD = 16  # of an instance, dict, list, memoryview, function or bound method

rows = {}  # module: [bytes, functions, classes, names]
_inner = [0]
_import = builtins.__import__


def counted(name, *rest):
    """In place of `__import__`: charges what it takes to `name`, less what others are charged."""
    outer = _inner[0]
    _inner[0] = 0
    known = len(sys.modules)
    gc.collect()
    before = gc.mem_alloc()
    module = _import(name, *rest)
    if len(sys.modules) == known:
        _inner[0] += outer
        return module
    gc.collect()
    took = gc.mem_alloc() - before
    row = rows.setdefault(name, [0, 0, 0, 0])
    row[0] += took - _inner[0]
    gc.collect()
    _inner[0] = outer + (gc.mem_alloc() - before)
    return module


def begin():
    builtins.__import__ = counted


def end():
    builtins.__import__ = _import


def count_names():
    """Each function and class with the module that has it first, which is where it is made."""
    seen = set()
    for name, row in rows.items():
        if name in sys.modules:
            table = sys.modules[name].__dict__
            row[3] = len(table)
            _count_functions(table, row, seen)


def _count_functions(table, row, seen):
    for value in table.values():
        kind = type(value).__name__
        if kind not in ("function", "type") or id(value) in seen:
            continue
        seen.add(id(value))
        if kind == "function":
            row[1] += 1
        else:
            row[2] += 1
            _count_functions(value.__dict__, row, seen)


def _blocks(length):
    return (length + _BLOCK - 1) // _BLOCK * _BLOCK


def _table(count):
    for step in _STEPS:
        if step >= count:
            return _blocks(2 * _POINTER * step)
    return _blocks(2 * _POINTER * count)


def _is_apart(value):
    """True for memory that is shared with the host."""
    at = uctypes.addressof(value)
    return virt_map.ADDRESS <= at < virt_map.ADDRESS + virt_map.LENGTH


def instances(node, regions):
    """{class: [objects, bytes]}; buffers among `regions` (ids) are left out."""
    found = {}
    seen = set(regions)
    waiting = [(node, type(node).__name__)]
    while waiting:
        value, owner = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        kind = type(value)
        name = kind.__name__
        parts = ()
        if name in ("bytearray", "bytes"):
            took = _HEAD + (0 if _is_apart(value) else _blocks(len(value)))
        elif name in ("memoryview", "bound_method"):
            took = _HEAD
        elif name in ("list", "tuple"):
            took = _blocks(8 + _POINTER * len(value))
            took += _HEAD if name == "list" else 0
            parts = value
        elif name == "dict":
            took = _HEAD + _table(len(value))
            parts = value.values()
        elif name in ("int", "bool", "str", "NoneType", "function", "type", "module", "closure"):
            continue
        elif hasattr(value, "__dict__"):
            table = value.__dict__
            took = _HEAD + _table(len(table))
            owner = name
            parts = table.values()
            found.setdefault(owner, [0, 0])[0] += 1
        else:
            took = _HEAD  # of C
        found.setdefault(owner, [0, 0])[1] += took
        for part in parts:
            waiting.append((part, owner))
    return found


def tell(start):
    """Everything, of the replica that `start()` gives."""
    begin()
    gc.collect()
    before = gc.mem_alloc()
    node = start()
    end()
    gc.collect()
    took = gc.mem_alloc() - before
    count_names()
    memory = node.memory
    regions = [id(memory)]
    reassembly = node.hal._reassembly
    regions += [id(reassembly._buffers), id(reassembly._rows)]
    for value in memory.__dict__.values():
        regions += [id(part) for part in (value.values() if type(value) is dict else (value,))]
    reserved = sum(memory.bytes_reserved().values())
    reserved += len(reassembly._buffers) + len(reassembly._rows)
    kept = [row for row in rows.items() if row[0] in sys.modules]
    return {
        "objects": took,
        "reserved": reserved,
        "modules": dict(kept),
        "classes": instances(node, regions),
    }
