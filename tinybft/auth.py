"""Authenticators: one truncated AES-CMAC per receiver, and the digests beside them.

A MAC covers header and body. Up to `_DIRECT_MAX` bytes it is computed over them directly; a
longer message is represented by its header and the SHA-256 of header and body, so that a
message of 1 KiB is hashed once and not run through AES once per receiver. The header holds the
length, so the two forms cannot be taken for each other.

A MAC convinces its receiver alone: nobody can show it to a third replica (TOCS section 4).

The crypto provider is injected. Nothing allocates outside `crypto.digest_into`.
"""

from tinybft.compat import const, micropython
from tinybft.octets import copy, fill
from tinybft.wire import DIGEST_LENGTH, FETCH, HEADER_LENGTH, REPLY, REQUEST

_DIRECT_MAX = const(64)
_LONG_LENGTH = const(48)  # header 16 + digest 32


class Authenticator:
    """Seals and checks messages for one node.

    `digest` holds the SHA-256 of header and body of the message that was digested last.
    """

    def __init__(self, config, node_id, crypto, wire):
        self._node_id = node_id
        self._replica_count = config.REPLICA_COUNT
        self.tag_length = config.TAG_LENGTH
        # Offset of this node's tag behind the body, per sender of a multicast message.
        self._tag_at = tuple(
            wire.tag_index(REQUEST, sender, node_id) * config.TAG_LENGTH
            for sender in range(config.CLIENT_COUNT)
        )
        self._body_end = wire.body_end
        self._mac_into = crypto.mac_into
        self._mac_equal = crypto.mac_equal
        self.digest_into = crypto.digest_into
        self._scratch = bytearray(_DIRECT_MAX)
        self._input = self._scratch
        self._input_length = 0
        self.digest = bytearray(DIGEST_LENGTH)

    @micropython.native
    def digest_message(self, buf, start, end):
        """SHA-256 of the message of `end` bytes (tags left out) at buf[start], into `digest`."""
        self.digest_into(buf, start, end, self.digest, 0)

    @micropython.native
    def seal(self, buf, end):
        """Append a tag for every replica but this node. Returns the length of the message.

        Requires: the header is complete, its length included.
        """
        self._cover(buf, 0, end)
        at = end
        for receiver in range(self._replica_count):
            if receiver != self._node_id:
                self._mac_into(receiver, self._input, self._input_length, buf, at)
                at += self.tag_length
        return at

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
        self._cover(buf, 0, end)
        self._mac_into(receiver, self._input, self._input_length, buf, at)
        return end + tag_count * self.tag_length

    @micropython.native
    def check(self, buf, kind, sender_id, start=0):
        """True if the message at buf[start] carries a good tag of its sender for this node."""
        end = self._body_end(buf, start)
        self._cover(buf, start, end)
        return self._tag_matches(buf, start + end, kind, sender_id)

    @micropython.native
    def check_digested(self, buf, kind, sender_id, start=0):
        """`check` of a message that `digest_message` has just digested: hashes it only once."""
        end = self._body_end(buf, start)
        if end <= _DIRECT_MAX:
            self._cover(buf, start, end)
        else:
            self._cover_digest(buf, start)
        return self._tag_matches(buf, start + end, kind, sender_id)

    @micropython.native
    def _tag_matches(self, buf, at, kind, sender_id):
        if kind != REPLY and kind < FETCH:
            at += self._tag_at[sender_id]
        return self._mac_equal(sender_id, self._input, self._input_length, buf, at)

    @micropython.native
    def _cover(self, buf, start, end):
        """Make `_input[:_input_length]` what the MAC of the message covers."""
        if end > _DIRECT_MAX:
            self.digest_message(buf, start, end)
            self._cover_digest(buf, start)
            return
        self._input_length = end
        if start:
            copy(self._scratch, 0, buf, start, end)
            self._input = self._scratch
        else:
            self._input = buf

    @micropython.native
    def _cover_digest(self, buf, start):
        copy(self._scratch, 0, buf, start, HEADER_LENGTH)
        copy(self._scratch, HEADER_LENGTH, self.digest, 0, DIGEST_LENGTH)
        self._input = self._scratch
        self._input_length = _LONG_LENGTH
