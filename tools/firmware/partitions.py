"""The partition table of a board: its CSV, and the binary form that lies in the flash.

Binary, from ESP-IDF's gen_esp32part.py: entries of 32 bytes, little-endian

    magic 0x50aa u16 | type u8 | subtype u8 | offset u32 | size u32 | name, 16 bytes | flags u32

up to the first that does not begin with the magic (the checksum's, or erased flash).
"""

import struct
from typing import NamedTuple

TABLE_OFFSET = 0x8000
TABLE_LENGTH = 0x1000
_ENTRY = struct.Struct("<HBBII16sI")
_MAGIC = 0x50AA
_TYPES = {"app": 0, "data": 1}
_SUBTYPES = {"factory": 0x00, "phy": 0x01, "nvs": 0x02, "fat": 0x81}


class Partition(NamedTuple):
    name: str
    type: int
    subtype: int
    offset: int
    size: int


def read_csv(path):
    """{name: Partition} of a CSV in which every offset and size is written out."""
    table = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, kind, subtype, offset, size = [field.strip() for field in line.split(",")][:5]
        number = _SUBTYPES[subtype] if subtype in _SUBTYPES else int(subtype, 0)
        table[name] = Partition(name, _TYPES[kind], number, int(offset, 0), int(size, 0))
    return table


def read_binary(data):
    """The same of the bytes of partition-table.bin."""
    table = {}
    for start in range(0, len(data) - _ENTRY.size + 1, _ENTRY.size):
        magic, kind, subtype, offset, size, name, _ = _ENTRY.unpack_from(data, start)
        if magic != _MAGIC:
            break
        name = name.rstrip(b"\0").decode("ascii", "replace")
        table[name] = Partition(name, kind, subtype, offset, size)
    return table
