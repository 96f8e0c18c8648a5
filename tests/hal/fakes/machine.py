"""The module `machine`. There are two hardware timers, and a watchdog that cannot be stopped."""

from tests.hal.fakes import board as boards
from tests.hal.fakes import clock


class Pin:
    def __init__(self, number):
        self.number = number


def I2C(bus, *, scl, sda, freq=400000):  # noqa: N802 - a class there
    if bus != 0:
        raise ValueError("I2C(%d) doesn't exist" % bus)
    board = boards.current
    board.i2c_settings = (scl.number, sda.number, freq)
    return board.i2c_bus


class Timer:
    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, number):
        if not 0 <= number < 2:
            raise ValueError("invalid Timer number")
        self._board = boards.current
        self.callback = None

    def init(self, *, mode=PERIODIC, period=0xFFFFFFFF, callback=None):
        assert mode == self.PERIODIC
        self.callback = callback
        self._period_ms = period
        self._begin = clock.now_ms
        self._board.timer = self

    def is_due(self):
        if clock.now_ms - self._begin < self._period_ms:
            return False
        self._begin += self._period_ms
        return True

    def deinit(self):
        self._board.timer = None


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout <= 0:
            raise ValueError("WDT timeout too short")
        self._timeout_ms = timeout
        self._board = boards.current
        self._board.watchdog = self
        self.feed()

    def feed(self):
        self._fed = clock.now_ms

    def is_due(self):
        return clock.now_ms - self._fed >= self._timeout_ms
