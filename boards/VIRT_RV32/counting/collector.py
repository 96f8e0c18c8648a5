"""The garbage collector between measurements: it runs when it is told to, never meanwhile."""

import gc

import uctypes

_FREE_SPAN = 100000


def tidy():
    """Collect; then use up the holes, or who allocates next would search the whole heap.

    What searching and collecting cost one board, with a heap of its own, is measured there.
    """
    gc.collect()
    end = uctypes.addressof(bytearray(_FREE_SPAN))
    while id(object()) < end:
        pass
