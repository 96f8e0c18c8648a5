"""FRAM chips on an I2C bus, one behind the other as one store.

    from machine import I2C, Pin
    i2c = I2C(0, scl=Pin(7), sda=Pin(6), freq=400000)
    store = FramI2c(i2c, faults, ((0x50, "MB85RC256V"), (0x52, "MB85RC1MT")))

part         bytes    device address  device id      data sheet
MB85RC256V    32768   1010 A2 A1 A0   00A / 5xx      Fujitsu DS501-00017
MB85RC512T    65536   1010 A2 A1 A0   00A / 6xx      Fujitsu DS501-00028
MB85RC1MT    131072   1010 A2 A1 A16  00A / 7xx      Fujitsu DS501-00027
FM24V02       32768   1010 A2 A1 A0   004 / 2xx      Ramtron, now Infineon
FM24V05       65536   1010 A2 A1 A0   004 / 3xx      Ramtron, now Infineon
FM24V10      131072   1010 A2 A1 A16  004 / 4xx      Ramtron, now Infineon

Wiring: SDA and SCL pulled up (2.2 to 4.7 kOhm at 400 kHz), WP to ground, A2 A1 A0 as the
address says (open pins of the MB85RC count as low). A part of 128 KiB takes an even address and
the odd one after it, for its lower and upper 64 KiB.

Facts of the data sheets that the driver builds on: the memory address is two bytes, the high
one first; every byte that follows is written at once, without a page or a wait, and raises the
address latch; the latch rolls over at the end of the whole memory (never used here). The device
id is read by the reserved address F8h, the device address as data, repeated start, F9h: three
bytes, 12 bits of manufacturer and 12 of product, of which the upper 4 tell the density. With pin
WP high an MB85RC acknowledges what it does not write (see `check_writable` and `verify`).

Facts of machine.I2C in MicroPython 1.29: `writeto` of one buffer and `readfrom_mem_into` do not
allocate, `writeto_mem` and `writevto` do. The ESP32 port ends each `writeto` with a stop, and
raises OSError for any byte that is not acknowledged; SoftI2C and other ports return the number
of acknowledged bytes. There a memory address that is not acknowledged during a read goes
unnoticed: use a hardware I2C. I2C has no check value: what was transferred wrong but acknowledged
is found by the check values of the records alone, or by `verify`.
"""

from hal.fram import Fram
from hal.store import StoreError
from tinybft.compat import const

_HEADER = const(2)
_RESERVED = const(0x7C)  # F8h to write, F9h to read
_UPPER_HALF = const(65536)
_FUJITSU = const(0x00A)
_RAMTRON = const(0x004)

# part: (KiB, manufacturer, density). Not bytes: an integer above 8191 in a constant tuple is
# frozen as a big one, and whatever is computed with it allocates.
PARTS = {
    "MB85RC256V": (32, _FUJITSU, 5),
    "MB85RC512T": (64, _FUJITSU, 6),
    "MB85RC1MT": (128, _FUJITSU, 7),
    "FM24V02": (32, _RAMTRON, 2),
    "FM24V05": (64, _RAMTRON, 3),
    "FM24V10": (128, _RAMTRON, 4),
}


def length_of(part):
    """Bytes of a part."""
    return PARTS[part][0] << 10


class FramI2c(Fram):
    """A store on `chips`, a sequence of (7-bit address, part); each must be there and be that.

    `chunk_length` bytes are moved per transfer; `verify` reads back every chunk written.
    `faults` counts failed attempts (hal.faults). StoreError when a chip is not what it must be;
    without `identify` it need only answer, for a bus that cannot send the reserved address.
    """

    _REMEDY = "check power, SDA, SCL and their pull-ups; a chip that holds SDA low needs power off"

    def __init__(  # noqa: PLR0913 - each is a choice of the device's main program
        self, i2c, faults, chips, chunk_length=32, verify=False, identify=True
    ):
        check_places(chips)
        sizes = tuple(length_of(part) for _, part in chips)
        super().__init__(faults, sizes, (_HEADER,) * len(chips), chunk_length, verify)
        self._i2c = i2c
        self._devices = bytes(device for device, _ in chips)
        self._parts = tuple(part for _, part in chips)
        for chip in range(len(chips)):
            if identify:
                self._identify(chip)
            elif not self._answers(self._devices[chip]):
                self._refuse_silence(chip)

    def _get(self, chip, at, length):
        device = self._devices[chip] | at >> 16
        self._i2c.readfrom_mem_into(device, at & 0xFFFF, self._views[length], addrsize=16)

    def _put(self, chip, at, length):
        frame = self._frame
        frame[0] = at >> 8 & 0xFF
        frame[1] = at & 0xFF
        length += _HEADER
        return self._i2c.writeto(self._devices[chip] | at >> 16, self._views[length]) == length

    def _name(self, chip):
        return "%s at I2C address 0x%02x" % (self._parts[chip], self._devices[chip])

    def _identify(self, chip):
        """StoreError unless the chip answers and its device id is that of the part."""
        octets = bytearray(3)
        device = self._devices[chip]
        for _ in range(2):
            try:
                self._i2c.readfrom_mem_into(_RESERVED, device << 1, octets)
                break
            except OSError:
                self._faults.store_transfer += 1
        manufacturer = octets[0] << 4 | octets[1] >> 4
        density = octets[1] & 15
        if (manufacturer, density) == PARTS[self._parts[chip]][1:]:
            return
        if any(octets) and octets != b"\xff\xff\xff":
            raise StoreError(
                "%s has the device id %03x/%x%02x, which is %s: name the part that is there"
                % (self._name(chip), manufacturer, density, octets[2], _part_of(octets))
            )
        if self._answers(device):
            raise StoreError(
                "%s answers, but gives no device id: it is another part (an EEPROM?), use one of"
                " %s; or the bus cannot send address 0x7c, then say identify=False"
                % (self._name(chip), ", ".join(sorted(PARTS)))
            )
        self._refuse_silence(chip)

    def _refuse_silence(self, chip):
        raise StoreError(
            "%s does not answer; these addresses do: %s: %s; and pins A2, A1, A0"
            % (self._name(chip), self._answering(), self._REMEDY)
        )

    def _answers(self, device):
        try:
            self._i2c.readfrom_into(device, bytearray(1))
        except OSError:
            return False
        return True

    def _answering(self):
        try:
            found = self._i2c.scan()
        except OSError as error:
            return "none (%s)" % error
        return ", ".join("0x%02x" % device for device in found) or "none"


def _part_of(octets):
    """The part that has this device id, in words."""
    kind = (octets[0] << 4 | octets[1] >> 4, octets[1] & 15)
    for part in PARTS:
        if PARTS[part][1:] == kind:
            return part
    return "none of the supported parts"


def check_places(chips):
    """StoreError unless the parts are known and their addresses valid and different."""
    if not chips:
        raise StoreError("no FRAM chip is named; name at least one as (I2C address, part)")
    taken = {}
    for device, part in chips:
        if part not in PARTS:
            raise StoreError(
                "FRAM part %s is not supported; use one of %s" % (part, ", ".join(sorted(PARTS)))
            )
        pages = 2 if length_of(part) > _UPPER_HALF else 1
        if not 0x50 <= device <= 0x57 or device % pages:
            raise StoreError(
                "%s cannot have the I2C address 0x%02x, must be %s0x50..0x57"
                % (part, device, "even, " if pages == 2 else "")
            )
        for page in range(pages):
            if device + page in taken:
                raise StoreError(
                    "%s at I2C address 0x%02x needs 0x%02x, which %s has; change pins A2, A1, A0"
                    % (part, device, device + page, taken[device + page])
                )
            taken[device + page] = part


def read_us(length, clock_hz=400000, chunk_length=32):
    """Microseconds on the bus to read `length` bytes: 9 clocks a byte, 1 a (re)start or stop.

    Each transfer has a start, device and memory address, a repeated start, the device address
    again, the bytes, a stop. A page or chip boundary within adds at most one transfer.
    """
    transfers = -(-length // chunk_length)
    return _us(9 * (length + 4 * transfers) + 3 * transfers, clock_hz)


def write_us(length, clock_hz=400000, chunk_length=32):
    """The same to write `length` bytes without `verify`, which adds `read_us`."""
    transfers = -(-length // chunk_length)
    return _us(9 * (length + 3 * transfers) + 2 * transfers, clock_hz)


def _us(clocks, clock_hz):
    return -(-clocks * 1000000 // clock_hz)
