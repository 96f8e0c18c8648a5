"""AES-CMAC on CPython, by the `cryptography` package; the interface of `cmac_cryptolib`."""

import hashlib

from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

MESSAGE_LENGTH_MAX = 160


def digest_into(buf, start, length, out, at):
    out[at : at + 32] = hashlib.sha256(memoryview(buf)[start : start + length]).digest()


class Cmac:
    """Truncated tags under the keys {peer_id: 16 bytes}."""

    def __init__(self, keys, tag_length):
        self._keyed = {peer: CMAC(AES(bytes(key))) for peer, key in keys.items()}
        self._tag_length = tag_length
        self._zero = bytes(tag_length)

    def mac_into(self, peer, buf, length, out, at):
        tag = self._tag(peer, buf, length)
        out[at : at + self._tag_length] = tag
        return tag is not self._zero

    def macs_into(self, first, end, buf, length, out, at):  # noqa: PLR0913
        count = 0
        for peer in range(first, end):
            if peer in self._keyed:
                self.mac_into(peer, buf, length, out, at)
                at += self._tag_length
                count += 1
        return count

    def mac_equal(self, peer, buf, length, tagged, tag_at):
        tag = self._tag(peer, buf, length)
        claim = bytes(tagged[tag_at : tag_at + self._tag_length])
        return constant_time.bytes_eq(tag, claim) and claim != self._zero

    def _tag(self, peer, buf, length):
        keyed = self._keyed.get(peer)
        if keyed is None or not 0 <= length <= MESSAGE_LENGTH_MAX:
            return self._zero
        fresh = keyed.copy()
        fresh.update(buf[:length])
        return fresh.finalize()[: self._tag_length]
