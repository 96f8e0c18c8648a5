"""One suite for two interpreters: property tests that run under pytest and on MicroPython.

A test module that is to run on both imports neither pytest nor hypothesis; its tests are
functions `test_...` without arguments, or properties:

    @property_test(count=200)
    def test_sum_commutes(draw):
        a = draw.integer(0, 2**32 - 1)
        b = draw.choice((1, 2, 3))
        c = draw.octets(0, 64)

On CPython hypothesis draws (and shrinks); on MicroPython a seeded generator does, and the
seed of a failing case is printed. `python -m pytest tests` runs the suite on CPython, and
`tests/device/` runs the same modules on the real `micropython`.
"""

import sys

ON_MICROPYTHON = sys.implementation.name == "micropython"


class Draw:
    """Values from one 32-bit seed (xorshift), for interpreters without hypothesis."""

    def __init__(self, seed):
        self._x = seed * 2654435761 + 1 & 0xFFFFFFFF or 1

    def integer(self, low, high):
        """An int in low..high, both ends included and more likely than the middle."""
        corner = self._next() % 16
        if corner == 0:
            return low
        if corner == 1:
            return high
        span = high - low + 1
        return low + (self._next() << 32 | self._next()) % span

    def choice(self, options):
        return options[self._next() % len(options)]

    def octets(self, length_min, length_max):
        length = self.integer(length_min, length_max)
        return bytes(self._next() & 255 for _ in range(length))

    def _next(self):
        x = self._x
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._x = x
        return x >> 3


def _seeded(function, count):
    def run():
        for seed in range(count):
            try:
                function(Draw(seed))
            except BaseException:
                print("property fails with seed", seed)
                raise

    return run


def _drawn_by_hypothesis(function, count):
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    class HypothesisDraw:
        def __init__(self, data):
            self._data = data

        def integer(self, low, high):
            return self._data.draw(st.integers(low, high))

        def choice(self, options):
            return self._data.draw(st.sampled_from(options))

        def octets(self, length_min, length_max):
            return self._data.draw(st.binary(min_size=length_min, max_size=length_max))

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data):
        function(HypothesisDraw(data))

    run.__name__ = function.__name__
    run.__doc__ = function.__doc__
    return run


def property_test(count=100):
    """Run the decorated `test(draw)` on `count` drawn cases."""

    def decorate(function):
        if ON_MICROPYTHON:
            return _seeded(function, count)
        return _drawn_by_hypothesis(function, count)

    return decorate
