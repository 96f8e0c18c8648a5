"""Sixteen bytes in NVS: where request ids rise over restarts on a board without FRAM.

`tinybft.request_ids` writes once per 256 requests. A write is a new entry in a page of flash, and
NVS keeps the old one until that is whole, so a power cut leaves one of the two. With 200 writes
per turn through the partition and 100 000 erasures of a page the flash outlives the ids.
"""

import esp32

from hal.identity_nvs import NAMESPACE
from hal.store import StoreError, check_span
from tinybft.compat import const
from tinybft.octets import copy
from tinybft.request_ids import STORE_LENGTH

_KEY = "ids"
_NOT_FOUND = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND
_REMEDY = "; erase NVS and provision this board again"


class NvsStore:
    """`size` bytes, zeros at first; nothing allocates but an error."""

    size = STORE_LENGTH

    def __init__(self):
        self._octets = bytearray(STORE_LENGTH)
        try:
            self._nvs = esp32.NVS(NAMESPACE)
            length = self._nvs.get_blob(_KEY, self._octets)
        except OSError as error:
            if error.errno != _NOT_FOUND:
                raise StoreError(
                    "request ids in NVS cannot be read (%s)%s" % (error, _REMEDY)
                ) from None
            length = STORE_LENGTH
        if length != STORE_LENGTH:
            raise StoreError(
                "request ids in NVS have %d bytes, must be %d%s" % (length, STORE_LENGTH, _REMEDY)
            )

    def read_into(self, address, buf, length):
        """Fill buf[0:length] from `address` on."""
        check_span(address, buf, length, self.size)
        copy(buf, 0, self._octets, address, length)

    def write(self, address, buf, length):
        """Write buf[0:length] at `address`."""
        check_span(address, buf, length, self.size)
        copy(self._octets, address, buf, 0, length)
        try:
            self._nvs.set_blob(_KEY, self._octets)
            self._nvs.commit()
        except OSError as error:
            raise StoreError(
                "request ids in NVS cannot be written (%s)%s" % (error, _REMEDY)
            ) from None
