"""What the library takes of the heap besides its regions: modules, classes, instances, views.

The objects of shipped configurations were measured on the emulated board, and stand in
object_costs.py (`tinybft memory --record`). Which objects there are depends on the shape of a
configuration: its constants but for times, addresses, pins. A shape that was measured is known to
the byte. Others are estimated: each further client, replica, slot, checkpoint and block takes what
it took in a probe, a configuration that differs from the default in that alone.
"""

import hashlib
from functools import cache
from pathlib import Path

from tools.config import ROOT, load, named_files
from tools.config_schema import PARAMETERS
from tools.firmware.frozen import frozen_files
from tools.memory import object_costs
from tools.memory.sums import on_heap
from tools.memory.variants import rewritten, varied
from tools.nonvolatile import STORAGES, stored

COSTS = Path(object_costs.__file__)
_HEAP_LENGTH = 512000  # of the board that measures: room for n25, too
_ERROR_MIN = 128  # bytes
_SHAPELESS = ("timeouts", "budget", "radio", "fram")
_SHAPELESS_KEYS = ("GROUP_ID", "NVM_LENGTH", "TRANSPORT", "MULTICAST_GROUP", "PORT")
_SHAPELESS_KEYS += ("INTERFACE", "HOSTS")
_SHAPE = tuple(
    parameter.constant
    for parameter in PARAMETERS
    if parameter.section not in _SHAPELESS and parameter.constant not in _SHAPELESS_KEYS
)
_STORAGE = ("STORAGE_AGREEMENT", "STORAGE_CHECKPOINT", "STORAGE_EVENT", "STORAGE_STATE")
_RAM = "default"
# probe: the constants in which it differs from the default
_PROBES = {
    "8 clients more": {"CLIENT_COUNT": 13},
    "8 clients and 3 replicas more": {"CLIENT_COUNT": 13, "FAULT_COUNT": 2},
    "window 8": {"WINDOW": 8, "CHECKPOINT_INTERVAL": 4},
    "window 8, interval 2": {"WINDOW": 8},
    "48 blocks more": {"STATE_LENGTH": 65536},
    # as a check of the estimates
    "small": {
        "CLIENT_COUNT": 4,
        "WINDOW": 2,
        "CHECKPOINT_INTERVAL": 1,
        "BATCH_COUNT_MAX": 1,
        "REQUEST_LENGTH_MAX": 256,
        "REPLY_LENGTH_MAX": 256,
        "STATE_LENGTH": 4096,
        "BLOCK_LENGTH": 512,
    },
}
_SHIPPED = ("default", "durable", "smallest", "n7", "n25")
_KINDS = ("mirror, state ram", "nvm")


def digest_of_shape(config):
    """Of the constants that decide which objects there are: 12 hexadecimal digits."""
    lines = [f"{name}={getattr(config, name)}\n" for name in _SHAPE]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def known(config):
    """Bytes of objects if this shape was measured, else None."""
    digest = digest_of_shape(config)
    for known_digest, octets in object_costs.RECORDED.values():
        if known_digest == digest:
            return octets
    return None


def estimated(config):
    """Bytes of objects by the probes."""
    base = _configs()[_RAM]
    rates = _rates()
    total = _costs_of_kind(config)
    total += rates["replica"] * (config.REPLICA_COUNT - base.REPLICA_COUNT)
    total += rates["client"] * (config.CLIENT_COUNT - base.CLIENT_COUNT)
    total += rates["slot"] * (config.WINDOW - base.WINDOW)
    total += rates["checkpoint"] * (config.CHECKPOINT_COUNT - base.CHECKPOINT_COUNT)
    total += rates["block"] * (config.BLOCK_COUNT - base.BLOCK_COUNT)
    return round(total)


def measured(config):
    """{"total": bytes of heap that a replica takes, "objects", "regions" on the heap, "exact":
    whether this shape was measured, "error": by how many bytes it may be wrong if not}."""
    regions = on_heap(config)
    found = known(config)
    objects = estimated(config) if found is None else found
    return {
        "total": regions + objects,
        "regions_on_heap": regions,
        "objects": objects,
        "exact": found is not None,
        "error": 0 if found is not None else estimate_error(config),
        "stale": is_stale(),
        "source": "estimated" if found is None else "recorded",
    }


def heap_length(needed):
    """Length of the heap of a board that measures, for a replica that takes about so much.

    The same for most, because the firmware is built anew for another one.
    """
    return max(_HEAP_LENGTH, 3 * needed // 2)


def is_stale():
    """Whether the device modules have changed since the objects were measured."""
    return object_costs.SOURCES != fingerprint()


@cache
def fingerprint():
    """Of the sources that the emulated board's firmware freezes, configuration excepted."""
    digest = hashlib.sha256()
    for name, path in sorted(frozen_files(ROOT / "manifest.py", hal="virt").items()):
        if name not in ("tinybft/config.py", "main.py"):
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


# --- the law ---


@cache
def _configs():
    """{name: configuration} of all that is recorded."""
    files = named_files()
    base = load(files[_RAM])
    table = {name: load(files[name]) for name in _SHIPPED}
    table |= {name: varied(base, **changes) for name, changes in _PROBES.items()}
    return table | {name: varied(stored(base, name)) for name in _KINDS}


def _octets():
    return {name: octets for name, (_, octets) in object_costs.RECORDED.items()}


@cache
def _rates():
    """Bytes of objects per client, replica, slot, checkpoint and block."""
    octets = _octets()
    clients, replicas, wide, wide_often, large = (octets[name] for name in list(_PROBES)[:5])
    base = octets[_RAM]
    return {
        "client": (clients - base) / 8,
        "replica": (replicas - clients) / 3,
        "slot": (wide - base) / 4,
        "checkpoint": (wide_often - wide) / 2,
        "block": (large - base) / 48,
    }


def _costs_of_kind(config):
    """Bytes of the default with its regions stored as this configuration's are."""
    octets = _octets()
    kind = tuple(getattr(config, name) for name in _STORAGE)
    names = {values: name for name, values in STORAGES.items()}
    of_kind = {"ram": _RAM, "mirror": "durable"}
    name = names.get(kind, "nvm")
    return octets[of_kind.get(name, name)]


def estimate_error(config):
    """By how many bytes an estimate may be wrong: as great a share of its distance from what was
    measured as the worst estimate of a measured configuration is."""
    distance = abs(estimated(config) - _costs_of_kind(config))
    return max(_ERROR_MIN, round(_error_share() * distance))


@cache
def _error_share():
    """ "smallest" does not count: it has no room for the key-value store."""
    shares = [0.0]
    for name, config in _configs().items():
        distance = abs(estimated(config) - _costs_of_kind(config))
        if name in _octets() and name != "smallest" and distance:
            shares.append(abs(estimated(config) - _octets()[name]) / distance)
    return max(shares)


# --- the record ---


def record(folder, measure, say):
    """Measure all that is recorded, and write object_costs.py.

    measure: called with a folder to build in, the path of a config.toml and the length of a heap;
    returns {"bare", "started"}, the heap in use of its replica.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = named_files()
    base = load(files[_RAM])
    text = files[_RAM].read_text(encoding="utf-8")
    rows = []
    for name, config in _configs().items():
        path = files.get(name)
        if path is None:
            path = folder / "config.toml"
            path.write_text(rewritten(text, base, config), encoding="utf-8")
        found = measure(folder, path, _HEAP_LENGTH)
        total = found["started"] - found["bare"]
        rows.append((name, digest_of_shape(config), total - on_heap(config)))
        say(f"{name}: {total} bytes, {rows[-1][2]} of them objects")
    lines = "".join(f'    "{name}": ("{digest}", {octets}),\n' for name, digest, octets in rows)
    text = _TEXT % {"sources": fingerprint(), "rows": lines}
    COSTS.write_text(text, encoding="utf-8")
    say(f"{COSTS}: written")


_TEXT = '''"""What interpreter objects take of the heap of a started replica.

Generated by `tinybft memory --record`: the heap in use measured on emulated boards (QEMU, rv32),
less the regions as `sums.on_heap` computes them.
"""

SOURCES = "%(sources)s"  # fingerprint of the device modules that were measured

# configuration or probe: (digest of its shape, bytes)
RECORDED = {
%(rows)s}
'''
