"""FRAM chips on an SPI bus, one behind the other as one store.

    from machine import SPI, Pin
    spi = SPI(1, baudrate=10000000, sck=Pin(4), mosi=Pin(6), miso=Pin(5))
    store = FramSpi(spi, faults, ((Pin(7, Pin.OUT, value=1), "MB85RS1MT"),))

part         bytes    address  device id (RDID)             family
MB85RS256B    32768   2 bytes  04 7F, density 5             Fujitsu MB85RS
MB85RS512T    65536   2        04 7F, density 6
MB85RS1MT    131072   3        04 7F, density 7
MB85RS2MTA   262144   3        04 7F, density 8
MB85RS4MT    524288   3        04 7F, density 9
FM25V02       32768   2        7F 7F 7F 7F 7F 7F C2, 2      Ramtron, now Infineon
FM25V05       65536   2        7F 7F 7F 7F 7F 7F C2, 3
FM25V10      131072   3        7F 7F 7F 7F 7F 7F C2, 4
FM25V20A     262144   3        7F 7F 7F 7F 7F 7F C2, 5
The density is the lower 5 bits of the byte that follows.

Wiring: mode 0 or 3, one select pin per chip (high at rest), HOLD and WP to the supply. Pin WP
guards the status register alone; the memory is guarded by its block protect bits BP1 BP0, which
must be zero here.

Every WRITE needs a WREN of its own: the chip clears its write enable latch (WEL) when a WRITE
ends. WEL is read back first, the only acknowledgement that SPI has; a chip that fell off the bus
during a read goes unnoticed here, and is found by the check values of the records.
`write` and `readinto` of machine.SPI do not allocate.
"""

from hal.fram import Fram
from hal.store import StoreError
from tinybft.compat import const

_WRITE = const(0x02)
_READ = const(0x03)
_STATUS_READY = const(0x03)  # WEL set, and bit 0, which is always 0
_WEL = const(0x02)
_BLOCK_PROTECT = const(0x0C)
_WREN = b"\x06"
_RDSR = b"\x05"
_RDID = b"\x9f"
_FUJITSU = b"\x04\x7f"
_RAMTRON = b"\x7f\x7f\x7f\x7f\x7f\x7f\xc2"

# part: (bytes, manufacturer, density)
PARTS = {
    "MB85RS256B": (32768, _FUJITSU, 5),
    "MB85RS512T": (65536, _FUJITSU, 6),
    "MB85RS1MT": (131072, _FUJITSU, 7),
    "MB85RS2MTA": (262144, _FUJITSU, 8),
    "MB85RS4MT": (524288, _FUJITSU, 9),
    "FM25V02": (32768, _RAMTRON, 2),
    "FM25V05": (65536, _RAMTRON, 3),
    "FM25V10": (131072, _RAMTRON, 4),
    "FM25V20A": (262144, _RAMTRON, 5),
}


class FramSpi(Fram):
    """A store on `chips`, a sequence of (select pin, part); each must be there and be that.

    A select pin is called with 0 to select and 1 to release, as machine.Pin. The rest is as
    for FramI2c.
    """

    _REMEDY = "check power, SCK, MOSI, MISO and the select pin"

    def __init__(self, spi, faults, chips, chunk_length=32, verify=False):
        if not chips:
            raise StoreError("no FRAM chip is named; name at least one as (select pin, part)")
        for _, part in chips:
            if part not in PARTS:
                raise StoreError(
                    "FRAM part %s is not supported; use one of %s"
                    % (part, ", ".join(sorted(PARTS)))
                )
        sizes = tuple(PARTS[part][0] for _, part in chips)
        headers = tuple(3 if size <= 65536 else 4 for size in sizes)
        super().__init__(faults, sizes, headers, chunk_length, verify)
        self._spi = spi
        self._selects = tuple(select for select, _ in chips)
        self._parts = tuple(part for _, part in chips)
        self._status = bytearray(1)
        for select in self._selects:
            select(1)
        for chip in range(len(chips)):
            self._identify(chip)

    def _get(self, chip, at, length):
        self._put_header(_READ, chip, at)
        self._exchange(chip, self._views[self._headers[chip]], self._views[length])

    def _put(self, chip, at, length):
        self._exchange(chip, _WREN, None)
        self._exchange(chip, _RDSR, self._status)
        if self._status[0] & _STATUS_READY != _WEL:
            return False
        self._put_header(_WRITE, chip, at)
        self._exchange(chip, self._views[self._headers[chip] + length], None)
        return True

    def _put_header(self, opcode, chip, at):
        frame = self._frame
        last = self._headers[chip] - 1
        frame[last - 2] = at >> 16  # zero, in the opcode's place, if the address has two bytes
        frame[last - 1] = at >> 8 & 0xFF
        frame[last] = at & 0xFF
        frame[0] = opcode

    def _exchange(self, chip, out, into):
        """Send `out`, then fill `into` unless None, under one select."""
        select = self._selects[chip]
        select(0)
        try:
            self._spi.write(out)
            if into is not None:
                self._spi.readinto(into)
        finally:
            select(1)

    def _name(self, chip):
        return "%s, SPI chip %d" % (self._parts[chip], chip)

    def _identify(self, chip):
        """StoreError unless the chip answers, is the part, and none of it is protected."""
        octets = bytearray(9)
        self._exchange(chip, _RDID, octets)
        _, manufacturer, density = PARTS[self._parts[chip]]
        length = len(manufacturer)
        if octets[:length] != manufacturer or octets[length] & 31 != density:
            if len(set(octets)) == 1:
                raise StoreError("%s does not answer: %s" % (self._name(chip), self._REMEDY))
            raise StoreError(
                "%s has the device id %s, which is %s: name the part that is there"
                % (self._name(chip), " ".join("%02x" % o for o in octets), _part_of(octets))
            )
        self._exchange(chip, _RDSR, self._status)
        if self._status[0] & _BLOCK_PROTECT:
            raise StoreError(
                "%s is write protected by its status register 0x%02x: clear BP1 and BP0 there"
                % (self._name(chip), self._status[0])
            )


def _part_of(octets):
    """The part that has this device id, in words."""
    for part in PARTS:
        _, manufacturer, density = PARTS[part]
        length = len(manufacturer)
        if octets[:length] == manufacturer and octets[length] & 31 == density:
            return part
    return "none of the supported parts"


def read_us(length, clock_hz=10000000, chunk_length=32, address_length=3):
    """Microseconds on the bus to read `length` bytes, 8 clocks a byte, without pauses."""
    transfers = -(-length // chunk_length)
    return _us(length + (1 + address_length) * transfers, clock_hz)


def write_us(length, clock_hz=10000000, chunk_length=32, address_length=3):
    """The same to write `length` bytes, with WREN and RDSR, without `verify`."""
    transfers = -(-length // chunk_length)
    return _us(length + (1 + address_length + 3) * transfers, clock_hz)


def _us(octets, clock_hz):
    return -(-octets * 8000000 // clock_hz)
