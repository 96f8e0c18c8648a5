"""`octets` in machine code; importable only on MicroPython (CPython has no `ptr8`).

No function checks bounds: a caller that passes a wrong offset corrupts memory, as in C.
That is why offsets come from `wire` and `memory` only, after `check_length` or a layout.

Spans are walked by addresses in local variables, 16 bytes a turn where both ends are aligned and
8 where they are not (not every rv32 core reads words across their boundaries): an indexed byte a
turn costs 30 instructions, so copying 72 bytes took 2 700 of them and takes 950.
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
    to = int(dst) + dst_at
    at = int(src) + src_at
    if (to | at) & 3 == 0:
        while length >= 16:
            ptr32(to)[0] = ptr32(at)[0]
            ptr32(to)[1] = ptr32(at)[1]
            ptr32(to)[2] = ptr32(at)[2]
            ptr32(to)[3] = ptr32(at)[3]
            to += 16
            at += 16
            length -= 16
    else:
        while length >= 8:
            ptr8(to)[0] = ptr8(at)[0]
            ptr8(to)[1] = ptr8(at)[1]
            ptr8(to)[2] = ptr8(at)[2]
            ptr8(to)[3] = ptr8(at)[3]
            ptr8(to)[4] = ptr8(at)[4]
            ptr8(to)[5] = ptr8(at)[5]
            ptr8(to)[6] = ptr8(at)[6]
            ptr8(to)[7] = ptr8(at)[7]
            to += 8
            at += 8
            length -= 8
    while length > 0:
        ptr8(to)[0] = ptr8(at)[0]
        to += 1
        at += 1
        length -= 1


@micropython.viper
def fill(buf: ptr8, at: int, length: int, value: int):
    to = int(buf) + at
    end = to + length
    if to & 3 == 0:
        word = value & 255
        word |= word << 8
        word |= word << 16
        while to + 16 <= end:
            ptr32(to)[0] = word
            ptr32(to)[1] = word
            ptr32(to)[2] = word
            ptr32(to)[3] = word
            to += 16
    while to < end:
        ptr8(to)[0] = value
        to += 1


@micropython.viper
def equal(a: ptr8, a_at: int, b: ptr8, b_at: int, length: int) -> bool:
    one = int(a) + a_at
    other = int(b) + b_at
    difference = 0
    if (one | other) & 3 == 0:
        while length >= 16:
            difference |= ptr32(one)[0] ^ ptr32(other)[0]
            difference |= ptr32(one)[1] ^ ptr32(other)[1]
            difference |= ptr32(one)[2] ^ ptr32(other)[2]
            difference |= ptr32(one)[3] ^ ptr32(other)[3]
            one += 16
            other += 16
            length -= 16
    else:
        while length >= 8:
            difference |= ptr8(one)[0] ^ ptr8(other)[0]
            difference |= ptr8(one)[1] ^ ptr8(other)[1]
            difference |= ptr8(one)[2] ^ ptr8(other)[2]
            difference |= ptr8(one)[3] ^ ptr8(other)[3]
            difference |= ptr8(one)[4] ^ ptr8(other)[4]
            difference |= ptr8(one)[5] ^ ptr8(other)[5]
            difference |= ptr8(one)[6] ^ ptr8(other)[6]
            difference |= ptr8(one)[7] ^ ptr8(other)[7]
            one += 8
            other += 8
            length -= 8
    while length > 0:
        difference |= ptr8(one)[0] ^ ptr8(other)[0]
        one += 1
        other += 1
        length -= 1
    return difference == 0


@micropython.viper
def is_zero(buf: ptr8, at: int, length: int) -> bool:
    present = 0
    at += int(buf)
    end = at + length
    while at < end:
        present |= ptr8(at)[0]
        at += 1
    return present == 0


@micropython.viper
def xor(dst: ptr8, dst_at: int, src: ptr8, src_at: int, length: int):
    i = 0
    while i < length:
        dst[dst_at + i] ^= src[src_at + i]
        i += 1
