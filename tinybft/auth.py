"""Authenticators: one truncated AES-CMAC per receiver, and the digests beside them.

A MAC covers header and body. Up to `_DIRECT_MAX` bytes it is computed over them directly, of a
PRE-PREPARE up to `_PROPOSAL_MAX`, whose SHA-256 is of no other use; a longer message is
represented by its header and the SHA-256 of header and body, so that a message of 1 KiB is hashed
once and not run through AES once per receiver. The header holds type and length, so the two forms
cannot be taken for each other.

A MAC convinces its receiver alone: nobody can show it to a third replica (TOCS section 4).

The crypto provider is injected. Nothing allocates outside `crypto.digest_into`.
"""

from tinybft.compat import const, micropython
from tinybft.octets import copy, fill
from tinybft.wire import DIGEST_LENGTH

_DIRECT_MAX = const(64)
_PROPOSAL_MAX = const(160)  # where the digest begins to cost less than seven more AES blocks
_LONG_LENGTH = const(48)  # header 16 + digest 32
# As in wire.py: a constant is inlined only in the module that defines it.
_PRE_PREPARE = const(2)
_PREPARE = const(3)
_COMMIT = const(4)
_REPLY = const(5)
_CHECKPOINT = const(6)
_FETCH = const(11)
_HEADER_LENGTH = const(16)
_DIGEST_LENGTH = const(32)


class Authenticator:
    """Seals and checks messages for one node.

    `digest` holds the SHA-256 of header and body of the message that was digested last.
    """

    def __init__(self, config, node_id, crypto):
        self._node_id = node_id
        self._replica_count = config.REPLICA_COUNT
        self.tag_length = config.TAG_LENGTH
        self._mac_into = crypto.mac_into
        self._macs_into = crypto.macs_into
        self._mac_equal = crypto.mac_equal
        self.digest_into = crypto.digest_into
        self._scratch = bytearray(_DIRECT_MAX)
        self.digest = bytearray(DIGEST_LENGTH)

    @micropython.viper
    def digest_message(self, buf, start: int, end: int):
        """SHA-256 of the message of `end` bytes (tags left out) at buf[start], into `digest`."""
        self.digest_into(buf, start, end, self.digest, 0)

    @micropython.viper
    def digest_at(self, buf, sender_id: int, start: int):
        """The same of the message of this sender at buf[start]."""
        end = int(self.end_of(buf, sender_id, start))
        self.digest_into(buf, start, end, self.digest, 0)

    @micropython.viper
    def seal(self, buf, end: int) -> int:
        """Append a tag for every replica but this node. Returns the length of the message.

        Requires: the header is complete, its length included.
        """
        covered = buf
        length = end
        if end > _DIRECT_MAX and (ptr8(buf)[1] != _PRE_PREPARE or end > _PROPOSAL_MAX):
            self.digest_message(buf, 0, end)
            covered = self._cover_digest(buf, 0)
            length = _LONG_LENGTH
        # This node has no key for itself, so its tag is left out.
        count = self._macs_into(0, self._replica_count, covered, length, buf, end)
        return end + int(count) * int(self.tag_length)

    @micropython.native
    def seal_for(self, receiver, buf, end, tag_count):
        """Append `tag_count` tags of which only the one for `receiver` is computed.

        A replica that repairs one peer uses it for multicast messages too: the tags of those
        who do not hear it stay zero. Returns the length of the message.
        """
        at = end
        if tag_count > 1:
            assert receiver < self._replica_count, "only replicas have a tag of their own here"
            fill(buf, end, tag_count * self.tag_length, 0)
            # The place among the tags of a multicast message: the own entry is left out.
            skipped = self._node_id < self._replica_count and receiver > self._node_id
            at += (receiver - skipped) * self.tag_length
        covered = buf
        length = end
        if end > _DIRECT_MAX and (buf[1] != _PRE_PREPARE or end > _PROPOSAL_MAX):
            self.digest_message(buf, 0, end)
            covered = self._cover_digest(buf, 0)
            length = _LONG_LENGTH
        self._mac_into(receiver, covered, length, buf, at)
        return end + tag_count * self.tag_length

    @micropython.viper
    def check(self, buf, sender_id: int) -> bool:
        """True if the message in `buf` carries a good tag of its sender for this node."""
        kind = ptr8(buf)[1]
        if kind != _PREPARE and kind != _COMMIT and kind != _CHECKPOINT:  # these are short
            end = int(self.end_of(buf, sender_id, 0))
            if end > _DIRECT_MAX and (kind != _PRE_PREPARE or end > _PROPOSAL_MAX):
                self.digest_message(buf, 0, end)
        return bool(self.check_digested(buf, sender_id, 0))

    @micropython.viper
    def end_of(self, buf, sender_id: int, start: int) -> int:
        """Length of the message at buf[start] without its tags."""
        octets = ptr8(buf)
        kind = octets[start + 1]
        count = int(self._replica_count)
        if kind == _REPLY or kind >= _FETCH:
            count = 1
        elif sender_id < count:
            count -= 1
        return (octets[start + 6] | octets[start + 7] << 8) - count * int(self.tag_length)

    @micropython.viper
    def check_digested(self, buf, sender_id: int, start: int) -> bool:
        """The same of the message at buf[start] that was digested last: it is not hashed again."""
        octets = ptr8(buf)
        kind = octets[start + 1]
        tag_length = int(self.tag_length)
        count = 1
        place = 0
        if kind != _REPLY and kind < _FETCH:  # a tag for each replica but the sender
            count = int(self._replica_count)
            place = int(self._node_id)
            if sender_id < count:
                count -= 1
                if sender_id < place:
                    place -= 1
        end = (octets[start + 6] | octets[start + 7] << 8) - count * tag_length
        at = start + end + place * tag_length
        # No PRE-PREPARE lies inside another message: there is no room to copy a long one.
        if end > _DIRECT_MAX and (start or kind != _PRE_PREPARE or end > _PROPOSAL_MAX):
            covered = self._cover_digest(buf, start)
            return bool(self._mac_equal(sender_id, covered, _LONG_LENGTH, buf, at))
        covered = buf
        if start:
            covered = self._scratch
            copy(covered, 0, buf, start, end)
        return bool(self._mac_equal(sender_id, covered, end, buf, at))

    @micropython.viper
    def _cover_digest(self, buf, start: int):
        """What the MAC of a long message covers: its header and its digest."""
        scratch = self._scratch
        copy(scratch, 0, buf, start, _HEADER_LENGTH)
        copy(scratch, _HEADER_LENGTH, self.digest, 0, _DIGEST_LENGTH)
        return scratch
