"""One board in its boot loader, through esptool: read, write, verify, restart.

Whatever goes wrong becomes a `BoardFailure` that says what is on the board now and how to go on.
What esptool says goes to the board's log file; several boards talk at once, each from its own
thread, so the log is chosen by thread.
"""

import contextlib
import hashlib
import struct
import threading

from esp_pylib.logger import EspLog, EspLogBase
from esptool import cmds
from esptool.util import FatalError, flash_size_bytes, strip_chip_name

from tools.device import build, ports
from tools.device.identity import found_in
from tools.device.nvs import LENGTH as NVS_LENGTH
from tools.device.nvs import OFFSET as NVS_OFFSET
from tools.firmware.partitions import TABLE_OFFSET, read_binary

try:
    from termios import error as TerminalError
except ImportError:  # a system without terminals of that kind
    TerminalError = OSError

_CONNECT_ATTEMPTS = 4
_FAST = 460800  # bits per second, once the flasher runs; a C3's own USB has no such rate
_PAGE = 4096
_TABLE_HEAD = 512  # bytes of the partition table that are looked at: 16 rows


class BoardFailure(Exception):
    """What happened to one board, the state it is in, and the remedy, in words."""


class Cancelled(BoardFailure):
    """The user stopped it."""


class _ThreadLog(EspLogBase):
    """Hands what esptool says to the board that the calling thread works on."""

    def __init__(self):
        self.of_thread = threading.local()

    def print(self, *args, end="\n", **_):
        board = getattr(self.of_thread, "board", None)
        if board:
            board.heard(" ".join(map(str, args)) + end)

    def err(self, *args, suggestion=None):
        self.print(*args, suggestion or "")

    warn = err

    def note(self, *args):
        self.print(*args)

    hint = debug = note

    def set_verbosity(self, mode):
        """One verbosity: everything."""

    def progress_bar(self, cur_iter, total_iters, prefix="", suffix="", bar_length=30):
        board = getattr(self.of_thread, "board", None)
        if board:
            board.moved(cur_iter, total_iters)


_THREAD_LOG = _ThreadLog()
EspLog.instance = _THREAD_LOG


class Board:
    """A board at a port. Requires: one thread at a time.

    chip ("esp32c3"), mac, flash_length in bytes (None: unknown), app_head, partitions
    ({name: Partition}) and found (see `identity.Found`) are known from `open` on.
    """

    def __init__(self, port, log_file, stub=True):
        self.port = port
        self.log_file = log_file
        self.cancelled = False
        self.on_progress = lambda what, done, total: None
        self._stub = stub
        self._what = ""
        self._serial = None
        self._esp = None

    def open(self):
        """Reset the board into its boot loader and look at it; raises BoardFailure, Refusal."""
        self._what = "looking"
        self._serial = ports.opened(self.port)
        with self._speaking(
            "does not answer; hold its BOOT button, press RESET, let BOOT go, and try again"
            " (a socket:// port must be in its boot loader already)"
        ):
            self._esp = cmds.detect_chip(self._serial, connect_attempts=_CONNECT_ATTEMPTS)
            self.chip = strip_chip_name(self._esp.CHIP_NAME)
        with self._speaking("cannot be read; nothing was changed. Check the cable, try again"):
            if self._stub:
                self._esp = cmds.run_stub(self._esp)
                self._esp.change_baud(_FAST)
            # another board might be at the port when it comes back: no retry behind our back
            self._esp.WRITE_FLASH_ATTEMPTS = 1
            cmds.attach_flash(self._esp)
            self.mac = ":".join(f"{byte:02x}" for byte in self._esp.read_mac())
            self.flash_length = flash_size_bytes(cmds.detect_flash_size(self._esp))
            if self._esp.get_flash_encryption_enabled():
                raise BoardFailure(
                    "has flash encryption on, which this command does not support; use"
                    " Espressif's own tools for such a board"
                )
            self.app_head = self.read(build.APP_OFFSET, build.APP_HEAD_LENGTH)
            self.partitions = read_binary(self.read(TABLE_OFFSET, _TABLE_HEAD))
            self.found = found_in(self._read_sparse(NVS_OFFSET, NVS_LENGTH))

    def read(self, offset, length):
        """The bytes of a region of the flash."""
        with self._speaking("cannot be read; check the cable, and try again"):
            return cmds.read_flash(self._esp, offset, length, no_progress=True)

    def _read_sparse(self, offset, length):
        """The same; pages that a digest shows to be blank need not come over the wire."""
        blank = b"\xff" * _PAGE
        return b"".join(
            blank if self.holds(place, blank) else self.read(place, _PAGE)
            for place in range(offset, offset + length, _PAGE)
        )

    def holds(self, offset, data):
        """Whether the region has these bytes already, by a digest made on the board."""
        with self._speaking("cannot be read; check the cable, and try again"):
            return self._esp.flash_md5sum(offset, len(data)) == hashlib.md5(data).hexdigest()

    def write(self, offset, data, what, state):
        """Write a region and have the board verify its digest; raises BoardFailure.

        state: what a person must know if it fails half-way.
        """
        self._what = what
        with self._speaking(f"writing the {what} failed; {state}"):
            cmds.write_flash(self._esp, [(offset, data)])

    def close(self):
        """Restart the board into what is in its flash, and free the port."""
        if self._esp is not None:
            with contextlib.suppress(BoardFailure), self._speaking("cannot be restarted"):
                self.cancelled = False
                cmds.reset_chip(self._esp, "hard-reset")
        if self._serial is not None:
            with contextlib.suppress(OSError, TerminalError):
                self._serial.close()
        self._esp = self._serial = None

    def heard(self, text):
        """Called with what esptool says; raises Cancelled."""
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(text)
        self._stop_if_cancelled()

    def moved(self, done, total):
        """Called as a write goes on; raises Cancelled."""
        self.on_progress(self._what, done, total)
        self._stop_if_cancelled()

    def _stop_if_cancelled(self):
        if self.cancelled:
            raise Cancelled("stopped")

    @contextlib.contextmanager
    def _speaking(self, words):
        """esptool speaks to this board's log here, and its errors become BoardFailure."""
        before = getattr(_THREAD_LOG.of_thread, "board", None)
        _THREAD_LOG.of_thread.board = self
        try:
            yield
        except Cancelled as error:
            raise BoardFailure(f"stopped: {words}") from error
        except (FatalError, OSError, TerminalError, struct.error) as error:
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(f"\n{type(error).__name__}: {error}\n")
            raise BoardFailure(words) from error
        finally:
            _THREAD_LOG.of_thread.board = before
