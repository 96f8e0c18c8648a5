"""The way out: builds a message in the one `sent` scratch slot, seals it, hands it to the radio.

    buf = post.begin(wire.PREPARE, 0, view, seqno)   header; the caller writes the body
    post.multicast(end)                              tags for all replicas, to everybody
    post.unicast(replica, end)                       the same layout, one tag, to one replica

A replica that abstains (recovery.py) is muted: what binds it does not leave.

One message at a time: what is begun is finished before anything else is begun. Does not
allocate.
"""

from tinybft import wire
from tinybft.compat import const, micropython
from tinybft.wire import put_header, put_length

_EVERYBODY = const(-1)
# What binds its sender: a replica that abstains builds it and does not send it.
_BINDING = (
    1 << wire.PRE_PREPARE
    | 1 << wire.PREPARE
    | 1 << wire.COMMIT
    | 1 << wire.VIEW_CHANGE
    | 1 << wire.VIEW_CHANGE_ACK
    | 1 << wire.NEW_VIEW
)


class Post:
    def __init__(self, config, node_id, memory, auth, send):
        self.buf = memory.sent
        self.is_muted = False
        self._binding = _BINDING
        self._node_id = node_id
        self._group_id = config.GROUP_ID
        self._tag_length = config.TAG_LENGTH
        self._tag_count = config.REPLICA_COUNT - (node_id < config.REPLICA_COUNT)
        self._auth = auth
        self._seal = auth.seal
        self._send = send

    @micropython.viper
    def begin(self, kind: int, flags: int, view, seqno):
        buf = self.buf
        put_header(buf, kind, flags, self._node_id, self._group_id, view, seqno)
        return buf

    @micropython.viper
    def multicast(self, end: int):
        self.send_sealed(self.seal(end))

    @micropython.viper
    def seal(self, end: int) -> int:
        """Tags for all replicas, not sent yet. Returns the length of the message."""
        buf = self.buf
        octets = ptr8(buf)
        length = end + int(self._tag_count) * int(self._tag_length)
        octets[6] = length & 255
        octets[7] = length >> 8
        return int(self._seal(buf, end))

    @micropython.viper
    def send_sealed(self, length: int):
        """To everybody: what `seal` made."""
        buf = self.buf
        if self.is_muted and int(self._binding) >> ptr8(buf)[1] & 1:
            return
        self._send(_EVERYBODY, buf, length)

    @micropython.native
    def unicast(self, receiver, end):
        """A message of a multicast type, for one replica that missed it."""
        buf = self.buf
        if self.is_muted and self._binding >> buf[1] & 1:
            return
        put_length(buf, end + self._tag_count * self._tag_length)
        self._send(receiver, buf, self._auth.seal_for(receiver, buf, end, self._tag_count))

    @micropython.viper
    def unicast_single(self, receiver, buf, end: int):
        """A message of a one-receiver type (REPLY, FETCH, ...) that stands in `buf`."""
        put_length(buf, end + int(self._tag_length))
        self._send(receiver, buf, self._auth.seal_for(receiver, buf, end, 1))

    def relay(self, receiver, buf, length):
        """A complete message, unchanged; most often somebody else's."""
        own = self.is_muted and wire.sender(buf) == self._node_id
        if not (own and self._binding >> buf[1] & 1):
            self._send(receiver, buf, length)
