"""What the sniffer hears: each vote of a replica, in a pipe, before it goes to the radio.

Runs on MicroPython, in front of `hal.send`. A socket on the air would lose datagrams under
load and hears nothing that is sent to one node alone, such as repairs; a pipe loses nothing,
not even what a process wrote just before its SIGKILL. A message tells its own length, so the
pipe carries messages one behind the other and nothing else. Allocates nothing.
"""

from tinybft import wire

KINDS = (
    wire.PRE_PREPARE,
    wire.PREPARE,
    wire.COMMIT,
    wire.CHECKPOINT,
    wire.VIEW_CHANGE,
    wire.VIEW_CHANGE_ACK,
    wire.NEW_VIEW,
)


class Tap:
    """`send` as that of a HAL. descriptor: the pipe's end that this process inherited."""

    def __init__(self, send, descriptor):
        self._send = send
        self._pipe = open(descriptor, "wb", 0)  # noqa: SIM115 - lives as long as the process

    def send(self, target, buf, length):
        if self._pipe and buf[1] in KINDS:
            try:
                self._pipe.write(buf, length)
            except OSError:
                self._pipe = None  # nobody listens any more: a cluster that is kept
        return self._send(target, buf, length)
