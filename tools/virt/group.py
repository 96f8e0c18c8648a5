"""A group of emulated boards in one folder: firmware, identities, memories, radio, consoles.

build/virt/
  firmware/            see tools/firmware/virt.py
  keys/                made when absent
  board-N.ram, .log    RAM (and in it the non-volatile memory) and console of board N
  boards.json is build/boards.json, for `tinybft repl` and `tinybft monitor`
"""

import json
import time

from hal.crypto import digest_into
from tinybft.identity import format_store
from tools.cluster.files import RunFolder
from tools.config import load
from tools.device.boards import record
from tools.device.link import BoardError, Link, LinkError
from tools.firmware import virt
from tools.firmware.stage import stage
from tools.keys import write_keys
from tools.refusal import Refusal
from tools.virt.board import Board, qemu
from tools.virt.radio import Radio

RUN_FOLDER = "build/virt"
CONSOLE_PORT = 47100
STORE_LENGTH_MIN = 65536
BOOT_SECONDS = 20.0
_SERVES = "tinybft: replica"
_REFUSES = "tinybft: not started: "
_ASK_ATTEMPTS = 5


class Group:
    """Use as a context manager: at its end no board has power any more."""

    def __init__(  # noqa: PLR0913 - each is an option of the command line
        self,
        path=RUN_FOLDER,
        config_path="config.toml",
        loss=0.0,
        rate=None,
        seed=1,
        console_port=CONSOLE_PORT,
        main=None,
        includes=(),
        micropython=None,
        mbedtls=None,
    ):
        """loss: share 0..1. Builds what is to be built; raises Refusal."""
        qemu()
        self.folder = RunFolder(path)
        self.config = load(config_path)
        output = self.folder.path / "firmware"
        manifest = stage(output / "source", config_path, "VIRT_RV32", main, includes)
        self.sizes = virt.build(micropython, mbedtls, manifest, output, self.config)
        self._provide_keys()
        self.radio = Radio(seed, loss, rate)
        self.boards = [
            Board(i, self.folder.path, output / "firmware.elf", console_port + i)
            for i in range(self.config.REPLICA_COUNT)
        ]
        self.radio.boards = dict(enumerate(self.boards))
        self.store_length = max(STORE_LENGTH_MIN, self.config.NVM_LENGTH)

    def _provide_keys(self):
        config, folder = self.config, self.folder
        wanted = [folder.key_file(i) for i in range(config.CLIENT_COUNT)]
        known = folder.read_json(wanted[-1])
        if not known or (known["group_id"], known["client_count"]) != (
            config.GROUP_ID,
            config.CLIENT_COUNT,
        ):
            write_keys(config, folder.keys, config.CLIENT_COUNT, force=True)

    def __enter__(self):
        self.radio.__enter__()
        return self

    def __exit__(self, *error):
        self.radio.__exit__(*error)
        for board in self.boards:
            board.close()

    def begin(self):
        """A new group: memories formatted, all boards on and serving. Raises Refusal."""
        for board in self.boards:
            store = board.mailbox.store(self.store_length)
            store.octets[:] = bytes(self.store_length)
            if self.config.DURABLE:
                format_store(store, self.config, board.node_id, digest_into)
        for board in self.boards:
            self.power_on(board)
        for board in self.boards:
            self.await_start(board)
        record({board.node_id: board.device for board in self.boards}, anew=True)

    def power_on(self, board):
        identity = self.folder.key_file(board.node_id).read_text(encoding="utf-8")
        board.power_on(identity, self.store_length)

    def await_start(self, board):
        """Wait until the board's program says that it serves; raises Refusal."""
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            log = board.log()[board.log_read :]
            if _SERVES in log:
                return
            late = time.monotonic() > deadline
            if late or board.has_ended() or _REFUSES in log or "Traceback" in log:
                lines = log.strip().splitlines() or ["it says nothing"]
                said = [line for line in lines if _REFUSES in line] or lines[-6:]
                raise Refusal(f"board {board.node_id}: does not start; {board.log_path}:", *said)
            time.sleep(0.02)

    def execute(self, node_id, code):
        """What `code` prints on a running board; raises Refusal."""
        device = self.boards[node_id].device
        for attempt in range(_ASK_ATTEMPTS):
            try:
                link = Link(device)
                try:
                    return link.execute(code)
                finally:
                    link.close()
            except LinkError as error:
                if attempt == _ASK_ATTEMPTS - 1:
                    raise Refusal(f"board {node_id}: {error}") from error
                time.sleep(0.3)
            except BoardError as error:
                raise Refusal(f"board {node_id}: {error}") from error

    def status(self, node_id):
        """What `tinybft.repl.print_json()` says there, as a dict."""
        return json.loads(self.execute(node_id, "import tinybft.repl as t; t.print_json()"))

    def heap_in_use(self, node_id):
        """Bytes, after a collection."""
        return int(self.execute(node_id, "import gc; gc.collect(); print(gc.mem_alloc())"))

    def stack_used(self, node_id):
        """The most bytes of stack that the board has ever used since it was switched on."""
        return self.boards[node_id].mailbox.stack_used()
