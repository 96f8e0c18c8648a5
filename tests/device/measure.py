"""Bytes that a call takes from MicroPython's heap, apart from those of hashing.

counted   the collector off, `gc.mem_alloc()` before and after; this also sees an exception
locked    under `micropython.heap_lock()`, where an allocation raises MemoryError
"""

import gc
import sys

import micropython

import hal.crypto
from hal.crypto import digest_into


class Measure:
    """Either counts or locks; takes the place of `hal.crypto.digest_into` in later nodes.

    Of the calls of one name every n-th is measured, n = `every`: counting walks over the heap.
    """

    def __init__(self, locked, every=1):
        self.locked = locked
        self.every = every
        self._seen = {}
        self.calls = {}
        self.bytes = {}
        self.excused = 0  # bytes that hashing took since `begin`
        self.failures = []
        self.quiet = False
        self._active = False
        self._before = 0
        self._overhead = 0
        hal.crypto.digest_into = self.digest_into
        self.begin()
        self._overhead = self.end("nothing")
        self.calls.clear()
        self.bytes.clear()

    def call(self, name, function, a, b=None, c=None, d=None):  # noqa: PLR0913
        """Call `function` with one to four arguments as one of the calls of that name."""
        seen = self._seen.get(name, 0)
        self._seen[name] = seen + 1
        measured = seen % self.every == 0
        if measured:
            self.begin()
        try:
            # Written out, because a call with *args may allocate.
            if b is None:
                function(a)
            elif c is None:
                function(a, b)
            elif d is None:
                function(a, b, c)
            else:
                function(a, b, c, d)
        except MemoryError as error:
            if not measured:
                raise
            self.end(name)
            self.failures.append(name)
            if len(self.failures) < 6 and not self.quiet:
                print("allocation in", name)
                sys.print_exception(error)
            return
        used = self.end(name) if measured else 0
        if used:
            self.failures.append(name)
            if not self.quiet:
                print("allocation in", name, used, "bytes")

    def begin(self):
        self.excused = 0
        self._active = True
        if self.locked:
            micropython.heap_lock()
        else:
            self._before = gc.mem_alloc()

    def end(self, name):
        """Returns the bytes allocated since `begin`, hashing left out."""
        if self.locked:
            micropython.heap_unlock()
            used = 0
        else:
            used = gc.mem_alloc() - self._before - self.excused - self._overhead
        self._active = False
        self.calls[name] = self.calls.get(name, 0) + 1
        self.bytes[name] = self.bytes.get(name, 0) + used
        return used

    def collect(self):
        """Between two calls: the collector is off while they run."""
        gc.collect()

    def digest_into(self, buf, start, length, out, at):
        if not self._active:
            digest_into(buf, start, length, out, at)
        elif self.locked:
            micropython.heap_unlock()
            digest_into(buf, start, length, out, at)
            micropython.heap_lock()
        else:
            before = gc.mem_alloc()
            digest_into(buf, start, length, out, at)
            self.excused += gc.mem_alloc() - before
