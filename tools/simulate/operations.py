"""Operations of the key-value store (tinybft.apps.kv), the default service of the simulator.

Each function returns the bytes for `sim.submit`; keys, values and numbers may be str or bytes.
The reply starts with a status, 0 = OK, and what was asked for follows (kv_format.py).
"""

from tinybft.apps import kv_format


def _octets(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def _encoded(encode, *arguments):
    buf = bytearray(2048)
    return bytes(buf[: encode(buf, *arguments)])


def put(key, value):
    return _encoded(kv_format.encode_put, _octets(key), _octets(value))


def get(key):
    return _encoded(kv_format.encode_get, _octets(key))


def delete(key):
    return _encoded(kv_format.encode_delete, _octets(key))


def cas(key, expected, value):
    """`expected` None: the key must not exist."""
    old = None if expected is None else _octets(expected)
    return _encoded(kv_format.encode_cas, _octets(key), old, _octets(value))


def increment(key, number=1):
    return _encoded(kv_format.encode_increment, _octets(key), str(number).encode())


def count(prefix=""):
    return _encoded(kv_format.encode_count, _octets(prefix))


def is_read(operation):
    """Whether it changes nothing."""
    return operation[:1] in (b"\x02", b"\x06", b"\x07")  # GET, SCAN, COUNT


def sample(random, length_max=256):
    """Any of them on one of eight keys, mostly short; `random` is a random.Random."""
    key = b"k%d" % random.randrange(8)
    kind = random.randrange(10)
    if kind < 4:
        long = random.randrange(8) == 0
        room = length_max - 2 - len(key)
        size = random.randrange(room // 2, room) if long else random.randrange(1, 24)
        size = min(size, 160)
        return put(key, b"%d." % random.randrange(10**9) + bytes([97 + size % 26]) * size)
    if kind < 6:
        return get(key)
    if kind < 8:
        return increment(b"n%d" % random.randrange(4))
    return delete(key) if kind == 8 else count("k")
