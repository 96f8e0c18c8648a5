"""Named counters of everything that a message can do wrong; a peer's fault never raises.

The first group marks misbehaviour or damage, the second (from STALE_VIEW on) messages that
are merely of no use: late, early, or a repetition. Counting allocates nothing.
"""

from tinybft.compat import const

LENGTH = const(1)  # shorter or longer than its type says
VERSION = const(2)
GROUP = const(3)
TYPE = const(4)
SENDER = const(5)  # an id outside the configuration, or one that may not send this
FIELD = const(6)  # a field outside its range
MAC = const(7)
BATCH = const(8)  # a pre-prepare whose requests do not fit together
EQUIVOCATION = const(9)  # a second digest from one sender for one (view, seqno)
CHECKPOINT_MISMATCH = const(10)  # a CHECKPOINT that differs from the own digest
DIVERGED = const(11)  # a quorum has a checkpoint that differs from the own
TRANSFER = const(12)  # META-DATA or DATA that does not hash to what was agreed
SERVICE = const(13)  # the application raised an exception
SEQNO_EXHAUSTED = const(14)  # 2**32 batches: the group stops here
NEW_VIEW = const(15)  # a NEW-VIEW that its VIEW-CHANGEs do not permit
STALE_VIEW = const(16)
OUTSIDE_WINDOW = const(17)
NOT_NEEDED = const(18)  # a duplicate, or a vote behind a complete certificate
OLD_REQUEST = const(19)
UNVOUCHED = const(20)  # a forwarded pre-prepare that too few votes support so far
RATE_LIMITED = const(21)
ROTTEN = const(22)  # own memory that has changed by itself; mended from the others
COUNT = const(23)
UNCHANGED = const(-1)  # no fault, and nothing that could be executed or proposed because of it

NAMES = (
    "none",
    "length",
    "version",
    "group",
    "type",
    "sender",
    "field",
    "mac",
    "batch",
    "equivocation",
    "checkpoint_mismatch",
    "diverged",
    "transfer",
    "service",
    "seqno_exhausted",
    "new_view",
    "stale_view",
    "outside_window",
    "not_needed",
    "old_request",
    "unvouched",
    "rate_limited",
    "rotten",
)


class Faults:
    """`faults.count(MAC)`; `faults.counts[MAC]`. Index 0 counts nothing."""

    def __init__(self):
        self.counts = [0] * COUNT

    def count(self, fault):
        self.counts[fault] += 1

    def total(self):
        """Misbehaviour and damage only; messages of no use are left out."""
        return sum(self.counts[1:STALE_VIEW])

    def as_dict(self):
        """{name: count} of those that happened. Allocates: for people, not for the path."""
        return {NAMES[i]: c for i, c in enumerate(self.counts) if i and c}
