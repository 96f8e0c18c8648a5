"""Sums over the static regions: by the rows of the paper's Table I, and as the heap takes them."""

from collections import Counter

from tinybft.memory import Memory
from tools.config_sizes import region_totals, static_rows
from tools.nonvolatile import comparison

# TinyBFT, RTAS 2024, Table I: bytes after start-up of the C++ system, PBFT_ESP
PAPER = {
    "client": 11460,
    "agreement": 11908,
    "execution": 115780,
    "view": 7920,
    "other": 18447,
}
HEAP_BLOCK_LENGTH = 16  # bytes, of MicroPython's collector on 32 bits; a bytearray object is one
_OF_MEMORY = ("durability", "frames")  # regions that are not made by tinybft.memory.Memory


def paper_totals(rows):
    """{row of Table I: bytes} in the order of the paper."""
    totals = Counter()
    for _, _, length, _, row in rows:
        totals[row] += length
    return {row: totals[row] for row in PAPER}


def compared(config):
    """Internal RAM with regions in "ram", "mirror" and "nvm"; see nonvolatile.comparison."""
    return comparison(config, lambda variant: region_totals(static_rows(variant)))


def regions_total(config):
    """Bytes of all static regions."""
    return sum(row[2] for row in static_rows(config))


def on_heap(config):
    """Bytes of heap that the regions take on the emulated board: whole blocks, and one block for
    each bytearray object. It has no ESP-NOW, and so none of its buffers."""
    total = sum(_block_bytes(len(region)) for region in _bytearrays(Memory(config)))
    for region, _, length, _, _ in emulated_rows(config):
        if region in _OF_MEMORY:
            total += _block_bytes(length)
    return total


def emulated_rows(config):
    """The rows of `static_rows` that the emulated board has, which is not of this transport."""
    values = vars(config) | {"TRANSPORT": "unix"}
    return static_rows(type(config)(**values))


def _block_bytes(length):
    blocks = -(-length // HEAP_BLOCK_LENGTH)
    return (blocks + 1) * HEAP_BLOCK_LENGTH if length else HEAP_BLOCK_LENGTH


def _bytearrays(value):
    """Every bytearray that an object holds, in attributes, dicts, lists and tuples."""
    if isinstance(value, bytearray):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _bytearrays(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _bytearrays(item)
    elif hasattr(value, "__dict__"):
        yield from _bytearrays(vars(value))
