"""What the drivers of FRAM chips share: one address space, chunks, attempts, read-back.

Several chips lie one behind the other, in the order in which they are named. A transfer on the
bus stays within one chip and one 64 KiB page, and moves at most `chunk_length` bytes: the bus
may be shared, and no chip's roll-over at the end of its memory is ever relied on.

A transfer that fails is tried again, a bounded number of times. A write that was not
acknowledged is first read back, and goes on at the first byte that differs: no byte is written
twice after one behind it was, so that a power cut leaves a prefix even then. What was
acknowledged is trusted, unless `verify` asks for every chunk to be read back.

RAM: one frame of header and chunk, and one view for each of its lengths, because slicing
allocates: about 25 bytes per byte of the chunk on a 32-bit MicroPython (1.1 KB in all for 32).

A driver has, for a chip's index, an address `at` within it and a length:
    _get(chip, at, length)    fills frame[0:length]; OSError when it failed
    _put(chip, at, length)    writes frame[header:header + length]; False or OSError: failed
    _name(chip)               part and place in words
    _REMEDY                   what to look at when the bus fails
"""

from hal.store import StoreError, check_span
from tinybft.compat import const
from tinybft.octets import copy, equal

_ATTEMPTS = const(4)
_PAGE = const(65536)
CHUNK_LENGTH_MAX = const(254)


class Fram:
    """A store over chips of `sizes[i]` bytes whose transfers start with `headers[i]` bytes."""

    def __init__(self, faults, sizes, headers, chunk_length, verify):
        if not 1 <= chunk_length <= CHUNK_LENGTH_MAX:
            raise StoreError(
                "chunk length is %d, must be 1..%d" % (chunk_length, CHUNK_LENGTH_MAX)
            )
        starts = []
        total = 0
        for size in sizes:
            starts.append(total)
            total += size
        self.size = total
        self.chip_starts = tuple(starts)
        self._sizes = sizes
        self._headers = headers
        self._chunk_length = chunk_length
        self._verify = verify
        self._faults = faults
        self._frame = bytearray(max(headers) + chunk_length)
        whole = memoryview(self._frame)
        self._views = [whole[:length] for length in range(len(self._frame) + 1)]

    def read_into(self, address, buf, length):
        """Fill buf[0:length] from `address` on; StoreError when a chip cannot be read."""
        check_span(address, buf, length, self.size)
        done = 0
        while done < length:
            count = self._fetch(address + done, length - done)
            copy(buf, done, self._frame, 0, count)
            done += count

    def write(self, address, buf, length):
        """Write buf[0:length] at `address`; StoreError when a chip does not take it."""
        check_span(address, buf, length, self.size)
        done = failed = 0
        while done < length:
            chip = self._chip_at(address + done)
            at = address + done - self.chip_starts[chip]
            count = self._span(chip, at, length - done)
            copy(self._frame, self._headers[chip], buf, done, count)
            if not self._acknowledged(chip, at, count) or self._verify:
                same = self._same(address + done, buf, done, count)
                if same < count:
                    failed += 1
                    if failed == _ATTEMPTS:
                        self._refuse_write(chip, at + same, self._frame[same], buf[done + same])
                    done += same
                    continue
            done += count
            failed = 0

    def check_writable(self, address):
        """StoreError unless the byte at `address` can be changed; for provisioning only.

        A write-protected chip may acknowledge what it does not write, so the byte is
        complemented, read back and restored. A power cut within leaves it undefined: name a
        byte without meaning, one in each chip (`chip_starts`), as each has a pin of its own.
        """
        octet = bytearray(1)
        self.read_into(address, octet, 1)
        chip = self._chip_at(address)
        for _ in range(2):  # the complement, then what was there
            octet[0] ^= 255
            self.write(address, octet, 1)
            if not self._same(address, octet, 0, 1):
                at = address - self.chip_starts[chip]
                self._refuse_write(chip, at, self._frame[0], octet[0])

    def _chip_at(self, address):
        chip = len(self.chip_starts) - 1
        while address < self.chip_starts[chip]:
            chip -= 1
        return chip

    def _span(self, chip, at, length):
        """How many of `length` bytes one transfer may move."""
        length = min(length, self._chunk_length)
        length = min(length, self._sizes[chip] - at)
        return min(length, _PAGE - at % _PAGE)

    def _fetch(self, address, length):
        """Read up to `length` bytes into the front of the frame; returns how many."""
        chip = self._chip_at(address)
        at = address - self.chip_starts[chip]
        length = self._span(chip, at, length)
        for _ in range(_ATTEMPTS):
            try:
                self._get(chip, at, length)
                return length
            except OSError as error:
                reason = error
            self._faults.store_transfer += 1
        raise StoreError(
            "%s: reading %d bytes at 0x%x failed %d times (%s): %s"
            % (self._name(chip), length, at, _ATTEMPTS, reason, self._REMEDY)
        )

    def _acknowledged(self, chip, at, length):
        try:
            if self._put(chip, at, length):
                return True
        except OSError:
            pass
        self._faults.store_transfer += 1
        return False

    def _same(self, address, buf, start, length):
        """How many bytes from `address` on are those from buf[start] on, at most `length`.

        Requires a span of one transfer; afterwards the frame begins with what was read.
        """
        self._fetch(address, length)
        frame = self._frame
        if equal(frame, 0, buf, start, length):
            return length
        self._faults.store_mismatch += 1
        same = 0
        while frame[same] == buf[start + same]:
            same += 1
        return same

    def _refuse_write(self, chip, at, found, expected):
        raise StoreError(
            "%s: the byte at 0x%x is 0x%02x and does not become 0x%02x: connect pin WP so that"
            " writing is allowed; if it is, replace the chip"
            % (self._name(chip), at, found, expected)
        )
