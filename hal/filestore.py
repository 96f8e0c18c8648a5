"""Non-volatile memory in a file: what a node on a host has in place of FRAM.

The file has a fixed size, zeros at first. A write is with the kernel when it returns: it
survives the end of the process by whatever signal, not a power cut of the host. Nothing
allocates on MicroPython.
"""

import os
import sys

from hal.store import StoreError, check_span

_ON_MICROPYTHON = sys.implementation.name == "micropython"


class FileStore:
    """`size` bytes at addresses 0..size - 1."""

    def __init__(self, path, size):
        try:
            self._file = _opened(path, size)
            found = self._file.seek(0, 2)
        except OSError as error:
            raise StoreError("store %s cannot be used: %s" % (path, error)) from None
        if found != size:
            self._file.close()
            raise StoreError(
                "store %s has %d bytes, must have %d; remove it (the node then starts empty "
                "and fetches the state from the others), or name another file"
                % (path, found, size)
            )
        self.size = size

    def read_into(self, address, buf, length):
        """Fill buf[0:length] from `address` on."""
        check_span(address, buf, length, self.size)
        self._file.seek(address)
        if _ON_MICROPYTHON:
            found = self._file.readinto(buf, length)
        else:
            found = self._file.readinto(memoryview(buf)[:length])
        if found != length:
            raise OSError("the store's file has become shorter")

    def write(self, address, buf, length):
        """Write buf[0:length] at `address`."""
        check_span(address, buf, length, self.size)
        self._file.seek(address)
        if _ON_MICROPYTHON:
            self._file.write(buf, length)
        else:
            self._file.write(memoryview(buf)[:length])

    def close(self):
        self._file.close()


def _opened(path, size):
    """The file, unbuffered; made of zeros under another name first, so never seen half."""
    try:
        os.stat(path)
    except OSError:
        fresh = path + ".new"
        with open(fresh, "wb") as file:
            file.write(bytes(size))
        os.rename(fresh, path)
    # MicroPython's files are never buffered.
    return open(path, "r+b") if _ON_MICROPYTHON else open(path, "r+b", buffering=0)
