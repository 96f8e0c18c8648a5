"""Vote masks and the thresholds: replicas are counted, never messages.

A mask has bit `r` set when replica `r` voted (n <= 31; below n = 31 a mask is a small integer
everywhere). Of n = 3f + 1 replicas at most f are faulty:

* quorum 2f + 1: any two share at least f + 1 replicas, so at least one correct one; and the
  2f + 1 correct ones can always form one.
* weak quorum f + 1: at least one of them is correct.
"""

from tinybft.compat import micropython


def vote_count(mask):
    """Number of bits set. At most n turns."""
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


class Quorum:
    def __init__(self, config):
        f = config.FAULT_COUNT
        self._table = None
        # A PREPARE of the primary never counts: its pre-prepare does, and 2f others (TOCS 4.1).
        self.prepare_count = 2 * f
        self.quorum = 2 * f + 1
        self.weak = f + 1
        self.fault_count = f
        if config.REPLICA_COUNT <= 8:
            # Every mask of a small group has its count in a table of 2**n bytes.
            self._table = bytes([vote_count(m) for m in range(1 << config.REPLICA_COUNT)])

    @micropython.native
    def count(self, mask):
        if self._table:
            return self._table[mask]
        return vote_count(mask)

    @micropython.native
    def is_prepared(self, mask):
        return self.count(mask) >= self.prepare_count

    @micropython.native
    def is_quorum(self, mask):
        return self.count(mask) >= self.quorum

    @micropython.native
    def is_weak(self, mask):
        return self.count(mask) >= self.weak
