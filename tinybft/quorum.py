"""Vote masks and the thresholds: replicas are counted, never messages.

A mask has bit `r` set when replica `r` voted (n <= 31; below n = 31 a mask is a small integer
everywhere). Of n = 3f + 1 replicas at most f are faulty:

* quorum 2f + 1: any two share at least f + 1 replicas, so at least one correct one; and the
  2f + 1 correct ones can always form one.
* weak quorum f + 1: at least one of them is correct.
"""

from tinybft.compat import micropython


@micropython.viper
def vote_count(mask: uint) -> int:
    """Number of bits set. At most n turns."""
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


class Quorum:
    def __init__(self, config):
        f = config.FAULT_COUNT
        # A PREPARE of the primary never counts: its pre-prepare does, and 2f others (TOCS 4.1).
        self.prepare_count = 2 * f
        self.quorum = 2 * f + 1
        self.weak = f + 1
        self.fault_count = f

    def count(self, mask):
        return vote_count(mask)

    @micropython.viper
    def is_prepared(self, mask: uint) -> bool:
        left = int(self.prepare_count)
        while mask and left > 0:  # as vote_count, which would be a call
            mask &= mask - 1
            left -= 1
        return left <= 0

    @micropython.viper
    def is_quorum(self, mask: uint) -> bool:
        left = int(self.quorum)
        while mask and left > 0:
            mask &= mask - 1
            left -= 1
        return left <= 0

    @micropython.viper
    def is_weak(self, mask: uint) -> bool:
        return int(vote_count(mask)) >= int(self.weak)
