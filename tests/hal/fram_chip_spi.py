"""FRAM chips on a simulated SPI bus, byte by byte, as the data sheets tell; see hal.fram_spi.

`SpiChip` is one chip and its select pin, `SpiBus` has the methods of machine.SPI that move
bytes. `bus.octets` counts them; `bus.cut_at(number, value)` as in tests.hal.fram_chip.
"""

from hal.fram_spi import PARTS
from tests.hal.fram_chip import PowerCut

_WRITE, _READ, _RDSR, _WREN, _RDID = 0x02, 0x03, 0x05, 0x06, 0x9F
_WEL = 2


class SpiChip:
    """A part; calling it with 0 selects it, with 1 releases it, as its select pin would."""

    def __init__(self, part):
        size, manufacturer, density = PARTS[part]
        self.memory = bytearray(size)
        self.status = 0
        self.present = True
        self.carried_over = 0
        self._size = size
        self._address_length = 2 if size <= 65536 else 3
        self._id = manufacturer + bytes((0x20 | density, 3))
        self.power_on()

    def power_on(self):
        self.status &= ~_WEL
        self._selected = False
        self._count = 0

    def __call__(self, value):
        if value and self._selected and self._count and self._opcode == _WRITE:
            self.status &= ~_WEL
        self._selected = not value
        self._count = 0
        self._latch = 0

    def exchange(self, octet):
        """One byte in, one byte out (-1: output not driven)."""
        if not self._selected or not self.present:
            return -1
        count = self._count
        self._count += 1
        if count == 0:
            self._opcode = octet
            if octet == _WREN:
                self.status |= _WEL
            return -1
        if self._opcode == _RDSR:
            return self.status
        if self._opcode == _RDID:
            return self._id[count - 1] if count <= len(self._id) else 0
        if self._opcode != _WRITE and self._opcode != _READ:
            return -1
        if count <= self._address_length:
            self._latch = (self._latch << 8 | octet) % self._size
            return -1
        return self._data(octet)

    def tear(self, value):
        if self._is_writing() and value is not None:
            self.memory[self._latch % self._size] = value

    def _is_writing(self):
        if not self._selected or not self._count > self._address_length:
            return False
        return self._opcode == _WRITE and self.status & _WEL and not self.status & 0x0C

    def _data(self, octet):
        if self._latch == self._size:
            self._latch = 0
            self.carried_over += 1
        found = self.memory[self._latch]
        if self._opcode == _WRITE:
            found = -1
            if self._is_writing():
                self.memory[self._latch] = octet
        self._latch += 1
        return found


class SpiBus:
    def __init__(self, chips):
        self.chips = chips
        self.octets = 0
        self._cut = -1
        self._torn = None

    def cut_at(self, number, value=None):
        self._cut = number
        self._torn = value

    def power_on(self):
        self._cut = -1
        for chip in self.chips:
            chip.power_on()

    def write(self, buf):
        for octet in buf:
            self._exchange(octet)

    def readinto(self, buf, write=0):
        for i in range(len(buf)):
            buf[i] = self._exchange(write) & 0xFF  # pulled up when nobody drives it

    def _exchange(self, octet):
        number = self.octets
        self.octets += 1
        if number == self._cut:
            for chip in self.chips:
                chip.tear(self._torn)
            raise PowerCut("in byte %d on the bus" % number)
        answer = -1
        for chip in self.chips:
            out = chip.exchange(octet)
            if out >= 0:
                answer = out
        return answer
