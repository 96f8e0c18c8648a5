"""Integers and spans in buffers; the machine-code versions run on MicroPython."""

from tests.portable import property_test
from tinybft import octets

_CORNERS = (0, 1, 255, 256, 65535, 65536, 2**30 - 1, 2**30, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)


def filled(length=16):
    return bytearray(b"\xa5" * length)


def test_u32_is_little_endian():
    buf = filled()
    octets.put_u32(buf, 3, 0x89ABCDEF)
    assert buf == b"\xa5\xa5\xa5\xef\xcd\xab\x89" + b"\xa5" * 9


def test_u16_is_little_endian():
    buf = filled()
    octets.put_u16(buf, 3, 0x89AB)
    assert buf == b"\xa5\xa5\xa5\xab\x89" + b"\xa5" * 11


def test_u32_around_the_sizes_of_small_integers():
    buf = filled()
    for value in _CORNERS:
        octets.put_u32(buf, 5, value)
        assert octets.get_u32(buf, 5) == value
        assert buf[4] == buf[9] == 0xA5


def test_u16_at_its_ends():
    buf = filled()
    for value in (0, 1, 255, 256, 0x7FFF, 0x8000, 0xFFFF):
        octets.put_u16(buf, 5, value)
        assert octets.get_u16(buf, 5) == value
        assert buf[4] == buf[7] == 0xA5


def test_read_integers_are_never_negative():
    ones = b"\xff" * 4
    assert octets.get_u32(ones, 0) == 2**32 - 1 > 0
    assert octets.get_u16(ones, 0) == 65535


@property_test(count=200)
def test_u32_at_any_offset(draw):
    value = draw.integer(0, 2**32 - 1)
    at = draw.integer(0, 12)
    buf = filled()
    octets.put_u32(buf, at, value)
    assert octets.get_u32(buf, at) == value
    assert bytes(buf) == b"\xa5" * at + value.to_bytes(4, "little") + b"\xa5" * (12 - at)


@property_test(count=100)
def test_copy_takes_the_span_and_nothing_else(draw):
    source = draw.octets(20, 20)
    length = draw.integer(0, 10)
    start = draw.integer(0, 10)
    at = draw.integer(0, 10)
    buf = filled(20)
    octets.copy(buf, at, source, start, length)
    expected = b"\xa5" * at + source[start : start + length] + b"\xa5" * (20 - at - length)
    assert bytes(buf) == expected


def test_copy_may_overlap_forward():
    buf = bytearray(range(10))
    octets.copy(buf, 0, buf, 2, 6)
    assert bytes(buf) == bytes((2, 3, 4, 5, 6, 7, 6, 7, 8, 9))


def test_copy_reads_and_writes_memoryviews():
    buf = filled(8)
    octets.copy(memoryview(buf)[2:], 1, memoryview(b"abcdef")[1:], 1, 2)
    assert bytes(buf) == b"\xa5\xa5\xa5cd\xa5\xa5\xa5"


@property_test(count=100)
def test_fill_takes_the_span_and_nothing_else(draw):
    length = draw.integer(0, 10)
    at = draw.integer(0, 10)
    value = draw.integer(0, 255)
    buf = filled(20)
    octets.fill(buf, at, length, value)
    assert bytes(buf) == b"\xa5" * at + bytes((value,)) * length + b"\xa5" * (20 - at - length)


@property_test(count=100)
def test_equal_sees_every_difference(draw):
    a = draw.octets(12, 12)
    b = bytearray(b"\xa5" + a)
    at = draw.integer(0, 11)
    assert octets.equal(a, 0, b, 1, 12) is True
    b[1 + at] ^= draw.choice((1, 2, 16, 128))
    assert octets.equal(a, 0, b, 1, 12) is False
    assert octets.equal(a, 0, b, 1, at) is True


def test_equal_of_nothing():
    assert octets.equal(b"a", 0, b"b", 0, 0) is True


@property_test(count=100)
def test_is_zero_sees_every_bit(draw):
    buf = bytearray(12)
    at = draw.integer(0, 11)
    assert octets.is_zero(buf, 0, 12) is True
    buf[at] = draw.choice((1, 2, 64, 128))
    assert octets.is_zero(buf, 0, 12) is False
    assert octets.is_zero(buf, 0, at) is True
    assert octets.is_zero(buf, at + 1, 11 - at) is True


def test_xor():
    buf = bytearray(b"\xff\x0f\xaa\x55")
    octets.xor(buf, 1, b"\x00\xff\xaa\x00", 1, 2)
    assert bytes(buf) == b"\xff\xf0\x00\x55"
