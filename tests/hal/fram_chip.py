"""FRAM chips on a simulated I2C bus, byte by byte, as the data sheets tell; see hal.fram_i2c.

`I2cChip` is one chip: start, device address with page-select bit, two address bytes, data with
the address latch, roll-over at the end of the whole memory, device id, pin WP, power loss.
`I2cBus` has the methods of machine.I2C and injects what goes wrong. Both run on CPython and
MicroPython, and what does not allocate in machine.I2C does not allocate here.

Bytes on the bus are numbered from 0, device addresses included; `bus.octets` is the next number.
    bus.faults[number] = LOST       the chip does not hear the byte: no acknowledgement
    bus.faults[number] = UNHEARD    it takes the byte, but its acknowledgement gets lost
    bus.faults[number] = TIME_OUT   the clock is held: OSError(ETIMEDOUT)
    bus.cut_at(number, value)       power fails during that byte: PowerCut; where it was to be
                                    written, `value` is found, or what was there if None
"""

import errno

from hal.fram_i2c import PARTS, length_of

LOST = 1
UNHEARD = 2
TIME_OUT = 3

_PAGE = 65536
_RESERVED_WRITE = 0xF8
_RESERVED_READ = 0xF9
_PRODUCTS = {5: 0x10, 6: 0x58, 7: 0x58}  # lower byte of Fujitsu's product ids

# What the chip takes the next byte for.
_IDLE, _HIGH, _LOW, _DATA, _ID_DEVICE, _ID_DATA = range(6)


class PowerCut(Exception):
    """The supply failed; not an OSError, because nobody is there to catch it."""


class I2cChip:
    """One chip of a part, with pins A2 A1 A0 as in `device` (0x50..0x57); zeros at first."""

    def __init__(self, part, device=0x50, has_id=True):
        size = length_of(part)
        _, manufacturer, density = PARTS[part]
        self.memory = bytearray(size)
        self.write_protected = False
        self.present = True
        self.carried_over = 0  # accesses behind the end of a 64 KiB page within one transfer
        self._size = size
        self._device = device
        self._pages = -(-size // _PAGE)
        self._has_id = has_id
        self._refuses_protected = manufacturer == 0x004  # Ramtron: no acknowledgement
        product = 0 if self._refuses_protected else _PRODUCTS[density]
        self._id = bytes((manufacturer >> 4, (manufacturer & 15) << 4 | density, product))
        self.power_on()

    def power_on(self):
        self._state = _IDLE
        self._latch = 0x1234 % self._size  # undefined after power-on
        self._selected_for_id = False
        self._page_left = False

    def start(self):
        self._state = _IDLE
        self._page_left = False

    def stop(self):
        self._state = _IDLE
        self._selected_for_id = False

    def address(self, octet):
        """The first byte after a start; whether the chip acknowledges."""
        if not self.present:
            return False
        if octet == _RESERVED_WRITE and self._has_id:
            self._state = _ID_DEVICE
            return True
        if octet == _RESERVED_READ and self._selected_for_id:
            self._state = _ID_DATA
            self._latch_of_id = 0
            return True
        page = (octet >> 1) - self._device
        if not 0 <= page < self._pages:
            return False
        if octet & 1:
            self._state = _DATA
        else:
            self._state = _HIGH
            self._page = page
        return True

    def receive(self, octet):
        """A byte from the master; whether the chip acknowledges."""
        state = self._state
        if state == _HIGH:
            self._high = octet
            self._state = _LOW
        elif state == _LOW:
            self._latch = (self._page << 16 | self._high << 8 | octet) % self._size
            self._state = _DATA
        elif state == _DATA:
            if self.write_protected and self._refuses_protected:
                return False
            if not self.write_protected:
                self.memory[self._latch] = octet
            self._advance()
        elif state == _ID_DEVICE:
            self._selected_for_id = 0 <= (octet >> 1) - self._device < self._pages
            self._state = _IDLE
            return self._selected_for_id
        else:
            return False
        return True

    def transmit(self):
        """The next byte for the master, or -1: the chip is not the one that is read."""
        if self._state == _DATA:
            octet = self.memory[self._latch]
            self._advance()
            return octet
        if self._state == _ID_DATA:
            octet = self._id[self._latch_of_id]
            self._latch_of_id = (self._latch_of_id + 1) % 3
            return octet
        return -1

    def tear(self, value):
        """Power fails while a byte is on the bus that may be one to write."""
        if self._state == _DATA and not self.write_protected and value is not None:
            self.memory[self._latch] = value

    def _advance(self):
        if self._page_left:
            self.carried_over += 1
        self._latch = (self._latch + 1) % self._size
        if self._latch % _PAGE == 0:
            self._page_left = True


class I2cBus:
    """machine.I2C with chips on it.

    `counts_acknowledgements`: as SoftI2C, which raises for the device address alone; else as
    the ESP32 port, which raises for any byte. `clocks` counts the clocks of all transfers.
    """

    def __init__(self, chips, counts_acknowledgements=False):
        self.chips = chips
        self.octets = 0
        self.clocks = 0
        self.transfers = 0
        self.faults = {}
        self.stuck = False
        self._counts = counts_acknowledgements
        self._cut = -1
        self._torn = None

    def cut_at(self, number, value=None):
        self._cut = number
        self._torn = value

    def power_on(self):
        self._cut = -1
        for chip in self.chips:
            chip.power_on()

    def scan(self):
        return [device for device in range(0x08, 0x78) if self._answers(device)]

    def writeto(self, addr, buf, stop=True):
        """Returns the number of bytes acknowledged, device address not included."""
        assert stop, "the ESP32 port always stops"
        acknowledged = self._write(addr, buf)
        self._stop()
        return acknowledged

    def readfrom_into(self, addr, buf, stop=True):
        assert stop, "the ESP32 port always stops"
        self.transfers += 1
        self._read(addr, buf)
        self._stop()

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        self._start(addr << 1)
        shift = addrsize
        while shift:
            shift -= 8
            if not self._out(memaddr >> shift & 0xFF):
                self._stop()
                if self._counts:
                    return
                raise OSError(errno.ENODEV)
        self._read(addr, buf)
        self._stop()

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        """Allocates, as the real one does."""
        return self.writeto(addr, memaddr.to_bytes(addrsize // 8, "big") + bytes(buf))

    def _answers(self, device):
        try:
            self._start(device << 1)
        except OSError:
            return False
        self._stop()
        return True

    def _write(self, addr, buf):
        self._start(addr << 1)
        acknowledged = 0
        for octet in buf:
            if not self._out(octet):
                if self._counts:
                    return acknowledged
                self._stop()
                raise OSError(errno.ENODEV)
            acknowledged += 1
        return acknowledged

    def _read(self, addr, buf):
        self.transfers -= 1  # a repeated start goes on with the transfer
        self._start(addr << 1 | 1)
        for i in range(len(buf)):
            kind = self._next_octet(None)
            if kind == TIME_OUT:
                self._time_out()
            buf[i] = 0xFF
            for chip in self.chips:
                octet = chip.transmit()
                if octet >= 0:
                    buf[i] = octet

    def _start(self, octet):
        """A start and the device address; OSError when nobody acknowledges."""
        self.transfers += 1
        self.clocks += 1
        if self.stuck:
            self._time_out()
        for chip in self.chips:
            chip.start()
        kind = self._next_octet(None)
        if kind == TIME_OUT:
            self._time_out()
        acknowledged = False
        if kind != LOST:
            for chip in self.chips:
                if chip.address(octet):
                    acknowledged = True
        if not acknowledged or kind == UNHEARD:
            self._stop()
            raise OSError(errno.ENODEV)

    def _out(self, octet):
        """One byte to the chips; whether it was acknowledged."""
        kind = self._next_octet(octet)
        if kind == TIME_OUT:
            self._time_out()
        acknowledged = False
        if kind != LOST:
            for chip in self.chips:
                if chip.receive(octet):
                    acknowledged = True
        return acknowledged and kind != UNHEARD

    def _next_octet(self, octet):
        """Count a byte; PowerCut, or the fault that it meets."""
        number = self.octets
        self.octets += 1
        self.clocks += 9
        if number == self._cut:
            if octet is not None:
                for chip in self.chips:
                    chip.tear(self._torn)
            raise PowerCut("in byte %d on the bus" % number)
        return self.faults.get(number, 0)

    def _time_out(self):
        self._stop()
        raise OSError(errno.ETIMEDOUT)

    def _stop(self):
        self.clocks += 1
        for chip in self.chips:
            chip.stop()
