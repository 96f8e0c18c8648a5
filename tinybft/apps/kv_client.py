"""The key-value store as an application sees it: `KeyValue(node)`.

    kv = KeyValue(node)
    await kv.put(b"lamp", b"on")
    await kv.get(b"lamp")                     b"on", or None
    await kv.delete(b"lamp")                  True, or False: there was none
    await kv.cas(b"lamp", b"on", b"off")      False: it was not "on"; expected None: absent
    await kv.increment(b"visits", 1)          the sum
    await kv.scan(b"room/")                   keys; with_values=True: (key, value) pairs
    await kv.count(b"room/")

Keys and values are bytes, or str, which is sent as UTF-8. `node.submit(op, read_only=)` brings
a reply; a reply that says no in another way than above raises KeyValueError.

Allocates: freely, this is the application's side.
"""

from tinybft.apps.kv_format import (
    ABSENT,
    MISMATCH,
    NOT_FOUND,
    OK,
    STATUS_NAMES,
    encode_cas,
    encode_count,
    encode_delete,
    encode_get,
    encode_increment,
    encode_put,
    encode_scan,
)

_MEANINGS = {
    "FULL": "the store has no room for this value; the old one, if any, is untouched",
    "KEY_EMPTY": "a key has at least one byte",
    "KEY_TOO_LONG": "a key has at most 64 bytes",
    "VALUE_TOO_LONG": "the value does not fit a reply (reply_length_max)",
    "NOT_A_NUMBER": "the stored value is no decimal number",
    "OVERFLOW": "the sum would not fit 64 bits with sign",
    "BAD_OPERATION": "the replicas do not understand the operation",
    "READ_ONLY": "this operation writes and was sent as read-only",
}


class KeyValueError(Exception):
    """`name` is one of `kv_format.STATUS_NAMES`."""

    def __init__(self, status):
        self.name = STATUS_NAMES[status] if status < len(STATUS_NAMES) else "STATUS_" + str(status)
        super().__init__(self.name + ": " + _MEANINGS.get(self.name, "unexpected reply"))


def octets_of(text):
    return text.encode() if isinstance(text, str) else text


class KeyValue:
    """`request_length_max` as configured; `read_only`: send reads without ordering them."""

    def __init__(self, node, request_length_max=1024, read_only=False):
        self._node = node
        self._read_only = read_only
        self._buf = bytearray(request_length_max)

    async def put(self, key, value):
        length = encode_put(self._buf, octets_of(key), octets_of(value))
        await self._write(length, OK)

    async def get(self, key):
        reply = await self._read(encode_get(self._buf, octets_of(key)), NOT_FOUND)
        return reply[1:] if reply[0] == OK else None

    async def delete(self, key):
        reply = await self._write(encode_delete(self._buf, octets_of(key)), NOT_FOUND)
        return reply[0] == OK

    async def cas(self, key, expected, value):
        """`expected` None: only if the key does not exist."""
        if expected is not None:
            expected = octets_of(expected)
        length = encode_cas(self._buf, octets_of(key), expected, octets_of(value))
        reply = await self._write(length, MISMATCH, NOT_FOUND)
        return reply[0] == OK

    async def increment(self, key, by=1):
        """A key that does not exist counts as 0."""
        length = encode_increment(self._buf, octets_of(key), str(by).encode())
        return int((await self._write(length, OK))[1:])

    async def count(self, prefix=b""):
        reply = await self._read(encode_count(self._buf, octets_of(prefix)), OK)
        return int.from_bytes(reply[1:3], "little")

    async def scan(self, prefix=b"", with_values=False):
        """All keys with this prefix, sorted; with_values: (key, value) pairs."""
        found = []
        cursor = 0
        while True:
            length = encode_scan(self._buf, octets_of(prefix), with_values, cursor)
            reply = await self._read(length, OK)
            await self._collect(reply, with_values, found)
            cursor = int.from_bytes(reply[1:3], "little")
            if not cursor:
                return sorted(found)

    async def _collect(self, reply, with_values, found):
        at = 3
        while at < len(reply):
            key_at = at + 3 if with_values else at + 1
            end = key_at + reply[at]
            key = reply[key_at:end]
            if not with_values:
                found.append(key)
            else:
                value_length = int.from_bytes(reply[at + 1 : at + 3], "little")
                if value_length == ABSENT:  # too long to travel beside its key
                    value = await self.get(key)
                else:
                    value = reply[end : end + value_length]
                    end += value_length
                if value is not None:
                    found.append((key, value))
            at = end

    async def _read(self, length, *accepted):
        reply = await self._node.submit(bytes(self._buf[:length]), read_only=self._read_only)
        return _checked(reply, accepted)

    async def _write(self, length, *accepted):
        return _checked(await self._node.submit(bytes(self._buf[:length])), accepted)


def _checked(reply, accepted):
    if reply[0] != OK and reply[0] not in accepted:
        raise KeyValueError(reply[0])
    return reply
