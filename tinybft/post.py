"""The way out: builds a message in the one `sent` scratch slot, seals it, hands it to the radio.

    buf = post.begin(wire.PREPARE, 0, view, seqno)   header; the caller writes the body
    post.multicast(end)                              tags for all replicas, to everybody
    post.unicast(replica, end)                       the same layout, one tag, to one replica

One message at a time: what is begun is finished before anything else is begun. Does not
allocate.
"""

from tinybft.compat import const, micropython
from tinybft.wire import put_header, put_length

_EVERYBODY = const(-1)


class Post:
    def __init__(self, config, node_id, memory, auth, send):
        self.buf = memory.sent
        self._node_id = node_id
        self._group_id = config.GROUP_ID
        self._tag_length = config.TAG_LENGTH
        self._tag_count = config.REPLICA_COUNT - (node_id < config.REPLICA_COUNT)
        self._auth = auth
        self._send = send

    @micropython.native
    def begin(self, kind, flags, view, seqno):
        buf = self.buf
        put_header(buf, kind, flags, self._node_id, self._group_id, view, seqno)
        return buf

    @micropython.native
    def multicast(self, end):
        buf = self.buf
        put_length(buf, end + self._tag_count * self._tag_length)
        self._send(_EVERYBODY, buf, self._auth.seal(buf, end))

    @micropython.native
    def unicast(self, receiver, end):
        """A message of a multicast type, for one replica that missed it."""
        buf = self.buf
        put_length(buf, end + self._tag_count * self._tag_length)
        self._send(receiver, buf, self._auth.seal_for(receiver, buf, end, self._tag_count))

    @micropython.native
    def unicast_single(self, receiver, buf, end):
        """A message of a one-receiver type (REPLY, FETCH, ...) that stands in `buf`."""
        put_length(buf, end + self._tag_length)
        self._send(receiver, buf, self._auth.seal_for(receiver, buf, end, 1))

    def relay(self, receiver, buf, length):
        """Somebody else's complete message, unchanged."""
        self._send(receiver, buf, length)
