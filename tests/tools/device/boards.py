"""Boards to flash in tests: the mock boot loader of an ESP32-C3 at a socket, in this process.

Its flash can be looked at, and it can fail as boards do: unplugged amid a write, a byte that
does not stick, nobody at home. With `says`, whoever connects after the boot loader was done
gets that text, as from a board that runs.
"""

import hashlib
import json
import socket
import struct
import threading

from esp32_mock_bootloader import server

from tools.config import ROOT, load
from tools.device import build
from tools.firmware.partitions import TABLE_OFFSET

CONFIG = ROOT / "config.toml"
FLASH_LENGTH = 4 * 1024 * 1024  # what the mock says that it has


class Unplugged(OSError):
    """The cable was pulled: the connection ends here."""


class Flash(server.FlashImage):
    """What can go wrong with it.

    blocks_left: data blocks until the cable is pulled. stuck: offset of a byte that reads back
    as another one. on_block: called with each block.
    """

    blocks_left = None
    stuck = None
    on_block = None

    def write_plain_block(self, payload):
        if self.blocks_left is not None:
            if self.blocks_left == 0:
                raise Unplugged
            self.blocks_left -= 1
        if self.on_block:
            self.on_block()
        super().write_plain_block(payload)

    def read(self, offset, length):
        content = bytearray(super().read(offset, length))
        if self.stuck is not None and offset <= self.stuck < offset + length:
            content[self.stuck - offset] ^= 1
        return bytes(content)


class MockBoard:
    """A board at `url`; a context, too: closed at the end."""

    def __init__(self, chip="esp32c3"):
        self.chip = chip
        self.flash = Flash()
        self.says = None
        self.silent = False
        self.connections = 0
        self._links = []
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.url = f"socket://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        for link in [*self._links, self._socket]:
            link.close()

    def _serve(self):
        while not self._stop.is_set():
            try:
                link, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.connections += 1
            if self.silent or (self.says and self.connections > 1):
                self._stop.wait(0.2)  # opening a port discards what came before
                link.sendall(self.says or b"")
                self._links.append(link)
                continue
            try:
                server.handle_client(
                    server.BootloaderConnection(sock=link), self._stop, self.chip, flash=self.flash
                )
            except Unplugged:
                link.close()

    def at(self, offset, length):
        """The bytes in its flash."""
        return bytes(self.flash.data[offset : offset + length])


def firmware(folder, config=None, version="v1.29.0", flash_length=FLASH_LENGTH, chip_id=5):
    """A small build output with real headers, and no code in it; returns the folder."""
    config = config or load(CONFIG)
    folder.mkdir(parents=True, exist_ok=True)
    pieces = {
        0: ("bootloader.bin", image(chip_id, b"boot loader " * 300)),
        TABLE_OFFSET: ("partition-table.bin", partition_table(flash_length)),
        build.APP_OFFSET: (
            "micropython.bin",
            image(chip_id, description(version) + b"app" * 9001),
        ),
    }
    for name, data in pieces.values():
        (folder / name).write_bytes(data)
    table = {
        "chip": "esp32c3",
        "pieces": [
            {"offset": offset, "file": name, "sha256": hashlib.sha256(data).hexdigest()}
            for offset, (name, data) in pieces.items()
        ],
        "config": {
            "group_id": config.GROUP_ID,
            "replica_count": config.REPLICA_COUNT,
            "client_count": config.CLIENT_COUNT,
            "name": config.CONFIG_NAME,
        },
        "micropython": version.removeprefix("v"),
        "idf": "5.5.2",
    }
    (folder / build.MANIFEST).write_text(json.dumps(table))
    return folder


def image(chip_id, content):
    """An app image as esptool reads it: header, one segment, checksum."""
    content += b"\0" * (-len(content) % 4)
    header = struct.pack("<BBBBI", 0xE9, 1, 2, 0x20, 0x40380000)
    header += struct.pack("<B3xHBHHxxxxB", 0xEE, chip_id, 0, 0, 0xFFFF, 0)
    segment = struct.pack("<II", 0x3C000020, len(content)) + content
    body = header + segment
    checksum = 0xEF
    for byte in content:
        checksum ^= byte
    return body + b"\0" * (15 - len(body) % 16) + bytes([checksum])


def description(version):
    """esp_app_desc_t: who made the app, and when."""
    return struct.pack(
        "<I12x32s32s16s16s32s32s80x",
        0xABCD5432,
        version.encode(),
        b"micropython",
        b"12:00:00",
        b"Jan  1 2026",
        b"v5.5.2",
        bytes(32),
    )


def partition_table(flash_length, nvs_offset=0x9000):
    rows = (
        (1, 2, nvs_offset, 0x6000, b"nvs"),
        (1, 1, 0xF000, 0x1000, b"phy_init"),
        (0, 0, 0x10000, 0x1F0000, b"factory"),
        (1, 0x81, 0x200000, flash_length - 0x200000, b"vfs"),
    )
    table = b"".join(struct.pack("<2sBBII16sI", b"\xaa\x50", *row, 0) for row in rows)
    return table.ljust(0xC00, b"\xff")
