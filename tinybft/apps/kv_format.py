"""Operations and replies of the key-value store, and how a client writes the former.

    operation   bytes
    PUT         1, u8 key length, key, value (the rest)
    GET         2, u8 key length, key
    DELETE      3, u8 key length, key
    CAS         4, u8 key length, u16 expected length or 0xFFFF: absent, key, expected value,
                new value (the rest)
    INCREMENT   5, u8 key length, key, number to add (the rest)
    SCAN        6, u8 prefix length, u8 1: with values, u16 cursor (0 first), prefix
    COUNT       7, u8 prefix length, prefix

    reply       bytes
    any         u8 status; nothing else unless the status is OK
    GET         ... value
    INCREMENT   ... the sum, a number
    SCAN        ... u16 cursor to go on with, 0: complete; per record u8 key length,
                [u16 value length], key, [value]. A value that does not fit into a reply beside
                its key has length 0xFFFF and is left out: GET it.
    COUNT       ... u16

Integers are little-endian. A key has 1 to 64 bytes, a prefix 0 to 64. A number is decimal text
between -2**63 and 2**63 - 1: PUT and GET work on counters as on any value, a person can read
them, and small ones need no integer that a 32-bit MicroPython would have to allocate.

A scan shows each record that exists throughout the scan exactly once, in no order of keys; one
that comes or goes meanwhile may be shown.

Allocates: the encoders nothing; they raise ValueError, so they are for the client's side.
"""

from tinybft.octets import copy, put_u16

KEY_LENGTH_MAX = 64
ABSENT = 0xFFFF

PUT = 1
GET = 2
DELETE = 3
CAS = 4
INCREMENT = 5
SCAN = 6
COUNT = 7

OK = 0
NOT_FOUND = 1
FULL = 2
KEY_EMPTY = 3
KEY_TOO_LONG = 4
VALUE_TOO_LONG = 5
MISMATCH = 6
NOT_A_NUMBER = 7
OVERFLOW = 8
BAD_OPERATION = 9
READ_ONLY = 10

STATUS_NAMES = (
    "OK",
    "NOT_FOUND",
    "FULL",
    "KEY_EMPTY",
    "KEY_TOO_LONG",
    "VALUE_TOO_LONG",
    "MISMATCH",
    "NOT_A_NUMBER",
    "OVERFLOW",
    "BAD_OPERATION",
    "READ_ONLY",
)


def encode_put(buf, key, value):
    """Write the operation at the start of `buf`; returns its length."""
    return _append(buf, _start(buf, PUT, key, 2), value)


def encode_get(buf, key):
    return _start(buf, GET, key, 2)


def encode_delete(buf, key):
    return _start(buf, DELETE, key, 2)


def encode_cas(buf, key, expected, value):
    """`expected` None: the key must not exist."""
    end = _start(buf, CAS, key, 4)
    if expected is None:
        put_u16(buf, 2, ABSENT)
    else:
        put_u16(buf, 2, len(expected))
        end = _append(buf, end, expected)
    return _append(buf, end, value)


def encode_increment(buf, key, number):
    """`number`: decimal text, as bytes."""
    return _append(buf, _start(buf, INCREMENT, key, 2), number)


def encode_scan(buf, prefix, with_values, cursor):
    end = _start(buf, SCAN, prefix, 5)
    buf[2] = 1 if with_values else 0
    put_u16(buf, 3, cursor)
    return end


def encode_count(buf, prefix):
    return _start(buf, COUNT, prefix, 2)


def _start(buf, opcode, key, key_at):
    if len(key) > 255:
        raise ValueError("a key has at most 64 bytes")
    end = _append(buf, key_at, key)
    buf[0] = opcode
    buf[1] = len(key)
    return end


def _append(buf, at, octets):
    length = len(octets)
    if at + length > len(buf):
        raise ValueError("key and value do not fit a request (request_length_max)")
    copy(buf, at, octets, 0, length)
    return at + length


def number_from(buf, at, length):
    """The number that the text is, or None."""
    negative = length > 0 and buf[at] == 45
    if negative:
        at += 1
        length -= 1
    if not 0 < length <= 19:
        return None
    value = 0
    for i in range(at, at + length):
        digit = buf[i] - 48
        if not 0 <= digit <= 9:
            return None
        value = value * 10 + digit
    if negative:
        value = -value
    if length == 19 and not in_range(value):
        return None
    return value


def in_range(value):
    """Whether 64 bits with sign hold it; the shift spares comparing with large constants."""
    return -1 <= value >> 63 <= 0


def number_into(value, out, at):
    """Write a number of at most 64 bits as text; returns its length (at most 20)."""
    start = at
    if value < 0:
        out[at] = 45
        at += 1
        value = -value
    digits = 1
    rest = value // 10
    while rest:
        digits += 1
        rest //= 10
    for i in range(at + digits - 1, at - 1, -1):
        out[i] = 48 + value % 10
        value //= 10
    return at + digits - start
