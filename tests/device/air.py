"""A medium and a HAL that allocate nothing while a node calls them, for measuring the node."""

from tests.tinybft.group import make_crypto, make_store
from tinybft.jitter import Jitter
from tinybft.octets import copy

_RING = 256  # messages in flight


class Air:
    """Messages in flight, in a ring of buffers: sending allocates nothing."""

    def __init__(self, config, seed, loss):
        self.now = 1000
        self.loss = loss
        self.random = Jitter(seed)
        self.nodes = []
        self._buffers = [bytearray(config.MESSAGE_LENGTH_MAX) for _ in range(_RING)]
        self._lengths = [0] * _RING
        self._receivers = [0] * _RING
        self._head = 0
        self._tail = 0
        self.down = -1
        self.damage = False

    def send(self, source, target, buf, length):
        for receiver in range(len(self.nodes)):
            if receiver != source and (target < 0 or target == receiver):
                self._put(receiver, buf, length)

    def _put(self, receiver, buf, length):
        if receiver == self.down or self.random.below(100) < self.loss:
            return
        at = self._head
        out = self._buffers[at]
        copy(out, 0, buf, 0, length)
        if self.damage and self.random.below(4) == 0:
            self._flip_bit(out, self.random.below(length), self.random.below(8))
        self._lengths[at] = length
        self._receivers[at] = receiver
        self._head = (at + 1) % _RING
        assert self._head != self._tail, "the ring is too short"

    def _flip_bit(self, out, at, bit):
        """But for bits 30 and 31 of the header's view and number: they are read before the tag
        is checked, and an integer from 2**30 on is correct but allocates on 32 bits."""
        if at != 11 and at != 15 or bit < 6:
            out[at] ^= 1 << bit

    def take(self, out):
        """(receiver, length) of the next message, now in `out`; receiver -1: none."""
        at = self._tail
        if at == self._head:
            return -1, 0
        self._tail = (at + 1) % _RING
        length = self._lengths[at]
        copy(out, 0, self._buffers[at], 0, length)
        return self._receivers[at], length


class Hal:
    def __init__(self, air, config, node_id):
        self.node_id = node_id
        self.crypto = make_crypto(config, node_id)
        self.store = make_store(config, node_id, self.crypto)
        self._air = air

    def now_ms(self):
        return self._air.now & 0x3FFFFFFF

    def receive_into(self, _buf):
        return 0  # who measures hands the messages over

    def send(self, target, buf, length):
        self._air.send(self.node_id, target, buf, length)
        return True

    def entropy(self, buf):
        for i in range(len(buf)):
            buf[i] = self.node_id + 1
