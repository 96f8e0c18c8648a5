"""Messages as a scenario sees them: one `Frame` per (message, receiver)."""

from tinybft import wire


class FrameType(int):
    """The number of wire.py that also equals its name: `frame.type == "PRE-PREPARE"`."""

    __hash__ = int.__hash__

    @property
    def name(self):
        return wire.TYPE_NAMES[self] if self <= wire.TYPE_MAX else str(int(self))

    def __eq__(self, other):
        if isinstance(other, str):
            return self.name == other.upper().replace("_", "-")
        return int(self) == other

    def __ne__(self, other):
        return not self == other

    def __repr__(self):
        return self.name


_TYPES = tuple(FrameType(number) for number in range(256))


class Frame:
    """src, dst: numbers of devices (the node ids, unless there are twins); bytes: the message.

    Fields of `bytes` are read anew at each access, so `bytes` may be replaced.
    """

    __slots__ = ("src", "dst", "bytes", "delay_ms")

    def __init__(self, src, dst, octets, delay_ms=0):
        self.src = src
        self.dst = dst
        self.bytes = octets
        self.delay_ms = delay_ms

    @property
    def type(self):
        return _TYPES[self.bytes[1]] if len(self.bytes) > 1 else _TYPES[0]

    @property
    def name(self):
        """ "PRE-PREPARE", ..."""
        return self.type.name

    @property
    def sender(self):
        """The node id in the header: differs from src in what is relayed, or forged."""
        return int.from_bytes(self.bytes[2:4], "little")

    @property
    def view(self):
        return int.from_bytes(self.bytes[8:12], "little")

    @property
    def seqno(self):
        """The fourth field of the header: a request id in REQUEST and REPLY."""
        return int.from_bytes(self.bytes[12:16], "little")

    def later(self, ms):
        """The same frame, `ms` milliseconds later."""
        return Frame(self.src, self.dst, self.bytes, self.delay_ms + ms)

    def replaced(self, octets):
        """The same frame with other bytes."""
        return Frame(self.src, self.dst, bytes(octets), self.delay_ms)

    def __repr__(self):
        return f"<{self.name} {self.src}->{self.dst} v{self.view} #{self.seqno}>"
