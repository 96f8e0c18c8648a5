"""Heap in use by one replica on the emulated board: before its main.py, and after.

The firmware is the one that `tinybft firmware --board VIRT_RV32` builds, but for a main.py that
prints gc.mem_alloc() at its begin and at its end (boards/VIRT_RV32/heap). Under `-icount` each
run is the same instructions as the one before, so the figures are the same to the byte. The
service is the key-value store; a counter where the state is too short for it.
"""

import os
import re
import time
from pathlib import Path

from hal.crypto import digest_into
from tinybft.apps.kv import KeyValueStore
from tinybft.identity import format_store
from tools.config import load
from tools.firmware import virt
from tools.firmware.stage import ROOT, stage
from tools.keys import write_keys
from tools.refusal import Refusal
from tools.virt.bench import free_port
from tools.virt.board import Board, qemu

BOARD = "VIRT_RV32"
MAIN = ROOT / "boards" / BOARD / "heap" / "main.py"
MAIN_OF_COUNTER = MAIN.parent / "counter" / "main.py"
_STORE_LENGTH_MIN = 65536
_PATIENCE_S = 60
_LINE = re.compile(r"^heap: (bare|started) (\d+)\s*$", re.MULTILINE)


def measure(folder, config_path, heap_length=virt.HEAP_LENGTH):
    """{"bare": bytes, "started": bytes} of a configuration; raises Refusal.

    heap_length: bytes of the board's heap; it must hold what is measured.
    """
    qemu()
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    config = load(config_path)
    has_room = config.STATE_LENGTH >= KeyValueStore.state_length
    main = MAIN if has_room else MAIN_OF_COUNTER
    manifest = stage(folder / "source", config_path, BOARD, main)
    sources = [os.environ.get(name) for name in ("MICROPYTHON_DIR", "MBEDTLS_DIR")]
    virt.build(*sources, manifest, folder, config, heap_length)
    write_keys(config, folder / "keys", config.CLIENT_COUNT, force=True)
    identity = (folder / "keys" / "node-0.key.json").read_text(encoding="utf-8")
    board = Board(0, folder, folder / "firmware.elf", free_port(), icount=True)
    try:
        store_length = max(_STORE_LENGTH_MIN, config.NVM_LENGTH)
        store = board.mailbox.store(store_length)
        with store.octets:
            store.octets[:] = bytes(store_length)
            if config.DURABLE:
                format_store(store, config, 0, digest_into)
        board.power_on(identity, store_length)
        return _result(board)
    finally:
        board.close()


def _result(board):
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        found = {name: int(number) for name, number in _LINE.findall(board.log())}
        if len(found) == 2:
            break
        if board.has_ended() or ">>> " in board.log() or time.monotonic() > deadline:
            raise _no_result(board)
        time.sleep(0.02)
    if "tinybft: not started" in board.log():
        raise _no_result(board)
    return found


def _no_result(board):
    lines = board.log().splitlines()[-6:] or ["nothing"]
    return Refusal(
        f"{board.log_path}: the replica does not start; the board says at last:", *lines
    )
