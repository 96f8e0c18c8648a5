"""`octets` in machine code; importable only on MicroPython (CPython has no `ptr8`).

No function checks bounds: a caller that passes a wrong offset corrupts memory, as in C.
That is why offsets come from `wire` and `memory` only, after `check_length` or a layout.
"""

import micropython


@micropython.viper
def get_u16(buf: ptr8, at: int) -> int:
    return buf[at] | buf[at + 1] << 8


@micropython.viper
def get_u32(buf: ptr8, at: int) -> uint:
    high = uint(buf[at + 3]) << 24 | uint(buf[at + 2]) << 16
    return high | uint(buf[at + 1]) << 8 | uint(buf[at])


@micropython.viper
def put_u16(buf: ptr8, at: int, value: uint):
    buf[at] = value
    buf[at + 1] = value >> 8


@micropython.viper
def put_u32(buf: ptr8, at: int, value: uint):
    buf[at] = value
    buf[at + 1] = value >> 8
    buf[at + 2] = value >> 16
    buf[at + 3] = value >> 24


@micropython.viper
def copy(dst: ptr8, dst_at: int, src: ptr8, src_at: int, length: int):
    i = 0
    while i < length:
        dst[dst_at + i] = src[src_at + i]
        i += 1


@micropython.viper
def fill(buf: ptr8, at: int, length: int, value: int):
    end = at + length
    while at < end:
        buf[at] = value
        at += 1


@micropython.viper
def equal(a: ptr8, a_at: int, b: ptr8, b_at: int, length: int) -> bool:
    difference = 0
    i = 0
    while i < length:
        difference |= a[a_at + i] ^ b[b_at + i]
        i += 1
    return difference == 0


@micropython.viper
def is_zero(buf: ptr8, at: int, length: int) -> bool:
    present = 0
    end = at + length
    while at < end:
        present |= buf[at]
        at += 1
    return present == 0


@micropython.viper
def xor(dst: ptr8, dst_at: int, src: ptr8, src_at: int, length: int):
    i = 0
    while i < length:
        dst[dst_at + i] ^= src[src_at + i]
        i += 1
