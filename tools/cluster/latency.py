"""Latencies counted in buckets that grow with the value, so that recording allocates nothing.

Runs on MicroPython (inside the measured replica) and on CPython (which reads the counts).
Sixteen buckets per doubling: a quantile is exact to about 3 percent. One histogram is an
array of BUCKET_COUNT unsigned 32-bit counters; several, one per kind of operation, are
written one after another into a file.

    value in us   0 .. 31   bucket = value
                  else      bucket = 16 * shift + (value >> shift), 16 <= value >> shift < 32
"""

from array import array

SHIFT_MAX = 24
BUCKET_COUNT = 16 * SHIFT_MAX + 32
VALUE_MAX = (32 << SHIFT_MAX) - 1


def bucket_of(value):
    """The bucket of a latency in microseconds; all above VALUE_MAX share the last one."""
    if value > VALUE_MAX:
        return BUCKET_COUNT - 1
    shift = 0
    while value >= 32:
        value >>= 1
        shift += 1
    return 16 * shift + value


def bounds_of(bucket):
    """The least value of a bucket and of the next one."""
    shift = max(0, bucket // 16 - 1)
    low = bucket - 16 * shift << shift
    return low, low + (1 << shift)


class Histogram:
    """Counts of one kind of operation: `counts` is an array('I') of BUCKET_COUNT."""

    def __init__(self):
        self.counts = array("I", bytes(4 * BUCKET_COUNT))

    def add(self, value):
        self.counts[bucket_of(value)] += 1

    def merge(self, counts):
        for i in range(BUCKET_COUNT):
            self.counts[i] += counts[i]

    def total(self):
        return sum(self.counts)

    def quantile(self, share):
        """The value in us below which `share` (0..1) of the operations lie; None if empty."""
        rank = share * self.total()
        if not rank:
            return None
        for bucket in range(BUCKET_COUNT):
            count = self.counts[bucket]
            if count and rank <= count:
                low, high = bounds_of(bucket)
                return low + (high - low) * rank / count
            rank -= count
        return VALUE_MAX
