"""A board's console as a program uses it: the raw REPL, through mpremote's transport.

Never a soft reset, which would end the replica, and never Ctrl-C, which would interrupt what
somebody runs there: a board whose prompt does not answer is left alone, with words.
"""

import contextlib
from pathlib import Path

from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

ANSWER_S = 3.0
EXECUTE_S = 15.0
_ENTER = b"\x01"
_BANNER = b"raw REPL; CTRL-B to exit\r\n"


class LinkError(Exception):
    """The board cannot be asked; the text says why, and the remedy."""


class BoardError(Exception):
    """What was executed there raised; the text is the board's, its last line."""


class Link:
    """An open console in raw REPL; LinkError if there is none. Close it: it is exclusive."""

    def __init__(self, device):
        self.device = device
        if "://" not in device and not Path(device).exists():
            raise LinkError(f"{device}: no such device; is the board plugged in?")
        try:
            self._transport = SerialTransport(device, timeout=ANSWER_S)
        except (TransportError, OSError) as error:
            raise LinkError(
                f"{device}: cannot be opened; end the program that uses it, check that the"
                f" board runs and that you may use the port ({error})"
            ) from None
        self._transport.use_raw_paste = False
        try:
            self._enter()
        except BaseException:
            self._drop()
            raise

    def _enter(self):
        transport = self._transport
        try:
            transport.serial.write(_ENTER)
            data = transport.read_until(1, _BANNER, timeout_overall=ANSWER_S)
        except OSError as error:
            raise LinkError(f"{self.device}: the board has gone ({error})") from None
        if not data.endswith(_BANNER):
            raise LinkError(
                f"{self.device}: no prompt answers; a program runs in the foreground, or another"
                " program is connected (Ctrl-C in `tinybft repl` interrupts what runs)"
            )
        transport.in_raw_repl = True

    def execute(self, code, silence_s=EXECUTE_S):
        """What `code` prints there; it may be silent that long."""
        try:
            output, raised = self._transport.exec_raw(code, timeout=silence_s)
        except (TransportError, TransportExecError, OSError) as error:
            raise LinkError(f"{self.device}: the board has gone, or hangs ({error})") from None
        if raised:
            raise BoardError(raised.decode(errors="replace").strip().splitlines()[-1])
        return output.decode(errors="replace")

    def close(self):
        """Back to the friendly prompt."""
        try:
            self._transport.exit_raw_repl()
            self._transport.serial.flush()
        except OSError:
            pass
        self._drop()

    def _drop(self):
        with contextlib.suppress(OSError):
            self._transport.close()
