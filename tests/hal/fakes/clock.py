"""The module `time` of a board: virtual, and the same for all boards. Advancing it lets their
timers fire and their schedulers run."""

_TICKS_MASK = 0x3FFFFFFF

now_us = 0
boards = []


def ticks_ms():
    return now_us // 1000 & _TICKS_MASK


def ticks_us():
    return now_us & _TICKS_MASK


def ticks_cpu():
    return now_us * 160 & _TICKS_MASK


def ticks_add(ticks, delta):
    return (ticks + delta) & _TICKS_MASK


def ticks_diff(end, start):
    """Right if they are at most half of the period apart."""
    half = (_TICKS_MASK + 1) // 2
    return ((end - start + half) & _TICKS_MASK) - half


def sleep_ms(ms):
    advance(ms)


def advance(ms):
    """Let `ms` milliseconds pass, one by one."""
    global now_us
    while ms > 0:
        ms -= 1
        now_us += 1000
        for board in boards:
            board.tick()


def skip(ms):
    """The same where nobody's Python runs: inside of a call of the driver that blocks."""
    global now_us
    now_us += 1000 * ms
