"""A node's HAL on a host: UDP instead of a radio, a file instead of FRAM.

Runs on MicroPython's unix port and on CPython. Broadcast is UDP multicast (of loopback or a
LAN); where that is not to be had, it fans out by unicast and says so once. All nodes of a group
must then do so (multicast=False), because who multicasts does not reach who cannot hear it.

    datagram, always 2 + FRAME_LENGTH bytes:  0 u16 frame length · 2 frame · padding

The size is fixed because MicroPython's `readinto`, the only way to receive without allocating,
concatenates waiting datagrams until the buffer is full. A foreign datagram of another size
thus spoils at most the one behind it: that one is cut, the next starts afresh. A frame length
of 0 is a node's own probe at boot and is ignored by all.

Measured on 64-bit MicroPython: `sendto`, `readinto`, `ipoll` allocate 0 bytes; only an OSError
does (32-bit not measured). A refused `sendto` is counted, never raised.
"""

import os
import select
import sys
import time

from hal import BROADCAST
from hal.faults import Faults
from hal.filestore import FileStore
from hal.frames import Fragments, Reassembly
from hal.impairment import Impairment
from hal.readiness import Readiness
from hal.udp import (
    HalError,
    address_of,
    echoes,
    open_multicast,
    open_unicast,
    reader_of,
    unicast_addresses,
)
from tinybft.compat import const
from tinybft.octets import copy, get_u16, put_u16

__all__ = ("Hal", "HalError")

_TICKS_MASK = const(0x3FFFFFFF)
_PREFIX_LENGTH = const(2)
# Frames looked at per call of receive_into: bounded work under a flood.
_FRAMES_PER_CALL = const(64)
# Reads from one socket before the other gets its turn. It is emptied first, because
# alternating would interleave the fragments of two messages.
_FRAMES_PER_TURN = const(32)
_PROBE_MS = const(200)

if sys.implementation.name == "micropython":

    def now_ms():
        return time.ticks_ms() & _TICKS_MASK

    def cycles():
        return time.ticks_us() & _TICKS_MASK

else:

    def now_ms():
        return time.monotonic_ns() // 1_000_000 & _TICKS_MASK

    def cycles():
        return time.monotonic_ns() // 1_000 & _TICKS_MASK


class Hal:
    """The contract of `hal` for one node; HalError when the host refuses.

    loss, duplicate (shares 0..1), delay_ms, jitter_ms: injected on this receiver, see
    hal.impairment; seed: of that injection. store_path: file of store_length bytes.
    """

    def __init__(
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
        self.node_id = node_id
        self.crypto = crypto
        self.faults = Faults()
        self.store = None
        self._message_length_max = config.MESSAGE_LENGTH_MAX
        self._datagram_length = _PREFIX_LENGTH + config.FRAME_LENGTH
        self._frame_length_max = config.FRAME_LENGTH
        self._received = bytearray(self._datagram_length)
        self._frame = memoryview(self._received)[_PREFIX_LENGTH:]
        self._sent = bytearray(self._datagram_length)
        number = os.urandom(1)[0]
        self._fragments = Fragments(
            config, node_id, memoryview(self._sent)[_PREFIX_LENGTH:], number
        )
        self._reassembly = Reassembly(config, node_id, self.faults)
        self._impairment = None
        if loss or duplicate or delay_ms or jitter_ms:
            if seed is None:
                seed = int.from_bytes(os.urandom(4), "little")
            self._impairment = Impairment(
                self.faults, config.FRAME_LENGTH, loss, duplicate, delay_ms, jitter_ms, seed
            )
        if store_path is not None:
            self.store = FileStore(store_path, store_length)
        self._open(config, multicast)

    def _open(self, config, multicast):
        self._addresses = unicast_addresses(config)
        self._group = address_of(config.MULTICAST_GROUP, config.PORT)
        self._addresses_of_others = [
            self._addresses[i]
            for i in range(config.CLIENT_COUNT)
            if i != self.node_id and self._addresses[i] is not None
        ]
        unicast = open_unicast(config, self.node_id)
        self._sockets = [unicast]
        self._sendto = unicast.sendto
        self.multicast = True
        self.multicast_reason = ""
        if multicast:
            self._open_multicast(config, unicast)
        else:
            self._fan_out("it was not wanted")
        self._reads = tuple(reader_of(sock) for sock in self._sockets)
        self._turn = self._turn_frames = 0
        poll = select.poll()
        for sock in self._sockets:
            poll.register(sock, select.POLLIN)
        # MicroPython's ipoll waits when it is called, and allocates nothing if nobody iterates.
        self._poll = poll.ipoll if hasattr(poll, "ipoll") else poll.poll
        self._readiness = Readiness(self._sockets)

    def _open_multicast(self, config, unicast):
        try:
            sock = open_multicast(config, self.node_id, unicast)
        except OSError as error:
            self._lost_multicast(error)
            return
        self._sockets.append(sock)
        probe = bytearray(os.urandom(self._datagram_length))
        put_u16(probe, 0, 0)
        try:
            if not echoes(unicast, self._group, sock, probe, _PROBE_MS):
                self._lost_multicast("what is sent to the group does not come back")
        except OSError as error:
            self._lost_multicast(error)

    def _lost_multicast(self, reason):
        self._fan_out(str(reason))
        print(
            "node %d: no multicast (%s), sends to each node by itself"
            % (self.node_id, self.multicast_reason),
            file=sys.stderr,
        )

    def _fan_out(self, reason):
        self.multicast = False
        self.multicast_reason = reason

    def receive_into(self, buf):
        """Length of one whole message in buf, 0 when none is there."""
        if len(buf) < self._message_length_max:
            raise ValueError("receive buffer shorter than MESSAGE_LENGTH_MAX")
        left = _FRAMES_PER_CALL
        while left:
            left -= 1
            length = self._next_frame()
            if length == 0:
                return 0
            if length > 0:
                length = self._reassembly.offer(self._frame, length, buf)
                if length:
                    return length
        return 0

    def _next_frame(self):
        """Length of the next frame in `_frame`; 0 = none waits, -1 = one that came to nothing."""
        impairment = self._impairment
        if impairment is not None:
            length = impairment.take(now_ms(), self._frame)
            if length:
                return length
        size = self._read()
        if size is None:
            return 0
        length = get_u16(self._received, 0)
        if size != self._datagram_length or length > self._frame_length_max:
            self.faults.datagram_length += 1
            return -1
        if length == 0:
            return -1
        if impairment is not None and not impairment.admit(self._frame, length, now_ms()):
            return -1
        return length

    def _read(self):
        """Bytes of the next datagram in `_received`, None when no socket has one."""
        reads = self._reads
        turn = self._turn
        try:
            if self._turn_frames < _FRAMES_PER_TURN:
                self._turn_frames += 1
                size = reads[turn](self._received)
                if size is not None:
                    return size
            self._turn_frames = 0
            turn += 1
            self._turn = turn = 0 if turn == len(reads) else turn
            return reads[turn](self._received)
        except OSError:
            self.faults.receive_error += 1
            return None

    def send(self, target, buf, length):
        """Send buf[0:length] to a node id or to BROADCAST; False when a frame was refused."""
        address = None
        if target != BROADCAST:
            address = self._address(target)
            if address is None:
                self.faults.send_target += 1
                return False
        fragments = self._fragments
        fragments.begin(buf, length)
        sent = True
        while True:
            frame_length = fragments.put_next()
            if frame_length == 0:
                return sent
            put_u16(self._sent, 0, frame_length)
            if not (self._broadcast() if address is None else self._give(address)):
                sent = False

    def _address(self, target):
        """Where to reach one other node: an external client on a LAN hears the group only."""
        if not 0 <= target < len(self._addresses) or target == self.node_id:
            return None
        address = self._addresses[target]
        return self._group if address is None and self.multicast else address

    def _broadcast(self):
        if self.multicast:
            if self._give(self._group):
                return True
            if self.multicast:
                return False
        sent = True
        for address in self._addresses_of_others:
            if not self._give(address):
                sent = False
        return sent

    def _give(self, address):
        try:
            self._sendto(self._sent, address)
            return True
        except OSError as error:
            self.faults.send_error += 1
            # EPERM, ENODEV, ENETDOWN, ENETUNREACH: this group will not come back by itself.
            if address is self._group and error.errno in (1, 19, 100, 101):
                self._lost_multicast(error)
            return False

    def wait(self, ms):
        """Sleep until something may be receivable, or ms milliseconds."""
        ms = self._until_due(ms)
        if ms > 0:
            self._poll(ms)

    async def wait_async(self, ms):
        """The same inside asyncio; allocates."""
        await self._readiness.wait(max(self._until_due(ms), 0))

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
        for sock in self._sockets:
            sock.close()
        if self.store is not None:
            self.store.close()
