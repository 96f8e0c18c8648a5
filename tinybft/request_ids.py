"""Request ids that rise for ever, over restarts and power cuts too.

A range of ids is reserved in non-volatile memory before its first id is used, so that a restart
skips what may have been used and costs one write per range, not one per request. Two records
of 8 bytes take turns; a record is the reserved limit u32 and its complement u32, and one that
was torn does not match. Bytes 0 .. 15 of the store belong to this file.
"""

from tinybft.compat import const
from tinybft.octets import get_u32, put_u32

STORE_LENGTH = const(16)
_RECORD = const(8)
_RANGE = const(256)
_FAR = const(65536)
_ID_MAX = const(0xFFFFFFFF)


class StoreError(Exception):
    """The store holds something that cannot be trusted, or has no room; says what to do."""


class RequestIds:
    """`lost`: what was used is not known; no id is given until `recall`."""

    def __init__(self, store, may_be_lost=False):
        if store is None or store.size < STORE_LENGTH:
            raise StoreError(
                "request ids must survive a restart: give the HAL a store of 16 bytes or more"
            )
        self._store = store
        self._buf = bytearray(STORE_LENGTH)
        store.read_into(0, self._buf, STORE_LENGTH)
        self._record = bytearray(_RECORD)
        self._turn = 0
        self.lost = False
        self._may_be_lost = may_be_lost
        self._limit = self._recover()
        self._last = self._limit

    def _recover(self):
        """The limit of the newest reservation, or one that it cannot have passed."""
        limit = -1
        damaged = 0
        for record in (0, 1):
            value = get_u32(self._buf, record * _RECORD)
            check = get_u32(self._buf, record * _RECORD + 4)
            if value ^ check == _ID_MAX or value == check == 0:
                if value > limit:
                    limit = value
                    self._turn = 1 - record
            else:
                damaged += 1
        if damaged == 2 and self._may_be_lost:
            self.lost = True
            return 0
        if damaged == 2:
            raise StoreError(
                "both request id records are damaged: give this client a new id, or its"
                " requests may be taken for old ones"
            )
        if damaged:
            # It was torn while it was written, or has rotted since: then it may have been the
            # newer one, one range above the other. Never more than one range lies between them.
            limit += _RANGE
            self._write(limit)
        return limit

    def forget(self):
        """The store cannot be trusted."""
        self.lost = True

    def recall(self, executed):
        """The newest executed request of this client was `executed`: go on far behind it, since
        later ones may be under way."""
        self._limit = executed + _FAR
        self._reserve()
        self._last = self._limit - _RANGE
        self.lost = False

    def next(self):
        if self._last == self._limit:
            self._reserve()
        self._last += 1
        return self._last

    def _reserve(self):
        limit = self._limit + _RANGE
        if limit > _ID_MAX:
            raise StoreError("this client has used all 2**32 request ids: give it a new id")
        self._write(limit)
        self._limit = limit

    def _write(self, limit):
        record = self._record
        put_u32(record, 0, limit)
        for i in range(4):  # limit ^ _ID_MAX is no small integer on 32 bits
            record[4 + i] = record[i] ^ 255
        self._store.write(self._turn * _RECORD, record, _RECORD)
        self._turn = 1 - self._turn
