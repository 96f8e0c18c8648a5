"""A build output of firmware: its pieces, each written to the flash at its own offset.

The folder, made by `tinybft firmware`, has the pieces and flash.json, which lists them:

    {"chip": "esp32c3",
     "pieces": [{"offset": 0, "file": "bootloader.bin", "sha256": "<64 hex digits>"},
                {"offset": 32768, "file": "partition-table.bin", "sha256": "..."},
                {"offset": 65536, "file": "micropython.bin", "sha256": "..."}],
     "config": {"group_id": 1, "replica_count": 4, "client_count": 5, "name": "default"},
     "micropython": "1.29.0", "idf": "5.5.2"}

No piece may touch the NVS partition: an upgrade keeps the identity.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from tools.device import nvs
from tools.firmware.partitions import TABLE_OFFSET, read_binary
from tools.refusal import Refusal

MANIFEST = "flash.json"
CHIP = "esp32c3"
APP_OFFSET = 0x10000
APP_HEAD_LENGTH = 0x120  # image header 24, segment header 8, description 256
_IMAGE_MAGIC = 0xE9
_IMAGE_CHIP_IDS = {"esp32c3": 5}
_DESCRIPTION_MAGIC = 0xABCD5432
_SECTOR = 4096
_REMEDY = "build it with `tinybft firmware`, or choose another --firmware"


@dataclass(frozen=True)
class Piece:
    """One region of the flash: a multiple of 4 bytes."""

    offset: int
    name: str
    data: bytes


@dataclass(frozen=True)
class Build:
    """config: GROUP_ID, REPLICA_COUNT, CLIENT_COUNT; flash_length: bytes that it needs."""

    folder: Path
    chip: str
    pieces: tuple[Piece, ...]
    config: SimpleNamespace
    flash_length: int
    words: str

    @property
    def app_head(self):
        """The first bytes of the app, by which a board is seen to have this very build."""
        return next(piece.data for piece in self.pieces if piece.offset == APP_OFFSET)[
            :APP_HEAD_LENGTH
        ]


def load(folder):
    """The build in a folder, checked before any board is touched; raises Refusal."""
    folder = Path(folder)
    manifest = folder / MANIFEST
    try:
        table = json.loads(manifest.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"{folder}: no firmware there ({error.strerror}); {_REMEDY}") from error
    except ValueError:
        raise Refusal(f"{manifest}: is not JSON; {_REMEDY}") from None
    try:
        named = table["config"]
        config = SimpleNamespace(
            CONFIG_NAME=named["name"],
            GROUP_ID=_whole(named["group_id"]),
            REPLICA_COUNT=_whole(named["replica_count"]),
            CLIENT_COUNT=_whole(named["client_count"]),
        )
        words = f"MicroPython {table['micropython']}, ESP-IDF {table['idf']}"
        words += f", configuration {config.CONFIG_NAME}, group {config.GROUP_ID}"
        pieces = tuple(_piece(folder, entry) for entry in table["pieces"])
        chip = table["chip"]
    except (KeyError, TypeError):
        raise Refusal(
            f"{manifest}: lacks something that belongs there, or has it otherwise; {_REMEDY}"
        ) from None
    _check_places(manifest, pieces)
    _check_images(folder, chip, pieces)
    return Build(folder, chip, pieces, config, _flash_length(folder, pieces), words)


def _piece(folder, entry):
    path = folder / entry["file"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from error
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise Refusal(f"{path}: is not what {MANIFEST} lists (another sha256); {_REMEDY}")
    return Piece(_whole(entry["offset"]), entry["file"], data + b"\xff" * (-len(data) % 4))


def _whole(value):
    if type(value) is not int or value < 0:
        raise TypeError
    return value


def _check_places(manifest, pieces):
    taken = [(piece.offset, len(piece.data), piece.name) for piece in pieces]
    taken = sorted([*taken, (nvs.OFFSET, nvs.LENGTH, "NVS, which holds the identity")])
    for (offset, length, name), (following, _, other) in zip(taken, taken[1:], strict=False):
        if offset + -(-length // _SECTOR) * _SECTOR > following:
            raise Refusal(
                f"{manifest}: {name} at {offset:#x} reaches into {other} at {following:#x};"
                f" {_REMEDY}"
            )
    if not {0, TABLE_OFFSET, APP_OFFSET} <= {piece.offset for piece in pieces}:
        raise Refusal(
            f"{manifest}: must list pieces at 0x0 (boot loader), {TABLE_OFFSET:#x} (partition"
            f" table) and {APP_OFFSET:#x} (app); {_REMEDY}"
        )


def _check_images(folder, chip, pieces):
    for piece in pieces:
        if piece.offset in (0, APP_OFFSET):
            head = piece.data[:24].ljust(24, b"\0")
            (chip_id,) = struct.unpack_from("<H", head, 12)
            if head[0] != _IMAGE_MAGIC or chip_id != _IMAGE_CHIP_IDS.get(chip):
                raise Refusal(f"{folder / piece.name}: is not an image for chip {chip}; {_REMEDY}")


def _flash_length(folder, pieces):
    table = next(piece for piece in pieces if piece.offset == TABLE_OFFSET)
    rows = read_binary(table.data)
    if not has_nvs(rows):
        raise Refusal(
            f"{folder / table.name}: has no partition nvs at {nvs.OFFSET:#x} of {nvs.LENGTH:#x}"
            f" bytes, where the identity belongs; {_REMEDY}"
        )
    return max(row.offset + row.size for row in rows.values())


def has_nvs(table):
    """Whether a partition table has the identity's place where it belongs."""
    row = table.get("nvs")
    return row is not None and (row.offset, row.size) == (nvs.OFFSET, nvs.LENGTH)


def app_words(head):
    """What an app says of itself, as "micropython v1.29.0 (IDF v5.5.2)", or None.

    head: its first APP_HEAD_LENGTH bytes. Layout: ESP-IDF, esp_app_desc_t.
    """
    if len(head) < APP_HEAD_LENGTH or head[0] != _IMAGE_MAGIC:
        return None
    magic, version, project, idf = struct.unpack_from("<I12x32s32s32x32s", head, 32)
    if magic != _DESCRIPTION_MAGIC:
        return None
    version, project, idf = (_printable(text) for text in (version, project, idf))
    return f"{project} {version} (IDF {idf})"


def _printable(text):
    text = text.split(b"\0")[0].decode("ascii", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
