"""Instructions by function: each function of the project counts itself, less what it calls.

Every function and method is replaced by one that counts around it, before a module that
takes it by name is imported. What the counting itself costs is measured on an empty function
and subtracted; what that misses shows in the sum, and is per call: calls are counted, too.
"""

import gc
import sys

from counting.collector import tidy
from virt import instructions

MASK = 0x3FFFFFFF
_SKIPPED = ("hal.virt_map", "tinybft.config", "tinybft.compat", "hal.boot")
# In this order: who takes a function by name finds it replaced.
_FIRST = ("tinybft.octets", "tinybft.wire", "tinybft.clock", "hal.cmac_cryptolib", "hal.crypto")

rows = {}
_inner = [0, 0]  # of the function under way: instructions of what it called, number of calls
_costs = [0, 0]  # in the count of the function itself; in that of its caller


def counted(name, function):
    row = rows[name] = [0, 0, 0]  # calls, instructions, calls of others
    inner = _inner
    costs = _costs

    def count(*args):
        outer = inner[0]
        calls = inner[1]
        inner[0] = inner[1] = 0
        begin = instructions()
        result = function(*args)
        took = instructions() - begin & MASK
        row[0] += 1
        row[1] += took - inner[0] - costs[0]
        row[2] += inner[1]
        inner[0] = outer + took + costs[1]
        inner[1] = calls + 1
        return result

    return count


def _nothing(_a, _b):
    pass


def calibrate():
    """What counting adds to a function of two arguments, and to who calls it."""
    probe = counted("probe", _nothing)
    for _ in range(2):
        rows["probe"][1] = 0
        begin = instructions()
        _nothing(1, 2)
        direct = instructions() - begin & MASK
        begin = instructions()
        probe(1, 2)
        whole = instructions() - begin & MASK
        begin = instructions()
        empty = instructions() - begin & MASK
    took = rows.pop("probe")[1]
    _costs[0] = took - (direct - empty)
    _costs[1] = whole - empty - took
    _inner[0] = 0


def replace(module, name):
    for key, value in list(module.__dict__.items()):
        kind = type(value).__name__
        if kind == "function" and not key.startswith("__"):
            if (name + "." + key) not in rows and key not in ("native", "const"):
                setattr(module, key, counted(name + "." + key, value))
        elif kind == "type" and key not in _seen and "__module__" in value.__dict__:
            _seen.add(key)
            for method, function in list(value.__dict__.items()):
                is_function = type(function).__name__ == "function"
                if is_function and not method.startswith("__"):
                    setattr(value, method, counted(name + "." + key + "." + method, function))


_seen = set()


def replace_all():
    calibrate()
    for name in _FIRST:
        __import__(name)
        replace(sys.modules[name], name)
    import hal.virt  # noqa: F401
    import tinybft.apps.kv  # noqa: F401
    import tinybft.node  # noqa: F401

    for name in sorted(sys.modules):
        if name.startswith(("tinybft.", "hal.")) and name not in _FIRST + _SKIPPED:
            replace(sys.modules[name], name)


def profile(wanted):
    gc.collect()
    gc.disable()
    tidy()
    replace_all()
    from counting.group import Group
    from counting.stories import perform
    from tinybft import config

    group = Group(config)
    group.clear()
    client = wanted["clients"][0]
    result = []
    for what, length in wanted["stories"]:
        perform(group, client, what, length, 8)
        for row in rows.values():
            row[0] = row[1] = row[2] = 0
        group.clear()
        perform(group, client, what, length, wanted["operations"])
        counts = {name: list(row) for name, row in rows.items() if row[0]}
        result.append(
            {
                "what": what,
                "length": length,
                "operations": wanted["operations"],
                "functions": counts,
            }
        )
    return {"profiles": result, "costs": _costs, "replicas": config.REPLICA_COUNT}
