"""What a VIEW-CHANGE may say, whoever sends it: the numbers of C, P and Q fit together.

Checked before its tag: a message that is malformed helps nobody. Behind this check each seqno
has at most one P entry, each batch one Q entry, and all counts are bounded by the configuration.
"""

from tinybft import wire
from tinybft.compat import const
from tinybft.octets import equal, get_u32

_BODY = const(16)
_ENTRIES = const(20)
_CHECKPOINT_LENGTH = const(36)  # seqno u32, digest 32
_CLAIM_LENGTH = const(37)  # seqno - low_mark u8, view u32, digest 32


class ViewChangeForm:
    def __init__(self, config):
        self._interval = config.CHECKPOINT_INTERVAL
        self._window = config.WINDOW
        self._places = config.FAULT_COUNT + 2

    def is_good(self, buf):
        """Numbers inside the sender's window, views below the new one, nothing twice."""
        low_mark = wire.seqno(buf)
        if wire.flags(buf) or buf[_BODY + 3] or low_mark % self._interval:
            return False
        at = _ENTRIES
        for i in range(buf[_BODY]):
            seqno = get_u32(buf, at)
            if not low_mark <= seqno <= low_mark + self._window or seqno % self._interval:
                return False
            if self._count_same(buf, _ENTRIES, i, _CHECKPOINT_LENGTH, at, 4):
                return False
            at += _CHECKPOINT_LENGTH
        start = at
        for i in range(buf[_BODY + 1]):
            if not self._is_claim(buf, at) or self._count_same(
                buf, start, i, _CLAIM_LENGTH, at, 1
            ):
                return False
            at += _CLAIM_LENGTH
        start = at
        for i in range(buf[_BODY + 2]):
            if not self._is_claim(buf, at) or self._has_same_batch(buf, start, i, at):
                return False
            if self._count_same(buf, start, i, _CLAIM_LENGTH, at, 1) >= self._places:
                return False
            at += _CLAIM_LENGTH
        return True

    def _is_claim(self, buf, at):
        return 1 <= buf[at] <= self._window and get_u32(buf, at + 1) < wire.view(buf)

    def _count_same(self, buf, start, count, length, at, compared):  # noqa: PLR0913
        """How many of the `count` entries from `start` begin with the same bytes as buf[at:]."""
        found = 0
        for _ in range(count):
            found += equal(buf, start, buf, at, compared)
            start += length
        return found

    def _has_same_batch(self, buf, start, count, at):
        for _ in range(count):
            if buf[start] == buf[at] and equal(buf, start + 5, buf, at + 5, 32):
                return True
            start += _CLAIM_LENGTH
        return False
