"""A node's HAL on a host: UDP instead of a radio, a file instead of FRAM.

Runs on MicroPython's unix port and on CPython. A message travels
    send -> hal.frames -> hal.udp ~~~> hal.udp -> hal.impairment (if wanted) -> hal.frames
and costs no allocation on MicroPython (64-bit measured) once this object is made.
"""

import os
import sys
import time

from hal import HalError
from hal.faults import Faults
from hal.filestore import FileStore
from hal.impairment import Impairment
from hal.messages import Messages
from hal.readiness import Readiness
from hal.udp import UdpAir
from tinybft.compat import const, micropython
from tinybft.octets import copy

__all__ = ("Hal", "HalError")

_TICKS_MASK = const(0x3FFFFFFF)

if sys.implementation.name == "micropython":
    _ticks_ms = time.ticks_ms

    @micropython.native
    def now_ms():
        return _ticks_ms() & _TICKS_MASK

    def cycles():
        return time.ticks_us() & _TICKS_MASK

else:

    def now_ms():
        return time.monotonic_ns() // 1_000_000 & _TICKS_MASK

    def cycles():
        return time.monotonic_ns() // 1_000 & _TICKS_MASK


class Hal(Messages):
    """The contract of `hal` for one node; HalError or StoreError when the host refuses.

    loss, duplicate (shares 0..1), delay_ms, jitter_ms: injected on this receiver, see
    hal.impairment; seed: of that injection, None = a random one. store_path: a file of
    store_length bytes. multicast=False: send to each node by itself, as all nodes must then.
    """

    def __init__(  # noqa: PLR0913 - each is an option of a node's command line
        self,
        config,
        node_id,
        crypto=None,
        loss=0.0,
        duplicate=0.0,
        delay_ms=0,
        jitter_ms=0,
        seed=None,
        store_path=None,
        store_length=65536,
        multicast=True,
    ):
        if not 0 <= node_id < config.CLIENT_COUNT:
            raise HalError("node id is %d, must be 0..%d" % (node_id, config.CLIENT_COUNT - 1))
        self.now_ms = now_ms
        self.cycles = cycles
        self.crypto = crypto
        faults = Faults()
        self._impairment = None
        if loss or duplicate or delay_ms or jitter_ms:
            if seed is None:
                seed = int.from_bytes(os.urandom(4), "little")
            self._impairment = Impairment(
                faults, config.FRAME_LENGTH, loss, duplicate, delay_ms, jitter_ms, seed
            )
        self.store = None if store_path is None else FileStore(store_path, store_length)
        air = UdpAir(config, node_id, faults, multicast)
        super().__init__(config, node_id, air, faults)
        if self._impairment is not None:
            self.receive_through(self._impaired)
        self._readiness = Readiness(air.sockets)

    @property
    def multicast(self):
        """Whether broadcasts are multicast; if not, `multicast_reason` says why."""
        return self._air.multicast

    @property
    def multicast_reason(self):
        return self._air.multicast_reason

    @micropython.native
    def _impaired(self):
        """As `air.receive()`, after the faults that are to be injected."""
        impairment = self._impairment
        frame = self._air.frame_in
        now = now_ms()
        length = impairment.take(now, frame)
        if length == 0:
            length = self._air.receive()
            if length > 0 and not impairment.admit(frame, length, now):
                length = -1
        return length

    @micropython.native
    def wait(self, ms):
        """Sleep until something may be receivable, or ms milliseconds."""
        if self._impairment is not None:
            ms = self._until_due(ms)
        if ms > 0:
            self._air.wait(ms)

    async def wait_async(self, ms):
        """The same inside asyncio; allocates."""
        await self._readiness.wait(self._until_due(ms))

    def _until_due(self, ms):
        if self._impairment is not None:
            due_ms = self._impairment.due_in(now_ms())
            if 0 <= due_ms < ms:
                return due_ms
        return ms

    def entropy(self, buf):
        """Fill buf with random bytes; allocates as many."""
        copy(buf, 0, os.urandom(len(buf)), 0, len(buf))

    def close(self):
        """Give sockets and file back; the object is of no use afterwards."""
        self._readiness.close()
        self._air.close()
        if self.store is not None:
            self.store.close()
