"""Messages taken apart: header fields, what has a fixed place in the body, lists of entries.

    fields = Fields(sim, frame.bytes)         any well-formed message
    fields.lists["p"].pop()
    octets = sim.seal(3, fields.octets())     counts follow from the lists

Layouts are those of tinybft/wire.py. The authenticator is left out.

    type          fixed                            lists
    PRE-PREPARE   time                             requests (0 and entry, or 1 and REQUEST)
    VIEW-CHANGE                                    c, p, q
    NEW-VIEW      digest of the checkpoint         v, x
    STATUS        last executed, round (and tail)  slots
    META-DATA     level, index                     entries
    all others    the body
"""

from tinybft import wire
from tinybft.octets import get_u16, get_u32, put_u16

_CHECKPOINT_LENGTH = 36
_CLAIM_LENGTH = 37
_MEMBER_LENGTH = 33
_NODE_LENGTH = 36


class Fields:
    def __init__(self, sim, octets):
        self._wire = sim.wire_of_group
        self.kind = octets[1]
        self.flags = octets[0] & 15
        self.sender = wire.sender(octets)
        self.group = get_u16(octets, 4)
        self.view = wire.view(octets)
        self.seqno = wire.seqno(octets)
        self.fixed = b""
        self.tail = b""
        self.lists = {}
        body = bytes(octets[wire.HEADER_LENGTH : self._wire.body_end(octets)])
        take = _TAKES.get(self.kind)
        if take:
            take(self, body)
        else:
            self.fixed = body

    @property
    def name(self):
        return wire.TYPE_NAMES[self.kind]

    def octets(self):
        """Header and body, as `sim.seal` takes them."""
        head = bytearray(wire.HEADER_LENGTH)
        numbers = (self.view & 0xFFFFFFFF, self.seqno & 0xFFFFFFFF)
        wire.put_header(head, self.kind, self.flags & 15, self.sender, self.group, *numbers)
        put = _PUTS.get(self.kind)
        return bytes(head) + (put(self) if put else bytes(self.fixed)) + self.tail

    def body_end_of(self, request):
        """Where the tags of a REQUEST begin that lies inline."""
        return self._wire.body_end(request)

    def _take_pre_prepare(self, body):
        self.fixed = body[:6]
        requests = self.lists["requests"] = []
        at = wire.BATCH_HEADER_LENGTH
        for _ in range(body[6]):
            inline = body[at] == wire.INLINE
            length = wire.length_at(body, at + 1) if inline else wire.ENTRY_LENGTH
            requests.append(body[at : at + 1 + length])
            at += 1 + length

    def _put_pre_prepare(self):
        requests = self.lists["requests"]
        return bytes(self.fixed) + bytes((len(requests) & 255, 0)) + b"".join(requests)

    def _take_view_change(self, body):
        c, p, q = body[:3]
        at = self._take_list("c", body, 4, c, _CHECKPOINT_LENGTH)
        at = self._take_list("p", body, at, p, _CLAIM_LENGTH)
        self._take_list("q", body, at, q, _CLAIM_LENGTH)

    def _put_view_change(self):
        lists = [self.lists[name] for name in "cpq"]
        counts = bytes(len(entries) & 255 for entries in lists) + b"\0"
        return counts + b"".join(b"".join(entries) for entries in lists)

    def _take_new_view(self, body):
        self.fixed = body[2:34]
        at = self._take_list("v", body, 34, body[0], _MEMBER_LENGTH)
        self._take_list("x", body, at, body[1], wire.DIGEST_LENGTH)

    def _put_new_view(self):
        v, x = self.lists["v"], self.lists["x"]
        return bytes((len(v) & 255, len(x) & 255)) + self.fixed + b"".join(v + x)

    def _take_status(self, body):
        self.fixed = body[:5]
        length = self._wire.status_slot_length
        at = self._take_list("slots", body, wire.STATUS_HEADER_LENGTH, body[5], length)
        self.tail = body[at:]

    def _put_status(self):
        slots = self.lists["slots"]
        return bytes(self.fixed) + bytes((len(slots) & 255,)) + b"".join(slots)

    def _take_meta_data(self, body):
        self.fixed = body[:4]
        start = wire.META_DATA_HEADER_LENGTH
        self._take_list("entries", body, start, get_u16(body, 4), _NODE_LENGTH)

    def _put_meta_data(self):
        count = bytearray(4)
        put_u16(count, 0, len(self.lists["entries"]))
        return bytes(self.fixed) + bytes(count) + b"".join(self.lists["entries"])

    def _take_list(self, name, body, at, count, length):  # noqa: PLR0913
        self.lists[name] = [body[at + i * length : at + (i + 1) * length] for i in range(count)]
        return at + count * length


_TAKES = {
    wire.PRE_PREPARE: Fields._take_pre_prepare,
    wire.VIEW_CHANGE: Fields._take_view_change,
    wire.NEW_VIEW: Fields._take_new_view,
    wire.STATUS: Fields._take_status,
    wire.META_DATA: Fields._take_meta_data,
}
_PUTS = {
    wire.PRE_PREPARE: Fields._put_pre_prepare,
    wire.VIEW_CHANGE: Fields._put_view_change,
    wire.NEW_VIEW: Fields._put_new_view,
    wire.STATUS: Fields._put_status,
    wire.META_DATA: Fields._put_meta_data,
}


def checkpoint_entry(seqno, digest):
    """An entry of C."""
    return seqno.to_bytes(4, "little") + digest


def claim(offset, view, digest):
    """An entry of P or Q; offset = seqno - low mark."""
    return bytes((offset & 255,)) + (view & 0xFFFFFFFF).to_bytes(4, "little") + digest


def claim_offset(entry):
    return entry[0]


def claim_view(entry):
    return get_u32(entry, 1)


def claim_digest(entry):
    return entry[5:]
