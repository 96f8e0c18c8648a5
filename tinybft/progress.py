"""Where this replica stands: the few numbers that every part of the protocol looks at.

`view` and whether the replica takes part in it (`active`), the marks, what was executed. Only
the part of the protocol that owns a number changes it: the marks belong to checkpoint.py,
`last_executed` to execution.py, the view to viewchange.py.
"""

from tinybft.compat import const, micropython

_SEQNO_MAX = const(0xFFFFFFFF)


class Progress:
    def __init__(self, config, replica_id):
        self.replica_id = replica_id
        self.replica_count = config.REPLICA_COUNT
        self._window = config.WINDOW
        self.view = 0
        self.active = True
        self.view_left = 0  # between views: the one whose COMMITs are still listened to
        self.low_mark = 0
        self.last_executed = 0
        self.now = 0
        self.heard = 0  # when the latest message of anybody came

    @micropython.native
    def high_mark(self):
        """Last seqno of the window; a group that reaches 2**32 - 1 batches stops there."""
        high = self.low_mark + self._window
        return high if high <= _SEQNO_MAX else _SEQNO_MAX

    @micropython.viper
    def in_window(self, seqno: uint) -> bool:
        low_mark = uint(self.low_mark)
        return seqno > low_mark and seqno - low_mark <= uint(self._window)

    @micropython.viper
    def primary(self) -> int:
        view = uint(self.view)
        count = int(self.replica_count)
        # view % count, of which viper knows only that of signed numbers
        return (int(view >> 1) % count * 2 + int(view & 1)) % count

    @micropython.viper
    def is_primary(self) -> bool:
        return bool(self.active) and int(self.primary()) == int(self.replica_id)
