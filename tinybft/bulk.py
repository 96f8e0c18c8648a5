"""Bulk fields: many bytes of one kind that the rules carry about and do not look into.

Request bodies, replies, blocks of the state. Each lies in RAM or in the non-volatile store; who
uses one copies in and out and does not know which:

    bulk.put(at, buf, start, length)        bulk[at:at+length] = buf[start:start+length]
    bulk.get(at, out, start, length)        out[start:start+length] = bulk[at:at+length]
    bulk.copy_to(at, other, to, length)     from one bulk field into another one

A field is a row of places, `stride` bytes from one to the next; `at` counts from the first. A
block of the state is a place that is also hashed as a whole:

    bulk.open(place)                        its offset in `bulk.octets`, where it can be read now

`InRam` is the one, `InStore` (bulk_store.py) the other. Spans are checked no more than in
`octets`. Allocates nothing.
"""

from tinybft.compat import micropython
from tinybft.octets import copy


class InRam:
    """A field in the bytearray `buf`."""

    in_ram = True

    def __init__(self, buf, stride):
        self.octets = buf
        self.stride = stride

    @micropython.native
    def put(self, at, buf, start, length):
        copy(self.octets, at, buf, start, length)

    @micropython.native
    def get(self, at, out, start, length):
        copy(out, start, self.octets, at, length)

    @micropython.native
    def copy_to(self, at, other, to, length):
        other.put(to, self.octets, at, length)

    @micropython.native
    def open(self, place):
        return place * self.stride
