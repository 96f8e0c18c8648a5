"""Little-endian integers and spans of bytes inside static buffers.

Every function is called with offsets that the caller has already checked; nothing here
allocates while the integers stay below 2**30 (larger ones are correct, and allocate on a
32-bit MicroPython). MicroPython gets the machine-code versions of `octets_viper`.

    get_u16(buf, at)   get_u32(buf, at)         -> int
    put_u16(buf, at, value)   put_u32(buf, at, value)
    copy(dst, dst_at, src, src_at, length)      overlapping spans only forward
    fill(buf, at, length, value)
    equal(a, a_at, b, b_at, length) -> bool     time does not depend on the content
    is_zero(buf, at, length) -> bool
    xor(dst, dst_at, src, src_at, length)       dst ^= src
"""

try:
    from tinybft.octets_viper import (
        copy,
        equal,
        fill,
        get_u16,
        get_u32,
        is_zero,
        put_u16,
        put_u32,
        xor,
    )
except ImportError:
    # MicroPython's versions check no bounds; these do, so that a wrong offset is found by any
    # test on CPython before it corrupts memory there.
    import struct

    _U16 = struct.Struct("<H")
    _U32 = struct.Struct("<I")

    def _check(buf, at, length):
        assert at >= 0 and length >= 0 and at + length <= len(buf), "span outside of its buffer"

    def get_u16(buf, at):
        assert at >= 0, "offset before the buffer"
        return _U16.unpack_from(buf, at)[0]

    def get_u32(buf, at):
        assert at >= 0, "offset before the buffer"
        return _U32.unpack_from(buf, at)[0]

    def put_u16(buf, at, value):
        assert at >= 0, "offset before the buffer"
        _U16.pack_into(buf, at, value & 0xFFFF)

    def put_u32(buf, at, value):
        assert at >= 0, "offset before the buffer"
        _U32.pack_into(buf, at, value & 0xFFFFFFFF)

    def copy(dst, dst_at, src, src_at, length):
        _check(dst, dst_at, length)
        _check(src, src_at, length)
        dst[dst_at : dst_at + length] = src[src_at : src_at + length]

    def fill(buf, at, length, value):
        _check(buf, at, length)
        buf[at : at + length] = bytes((value,)) * length

    def equal(a, a_at, b, b_at, length):
        _check(a, a_at, length)
        _check(b, b_at, length)
        return a[a_at : a_at + length] == b[b_at : b_at + length]

    def is_zero(buf, at, length):
        _check(buf, at, length)
        return not any(buf[at : at + length])

    def xor(dst, dst_at, src, src_at, length):
        _check(dst, dst_at, length)
        _check(src, src_at, length)
        for i in range(length):
            dst[dst_at + i] ^= src[src_at + i]


__all__ = (
    "copy",
    "equal",
    "fill",
    "get_u16",
    "get_u32",
    "is_zero",
    "put_u16",
    "put_u32",
    "xor",
)
