"""The module `time` of a board: virtual, and the same for all boards. Advancing it lets their
timers fire and their schedulers run."""

_TICKS_MASK = 0x3FFFFFFF

now_ms = 0
boards = []
_us = 0
_cycles = 0  # at 160 MHz


def ticks_ms():
    return now_ms & _TICKS_MASK


def ticks_us():
    return _us


def ticks_cpu():
    return _cycles


def _later(ticks, delta):
    """(ticks + delta) modulo 2**30, without passing 2**30: it does not allocate."""
    ticks -= _TICKS_MASK - delta + 1
    return ticks if ticks >= 0 else ticks + _TICKS_MASK + 1


def _pass_one():
    global now_ms, _us, _cycles
    now_ms += 1
    _us = _later(_us, 1000)
    _cycles = _later(_cycles, 160000)


def ticks_add(ticks, delta):
    return _later(ticks, delta) if delta > 0 else (ticks + delta) & _TICKS_MASK


def ticks_diff(end, start):
    """Right if they are at most half of the period apart."""
    ticks = (end - start) & _TICKS_MASK
    return ticks if ticks <= _TICKS_MASK // 2 else ticks - _TICKS_MASK - 1


def sleep_ms(ms):
    advance(ms)


def advance(ms):
    """Let `ms` milliseconds pass, one by one."""
    while ms > 0:
        ms -= 1
        _pass_one()
        for board in boards:
            board.tick()


def skip(ms):
    """The same where nobody's Python runs: inside of a call of the driver that blocks."""
    for _ in range(ms):
        _pass_one()
