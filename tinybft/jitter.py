"""Small random delays. Not for secrets: a xorshift generator seeded from the HAL's entropy.

Its 29-bit state keeps every value a small integer, so drawing does not allocate.
"""

from tinybft.compat import const, micropython

_MASK = const(0x1FFFFFFF)


class Jitter:
    def __init__(self, seed):
        self._x = seed & _MASK or 1

    @micropython.viper
    def below(self, bound: int) -> int:
        """An integer in 0 .. bound - 1."""
        x = int(self._x)
        x ^= (x & 0xFFFF) << 13
        x ^= x >> 17
        x ^= (x & 0xFFFFFF) << 5
        x &= _MASK
        if x == 0:
            x = 1
        self._x = x
        return x % bound
