"""The crypto provider: AES-CMAC tags between pairs of nodes, SHA-256 digests.

    crypto = Crypto(own_id, {peer_id: key of 16 bytes}, tag_length)
    crypto.mac_into(peer, buf, length, out, at) -> bool
        tag of buf[0:length] for `peer` into out[at : at + tag_length]. False, and a tag of
        zeros, when there is no key for `peer`.
    crypto.macs_into(first, end, buf, length, out, at) -> int
        the same for every peer from `first` to `end` - 1 that has a key, one tag behind the
        other; how many.
    crypto.mac_equal(peer, buf, length, tagged, tag_at) -> bool
        whether tagged[tag_at : tag_at + tag_length] is that tag. Takes the same time wherever
        the difference is; a tag of zeros is always refused, as is a peer without key.
    crypto.digest_into(buf, start, length, out, at)
        SHA-256 of buf[start : start + length] into out[at : at + 32].

Rules: what is under a tag has at most 160 bytes (a message, or a header and a digest); longer
lengths get False. Tags are RFC 4493 cut to their first `tag_length` bytes, 8..16. Offsets are
not checked (as in `octets`): the caller owns the layout.

Allocation: tags allocate nothing. `digest_into` is the one call of the message path that does,
because `hashlib` has no digest-into. Measured on 64-bit MicroPython: 256 B per call (32-bit:
about 200 B).

The self test at construction computes the four vectors of RFC 4493 and one SHA-256: an AES
unit that fails returns zeros silently, and would authenticate everybody.
"""

import sys

if sys.implementation.name == "micropython":
    from hal.cmac_cryptolib import Cmac, digest_into
else:
    from hal.cmac_cryptography import Cmac, digest_into

DIGEST_LENGTH = 32
TAG_LENGTH_MIN = 8
TAG_LENGTH_MAX = 16

# RFC 4493 section 4: the key, the message (its first 0, 16, 40 and 64 bytes) and the tags.
_KEY = b"\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c"
_MESSAGE = (
    b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a"
    b"\xae\x2d\x8a\x57\x1e\x03\xac\x9c\x9e\xb7\x6f\xac\x45\xaf\x8e\x51"
    b"\x30\xc8\x1c\x46\xa3\x5c\xe4\x11\xe5\xfb\xc1\x19\x1a\x0a\x52\xef"
    b"\xf6\x9f\x24\x45\xdf\x4f\x9b\x17\xad\x2b\x41\x7b\xe6\x6c\x37\x10"
)
_TAGS = (
    (0, b"\xbb\x1d\x69\x29\xe9\x59\x37\x28\x7f\xa3\x7d\x12\x9b\x75\x67\x46"),
    (16, b"\x07\x0a\x16\xb4\x6b\x4d\x41\x44\xf7\x9b\xdd\x9d\xd0\x4a\x28\x7c"),
    (40, b"\xdf\xa6\x67\x47\xde\x9a\xe6\x30\x30\xca\x32\x61\x14\x97\xc8\x27"),
    (64, b"\x51\xf0\xbe\xbf\x7e\x3b\x9d\x92\xfc\x49\x74\x17\x79\x36\x3c\xfe"),
)
# FIPS 180-2, appendix B.1.
_ABC_DIGEST = (
    b"\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23"
    b"\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad"
)


class Crypto:
    """The keys of one node; see the module for the calls."""

    def __init__(self, own_id, keys, tag_length=8):
        if not TAG_LENGTH_MIN <= tag_length <= TAG_LENGTH_MAX:
            raise ValueError("tag_length is %d, must be 8..16" % tag_length)
        for peer, key in keys.items():
            if len(key) != 16 or peer < 0 or peer == own_id:
                raise ValueError("node %d has no use for key of node %d" % (own_id, peer))
        self_test(Cmac, digest_into)
        cmac = Cmac(keys, tag_length)
        self.own_id = own_id
        self.tag_length = tag_length
        # Instance attributes, so that no call passes through a second method.
        self.mac_into = cmac.mac_into
        self.macs_into = cmac.macs_into
        self.mac_equal = cmac.mac_equal
        self.digest_into = digest_into


def self_test(cmac_class, digest):
    """Raise RuntimeError unless AES-CMAC and SHA-256 give the published values."""
    cmac = cmac_class({0: _KEY}, 16)
    out = bytearray(DIGEST_LENGTH)
    for length, tag in _TAGS:
        if not cmac.mac_into(0, _MESSAGE, length, out, 0) or bytes(out[:16]) != tag:
            raise RuntimeError(
                "self test: AES-CMAC of %d bytes is wrong, do not trust this device's AES; "
                "reset it, replace it if that does not help" % length
            )
        if not cmac.mac_equal(0, _MESSAGE, length, tag, 0):
            raise RuntimeError("self test: a good AES-CMAC of %d bytes is refused" % length)
    digest(b"abc", 0, 3, out, 0)
    if out != _ABC_DIGEST:
        raise RuntimeError(
            "self test: SHA-256 is wrong, do not trust this device's hash unit; "
            "reset it, replace it if that does not help"
        )
