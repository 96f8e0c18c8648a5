"""NVS images: the key-value store of ESP-IDF in one partition of the flash.

Made by Espressif's generator; the same values always give the same bytes. Read here, because
a board's own image has what its firmware wrote since: erased entries, several pages, other
namespaces. Numbers are little-endian, checksums CRC-32 (ESP-IDF, "NVS Internals"):

    page   4096: header 32, entry states 32 (2 bits each), 126 entries of 32
    header   32: state u32, sequence number u32, version u8, ..., CRC u32 of bytes 4 to 28
    entry    32: namespace u8, type u8, span u8, chunk u8, CRC u32 of the other 28 bytes,
                 key 16, data 8; the entries it spans hold the value if that is longer

A blob lies in chunks (type BLOB_DATA) under an index with their number and the whole length.
"""

import io
import struct
import zlib

from esp_idf_nvs_partition_gen import nvs_partition_gen as generator

OFFSET = 0x9000
LENGTH = 0x6000
_PAGE = 4096
_ENTRY = 32
_ENTRY_COUNT = 126
_FIRST_ENTRY = 64
_EMPTY = 0xFFFFFFFF
_STATES = (0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8)  # active, full, being freed
_WRITTEN = 0b10
_INTEGERS = (0x01, 0x02, 0x04, 0x08, 0x11, 0x12, 0x14, 0x18)  # low digit: length; 0x10: signed
_STRING = 0x21
_BLOB_OLD = 0x41
_BLOB_DATA = 0x42
_BLOB_INDEX = 0x48


class NvsError(Exception):
    """The bytes are not an NVS partition, or one whose pages are damaged."""


def image(namespace, values, length=LENGTH):
    """The partition with one namespace: {key: int as i32, or bytes as blob}."""
    out = io.BytesIO()
    # the generator adds the page that NVS keeps free by itself
    store = generator.nvs_open(out, length - _PAGE, version=generator.Page.VERSION2)
    generator.write_entry(store, namespace, "namespace", "", "")
    for key, value in values.items():
        encoding = "i32" if isinstance(value, int) else "binary"
        generator.write_entry(store, key, "data", encoding, value)
    generator.nvs_close(store)
    return out.getvalue()


def parse(content):
    """{namespace: {key: int or bytes}} of a partition; raises NvsError.

    Entries whose checksum is wrong and blobs that lack a chunk are left out, as on the device.
    """
    names, values, chunks, indices = {}, {}, {}, {}
    for entry in _entries(content):
        namespace, kind, chunk, key, data, payload = entry
        if namespace == 0:
            names[data[0]] = key
        elif kind in _INTEGERS:
            signed = bool(kind & 0x10)
            values[namespace, key] = int.from_bytes(data[: kind & 0xF], "little", signed=signed)
        elif kind in (_STRING, _BLOB_OLD, _BLOB_DATA):
            length, crc = struct.unpack("<H2xI", data)
            if _crc(payload[:length]) == crc:
                store, place = values, (namespace, key)
                if kind == _BLOB_DATA:
                    store, place = chunks, (namespace, key, chunk)
                store[place] = payload[:length]
        elif kind == _BLOB_INDEX:
            indices[namespace, key] = struct.unpack("<IBB", data[:6])
    values.update(_blobs(indices, chunks))
    table = {name: {} for name in names.values()}
    for (namespace, key), value in values.items():
        if namespace in names:
            table[names[namespace]][key] = value
    return table


def _blobs(indices, chunks):
    for (namespace, key), (length, count, start) in indices.items():
        parts = [chunks.get((namespace, key, start + number)) for number in range(count)]
        if None not in parts and sum(map(len, parts)) == length:
            yield (namespace, key), b"".join(parts)


def _entries(content):
    """(namespace, type, chunk, key, data 8, payload) of all that is written, oldest first."""
    for page in _pages(content):
        number = 0
        while number < _ENTRY_COUNT:
            start = _FIRST_ENTRY + number * _ENTRY
            entry = page[start : start + _ENTRY]
            namespace, kind, span, chunk, crc = struct.unpack_from("<BBBBI", entry)
            good = (
                page[32 + number // 4] >> (number % 4) * 2 & 3 == _WRITTEN
                and crc == _crc(entry[:4] + entry[8:])
                and 1 <= span <= _ENTRY_COUNT - number
            )
            if good:
                key = entry[8:24].split(b"\0")[0].decode("ascii", "replace")
                payload = page[start + _ENTRY : start + span * _ENTRY]
                yield namespace, kind, chunk, key, entry[24:], payload
            number += span if good else 1


def _pages(content):
    pages = []
    for start in range(0, len(content), _PAGE):
        page = bytes(content[start : start + _PAGE])
        state, sequence = struct.unpack_from("<II", page)
        if state == _EMPTY and page.count(0xFF) == len(page):
            continue
        (crc,) = struct.unpack_from("<I", page, 28)
        if state not in _STATES or crc != _crc(page[4:28]):
            raise NvsError(f"the page at {start:#x} of the partition is damaged or no NVS page")
        pages.append((sequence, page))
    return [page for _, page in sorted(pages, key=lambda pair: pair[0])]


def _crc(data):
    return zlib.crc32(data, 0xFFFFFFFF)
