"""The non-volatile memory of a configuration: its map, the parts that hold it, and what it saves.

The map is `tinybft.layout`, which the replicas use themselves; here it gets addresses, free
bytes and parts for a person. Storage kinds are compared by changing [storage] and summing up
the same tables again.
"""

from types import SimpleNamespace

from rich.table import Table

from tinybft.layout import area_rows
from tinybft.request_ids import STORE_LENGTH
from tools.config_rules import derive
from tools.config_schema import PARAMETERS

# Usual sizes of I2C FRAM, in bytes; larger ones are several of the largest, one behind another.
PARTS = (32768, 65536, 131072)

# what the table calls it: agreement, checkpoint, event, state
STORAGES = {
    "ram": ("ram", "ram", "ram", "ram"),
    "mirror, state ram": ("mirror", "mirror", "mirror", "ram"),
    "mirror": ("mirror", "mirror", "mirror", "mirror"),
    "nvm": ("nvm", "mirror", "nvm", "nvm"),
}
_REGIONS = ("AGREEMENT", "CHECKPOINT", "EVENT", "STATE")


def map_rows(config):
    """((area, address, bytes, the sum in words), ...) of what the configuration keeps."""
    rows = []
    at = 0
    for name, length, text in area_rows(config):
        if config.DURABLE or name == "request_ids":
            rows.append((name, at, length, text))
            at += length
    return tuple(rows)


def bytes_needed(config):
    """Bytes of non-volatile memory that the configuration cannot do without."""
    if not config.DURABLE:
        return 0
    _, at, length, _ = map_rows(config)[-1]
    return at + length


def smallest_part(length):
    """Bytes of the smallest part, or of the fewest of the largest ones, that hold `length`."""
    for part in PARTS:
        if length <= part:
            return part
    largest = PARTS[-1]
    return -(-length // largest) * largest


def part_words(length):
    """A number of bytes as a person orders it: `64 KiB`, `2 x 128 KiB`."""
    largest = PARTS[-1]
    if length > largest and length % largest == 0:
        return f"{length // largest} x {largest // 1024} KiB"
    return f"{length // 1024} KiB" if length % 1024 == 0 else f"{length} bytes"


def broken_map(config):
    """Yield (constant, message) when the configured memory is too short for what it is to hold."""
    rows = map_rows(config)
    length = config.NVM_LENGTH
    needed = bytes_needed(config)
    if not needed and 0 < length < STORE_LENGTH:
        yield (
            "NVM_LENGTH",
            f"request ids alone take {STORE_LENGTH} bytes (rule: nvm_length = 0 or"
            f" nvm_length >= {STORE_LENGTH}); nvm_length = {length}; raise nvm_length to"
            f" {STORE_LENGTH} or write 0",
        )
    if needed > length:
        parts = ", ".join(f"{name} {size}" for name, _, size, _ in rows)
        part = smallest_part(needed)
        yield (
            "NVM_LENGTH",
            "all areas must fit into the non-volatile memory (rule: sum of areas <="
            f" nvm_length); sum = {needed} ({parts}), nvm_length = {length}; set nvm_length to"
            f" {part} (a part of {part_words(part)}) or more, or lower"
            f" {_what_to_lower(config)}",
        )


def _what_to_lower(config):
    if not config.STATE_DURABLE:
        return "window or request_length_max"
    kinds = '"mirror" or "ram"' if config.STORAGE_STATE == "nvm" else '"ram"'
    return f"state_length, window or request_length_max, or write state = {kinds}"


def map_report(config):
    """The map as a JSON-able dict."""
    rows = map_rows(config) if config.NVM_LENGTH else ()
    used = sum(row[2] for row in rows)
    return {
        "length": config.NVM_LENGTH,
        "used": used,
        "free": config.NVM_LENGTH - used,
        "areas": [
            {"area": name, "address": at, "bytes": length, "sum": text}
            for name, at, length, text in rows
        ],
        "parts": [{"bytes": part, "fits": used <= part} for part in PARTS],
        "smallest_part": smallest_part(used) if used else 0,
    }


def map_table(config):
    """The map for a person; requires nvm_length > 0."""
    table = Table(title="Non-volatile memory", title_justify="left")
    table.add_column("address", justify="right")
    table.add_column("area")
    table.add_column("bytes", justify="right")
    table.add_column("how the sum is made")
    rows = map_rows(config)
    for name, at, length, text in rows:
        table.add_row(f"0x{at:05x}", name, grouped(length), text)
    used = sum(row[2] for row in rows)
    table.add_section()
    free = config.NVM_LENGTH - used
    table.add_row(f"0x{used:05x}", "free", grouped(free), f"of {part_words(config.NVM_LENGTH)}")
    table.add_row("", "used", grouped(used), fitting_words(used), style="bold")
    return table


def fitting_words(length):
    """`fits 64 KiB, 128 KiB; not 32 KiB`"""
    fits = [part_words(part) for part in PARTS if length <= part]
    short = [part_words(part) for part in PARTS if length > part]
    words = "fits " + (", ".join(fits) or part_words(smallest_part(length)))
    return words + (f"; not {', '.join(short)}" if short else "")


def stored(config, name):
    """The configuration with its regions stored as STORAGES[name] says, in a part that fits."""
    raw = {parameter.constant: getattr(config, parameter.constant) for parameter in PARAMETERS}
    for region, kind in zip(_REGIONS, STORAGES[name], strict=True):
        raw["STORAGE_" + region] = kind
    changed = SimpleNamespace(**{**vars(config), **derive(raw)})
    changed.NVM_LENGTH = smallest_part(bytes_needed(changed)) if changed.DURABLE else 0
    return changed


def comparison(config, region_totals):
    """{storage: {"regions": {region: bytes}, "ram", "nvm", "part"}}; sums by region_totals."""
    table = {}
    for name in STORAGES:
        variant = stored(config, name)
        totals = region_totals(variant)
        table[name] = {
            "regions": totals,
            "ram": sum(totals.values()),
            "nvm": bytes_needed(variant),
            "part": variant.NVM_LENGTH,
        }
    return table


def comparison_table(compared):
    """The comparison for a person."""
    table = Table(title="Internal RAM by kind of storage, bytes", title_justify="left")
    table.add_column("region")
    for name in compared:
        table.add_column(name, justify="right")
    found = compared.values()
    for region in compared["ram"]["regions"]:
        table.add_row(region, *(grouped(one["regions"].get(region, 0)) for one in found))
    table.add_section()
    table.add_row("total", *(grouped(one["ram"]) for one in found), style="bold")
    table.add_row("non-volatile", *(grouped(one["nvm"]) for one in found))
    table.add_row("smallest part", *(_part_cell(one["part"]) for one in found))
    return table


def _part_cell(part):
    return part_words(part) if part else "none"


def grouped(number):
    """A number with its digits in groups of three."""
    return f"{number:,}".replace(",", " ")
