"""Configurations for simulated groups: config.toml with small sizes, for 4 to 25 replicas.

They pass through the rules and derivations of every configuration (tools.config_*), so what is
simulated could be flashed.
"""

from functools import lru_cache
from types import SimpleNamespace

from tinybft.layout import areas
from tinybft.lengths import length_rows
from tools.config import ROOT
from tools.config_rules import broken_rules
from tools.config_sizes import broken_sizes
from tools.config_source import Source
from tools.config_template import render
from tools.refusal import Refusal

REPLICA_COUNTS = (4, 7, 10, 13, 25)

# What survives a power cut, by name: (agreement, checkpoint, event, state) of [storage].
DURABLE = {
    "mirror": ("mirror", "mirror", "mirror", "mirror"),
    "nvm": ("nvm", "mirror", "nvm", "nvm"),
    "protocol": ("mirror", "mirror", "mirror", "ram"),
}
_REGIONS = ("AGREEMENT", "CHECKPOINT", "EVENT", "STATE")

# Small regions make runs fast; a state of 16 blocks keeps every level of the partition tree. Of
# its 16 pages two puts of the key-value store may change 8, so budgets bound batches here too.
_SMALL = {
    "REQUEST_LENGTH_MAX": 256,
    "REPLY_LENGTH_MAX": 256,
    "STATE_LENGTH": 1024,
    "BLOCK_LENGTH": 64,
    "BATCH_PAGES_MAX": 12,
    "RAM_MAX": 2000000,
}


def _times_on_radio(replica_count, radio):
    """Time-outs from the time that the n (n + 1) votes of an operation occupy the channel."""
    operation_ms = max(10, replica_count**2 * 5 // (4 if radio < 5 else 12))
    retry_ms = 5 * operation_ms // 2
    request_ms = max(3000, 40 * operation_ms)
    return {
        "REPAIR_MS": operation_ms,
        "RETRY_MS": retry_ms,
        "STATUS_MS": max(1000, 4 * retry_ms),
        "REQUEST_MS": request_ms,
        "VIEW_CHANGE_MS": 2 * request_ms,
        "RETRY_MAX_MS": request_ms,
        "STAGGER_MS": 2 if radio < 5 else 1,
    }


def configuration(replica_count=4, radio=None, durable=None, **changed):
    """The configuration of a simulated group, as an object like the module tinybft.config.

    radio: Mbit/s of the simulated radio, None = ideal network. durable: which regions survive
    a power cut, a name of DURABLE, True for all ("mirror"), None for none; the store is as
    large as its map. changed: constants by name. Raises Refusal.
    """
    if durable:
        name = "mirror" if durable is True else durable
        if name not in DURABLE:
            raise Refusal(f"--durable {name}: choose one of {', '.join(DURABLE)}")
        storage = zip(_REGIONS, DURABLE[name], strict=True)
        changed = {f"STORAGE_{region}": where for region, where in storage} | changed
    return _configuration(replica_count, radio, tuple(sorted(changed.items())))


@lru_cache(maxsize=64)
def _configuration(replica_count, radio, changed):
    if replica_count not in REPLICA_COUNTS:
        known = ", ".join(str(n) for n in REPLICA_COUNTS)
        raise Refusal(f"--replicas {replica_count}: a group has 3 f + 1 of them; choose {known}")
    values, complaints = Source(ROOT / "config.toml").constants()
    if complaints:
        raise Refusal(*complaints)
    values.update(_SMALL, FAULT_COUNT=(replica_count - 1) // 3, CLIENT_COUNT=replica_count + 1)
    if radio is not None:
        values.update(_times_on_radio(replica_count, radio))
    unknown = [name for name, _ in changed if name not in values]
    if unknown:
        raise Refusal(f"{', '.join(unknown)}: no such constant in tinybft/config.py")
    values.update(changed)
    if "MESSAGE_LENGTH_MAX" not in dict(changed):
        values["MESSAGE_LENGTH_MAX"] = _longest_message(values)
    if "NVM_LENGTH" not in dict(changed) and values["STORAGE_EVENT"] != "ram":
        values["NVM_LENGTH"] = areas(_namespace(values))["size"]
    _refuse(broken_rules(values))
    config = _namespace(values)
    _refuse(broken_sizes(config))
    return config


def _longest_message(values):
    """Room for every message; META-DATA adapts to what there is, so 128 bytes start it."""
    low = _namespace(values | {"MESSAGE_LENGTH_MAX": 512})
    longest = max(length for name, length, _ in length_rows(low) if name != "META-DATA")
    return max(512, (longest + 3) // 4 * 4)


def _refuse(broken):
    complaints = [f"configuration of the simulation: {c}: {words}" for c, words in broken]
    if complaints:
        raise Refusal(*complaints)


def _namespace(values):
    names = {}
    exec(render("simulated", values), names)
    return SimpleNamespace(**{key: value for key, value in names.items() if key.isupper()})
