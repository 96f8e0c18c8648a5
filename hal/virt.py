"""The HAL of the emulated board (boards/VIRT_RV32): a radio and a store in shared memory.

The host (tools/virt) carries frames from board to board, with loss and airtime, and keeps the
store when it kills the emulator. hal/virt_map.py says what lies where. The module `virt` is
the board's own (boards/VIRT_RV32/port/virt.c).
"""

import hashlib
import json

import uctypes
import virt

from hal import virt_map
from hal.faults import Faults
from hal.frames import Fragments, Reassembly
from hal.store import StoreError, check_span
from tinybft.compat import const, micropython
from tinybft.octets import copy, get_u32

# Repeated, because a constant is inlined in the module that defines it only.
_SENT_HEAD = const(4)
_SENT_TAIL = const(5)
_RECEIVED_HEAD = const(6)
_RECEIVED_TAIL = const(7)
_RING_MASK = const(63)
_SENT = const(0x1000)
_RECEIVED = const(0x8000)
_ENTRY_LENGTH = const(256)
_ENTRY_HEADER = const(4)
_FRAMES_PER_CALL = const(64)
_TICKS_MASK = const(0x3FFFFFFF)
_EVERY_TICKS = const(4)  # milliseconds between two calls in the background without a frame

cycles = virt.ticks_us


def shared(offset, length):
    """`length` bytes of the memory that guest and host share."""
    return uctypes.bytearray_at(virt_map.ADDRESS + offset, length)


def read_identity(config):
    """(node_id, {peer_id: key}) that the host has put there; KeyFileError if there is none."""
    from hal.keys import KeyFileError, check_keys

    place = "identity of this board"
    length = get_u32(shared(0, 16), virt_map.IDENTITY_LENGTH)
    if not 0 < length <= virt_map.IDENTITY_LENGTH_MAX:
        raise KeyFileError("%s: not there; start the board with `tinybft cluster --virt`" % place)
    try:
        table = json.loads(bytes(shared(virt_map.IDENTITY, length)))
    except ValueError:
        raise KeyFileError("%s: is not JSON; provision the board again" % place) from None
    return check_keys(table, config, place)


class SharedStore:
    """The store's bytes: each is there to stay as soon as it is written."""

    def __init__(self):
        self.size = get_u32(shared(0, 16), virt_map.STORE_LENGTH)
        if not 0 < self.size <= virt_map.STORE_LENGTH_MAX:
            raise StoreError("the host has given this board no store; update tools/virt")
        self._octets = shared(virt_map.STORE, self.size)

    def read_into(self, address, buf, length):
        check_span(address, buf, length, self.size)
        copy(buf, 0, self._octets, address, length)

    def write(self, address, buf, length):
        check_span(address, buf, length, self.size)
        copy(self._octets, address, buf, 0, length)


class Hal:
    """The contract of `hal` on the emulated board."""

    def __init__(self, config, node_id, crypto=None):
        self.node_id = node_id
        self.crypto = crypto
        self.faults = Faults()
        self.now_ms = virt.ticks_ms
        self.cycles = cycles
        self.store = SharedStore()
        self._message_length_max = config.MESSAGE_LENGTH_MAX
        self._into = None  # the buffer whose length is known to be enough
        self._control = shared(0, _SENT)
        self._sent = shared(_SENT, (_RING_MASK + 1) * _ENTRY_LENGTH)
        self._received = shared(_RECEIVED, (_RING_MASK + 1) * _ENTRY_LENGTH)
        self._frame_length_max = config.FRAME_LENGTH
        self._frame = bytearray(config.FRAME_LENGTH)
        self._seed = bytes(shared(virt_map.ENTROPY, virt_map.ENTROPY_LENGTH))
        reassembly = Reassembly(config, node_id, self.faults)
        self._reassembly = reassembly
        self._take_whole = reassembly.take_whole  # a method of another object is looked up twice
        # What came before this program was there is not for it.
        self._control[_RECEIVED_TAIL] = self._control[_RECEIVED_HEAD]
        self._fragments = Fragments(config, node_id, None, self._control[_SENT_HEAD])
        self._put_whole = self._fragments.put_whole
        self._frame_out = self._fragments.frame
        self._put_frame = self._put
        self._callback = None
        self._ticks = 0
        self._tick_bound = self._tick

    @micropython.viper
    def receive_into(self, buf) -> int:
        """Length of one whole message in buf, 0 when none is there."""
        control = ptr8(self._control)
        if control[_RECEIVED_HEAD] == control[_RECEIVED_TAIL]:
            return 0
        if buf is not self._into:
            self._require_room(buf)
        received = self._received
        entries = ptr8(received)
        left = _FRAMES_PER_CALL
        while left and control[_RECEIVED_HEAD] != control[_RECEIVED_TAIL]:
            left -= 1
            tail = control[_RECEIVED_TAIL] & _RING_MASK
            at = tail * _ENTRY_LENGTH
            frame_length = entries[at] | entries[at + 1] << 8
            length = int(self._take_whole(received, at + _ENTRY_HEADER, frame_length, buf))
            if not length:
                length = int(self._offer(at + _ENTRY_HEADER, frame_length, buf))
            control[_RECEIVED_TAIL] = tail + 1 & _RING_MASK
            if length:
                return length
        return 0

    def _require_room(self, buf):
        if len(buf) < self._message_length_max:
            raise ValueError("receive buffer shorter than MESSAGE_LENGTH_MAX")
        self._into = buf

    @micropython.native
    def _offer(self, at, length, buf):
        """The frame in the ring is a fragment, not for this node, or nothing."""
        frame = self._frame
        if length > self._frame_length_max:
            length = 0
        copy(frame, 0, self._received, at, length)
        return self._reassembly.offer(frame, length, buf)

    @micropython.viper
    def send(self, target: int, buf, length: int) -> bool:
        """Give buf[0:length] to the radio; False when its ring is full, as a real one's is."""
        whole = int(self._put_whole(buf, length, target))
        if whole:
            return bool(self._put_frame(target, self._frame_out, whole))
        fragments = self._fragments
        fragments.begin(buf, length, target)
        sent = True
        while True:
            length = int(fragments.put_next())
            if length == 0:
                break
            if not self._put(target, self._frame_out, length):
                sent = False
        return sent

    @micropython.viper
    def _put(self, target: int, frame, length: int) -> bool:
        control = ptr8(self._control)
        head = control[_SENT_HEAD] & _RING_MASK
        if head + 1 & _RING_MASK == control[_SENT_TAIL]:
            self._is_full()
            return False
        sent = self._sent
        entries = ptr8(sent)
        at = head * _ENTRY_LENGTH
        entries[at] = length
        entries[at + 1] = length >> 8
        entries[at + 2] = target  # everybody, -1, becomes 0xFFFF
        entries[at + 3] = target >> 8
        copy(sent, at + _ENTRY_HEADER, frame, 0, length)
        control[_SENT_HEAD] = head + 1 & _RING_MASK
        return True

    def _is_full(self):
        self.faults.send_error += 1

    def wait(self, ms):
        """Sleep until a frame is there, or ms milliseconds; what was scheduled runs."""
        begin = virt.ticks_ms()
        control = self._control
        while control[_RECEIVED_HEAD] == control[_RECEIVED_TAIL]:
            if (virt.ticks_ms() - begin) & _TICKS_MASK >= ms:
                return
            virt.sleep()

    def background(self, callback):
        """From now on call callback() when a frame is there, and every few ms; None ends it."""
        self._callback = callback
        virt.background(None if callback is None else self._tick_bound)

    def _tick(self):
        """Each millisecond, from the scheduler."""
        self._ticks += 1
        control = self._control
        waiting = control[_RECEIVED_HEAD] != control[_RECEIVED_TAIL]
        if waiting or self._ticks >= _EVERY_TICKS:
            self._ticks = 0
            self._callback()

    def watchdog(self):
        """There is none."""

    def entropy(self, buf):
        """Fill buf with bytes derived from what the host put there at power-on."""
        at = 0
        while at < len(buf):
            self._seed = hashlib.sha256(self._seed).digest()
            count = min(len(buf) - at, 16)  # the other half stays secret, and is the next seed
            copy(buf, at, self._seed, 16, count)
            at += count

    def close(self):
        self.background(None)
