"""What applications use of `time`, which the qemu port leaves out."""

import virt
from virt import ticks_ms, ticks_us

_HALF = const(0x20000000)  # noqa: F821 - known to MicroPython's compiler
_MASK = const(0x3FFFFFFF)  # noqa: F821


def ticks_add(ticks, delta):
    return (ticks + delta) & _MASK


def ticks_diff(later, earlier):
    return ((later - earlier + _HALF) & _MASK) - _HALF


def sleep_ms(ms):
    begin = ticks_ms()
    while ticks_diff(ticks_ms(), begin) < ms:
        virt.sleep()


def sleep(seconds):
    sleep_ms(int(seconds * 1000))


__all__ = ("sleep", "sleep_ms", "ticks_add", "ticks_diff", "ticks_ms", "ticks_us")
