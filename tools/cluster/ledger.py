"""What one client of the workload knows to be true, written so that SIGKILL cannot lose it.

Runs on MicroPython and CPython. The ledger is one small buffer; it is written to its file
with one system call *before* a request is submitted. A killed process thus leaves behind
everything that was acknowledged to it, and the one operation whose outcome is unknown; the
process that takes its place reads it and goes on.

    offset  field
    0       acknowledged        operations answered as expected
    4       incremented         acknowledged increments of the shared counter
    8       mismatched          operations answered otherwise: a broken promise
    12      outstanding         kind of the operation under way, 0 = none
    16      outstanding_key     index of its key
    20      outstanding_generation   of its key, once it is executed
    24      unsure              increments whose outcome a killed process left unknown
    28      generations         per key: which value it holds (see workload)

All fields are unsigned 32-bit little-endian. Writing allocates nothing.
"""

from tinybft.octets import get_u32, put_u32

ACKNOWLEDGED = 0
INCREMENTED = 4
MISMATCHED = 8
OUTSTANDING = 12
OUTSTANDING_KEY = 16
OUTSTANDING_GENERATION = 20
UNSURE = 24
_GENERATIONS = 28


class Ledger:
    """`buffer` as tabled above for key_count keys, and the file behind it (or None)."""

    def __init__(self, key_count, path=None):
        self.key_count = key_count
        self.buffer = bytearray(_GENERATIONS + 4 * key_count)
        self._file = None
        if path:
            self._file = reopened(path)
            self._file.readinto(self.buffer)

    def get(self, field):
        return get_u32(self.buffer, field)

    def put(self, field, value):
        put_u32(self.buffer, field, value)

    def add(self, field):
        put_u32(self.buffer, field, get_u32(self.buffer, field) + 1)

    def generation(self, key):
        return get_u32(self.buffer, _GENERATIONS + 4 * key)

    def put_generation(self, key, generation):
        put_u32(self.buffer, _GENERATIONS + 4 * key, generation)

    def write(self):
        if self._file:
            self._file.seek(0)
            self._file.write(self.buffer)


def reopened(path):
    """An unbuffered file at its beginning, with what it held; made if it is not there."""
    try:
        return open(path, "r+b", 0)
    except OSError:
        return open(path, "w+b", 0)


def load_ledger(path, key_count):
    """Read a ledger back; one whose process never wrote it counts as empty."""
    ledger = Ledger(key_count)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return ledger
    ledger.buffer[: len(content)] = content
    return ledger
