"""The simulated I2C FRAM does what the data sheets say, also what the driver never asks for."""

from tests.hal.fram_chip import I2cBus, I2cChip, PowerCut
from tests.hal.support import ON_MICROPYTHON, bytes_allocated, raises


def bus_of(*parts):
    return I2cBus([I2cChip(part, 0x50 + 2 * i) for i, part in enumerate(parts)])


def read(bus, device, at, length):
    buf = bytearray(length)
    bus.readfrom_mem_into(device, at, buf, addrsize=16)
    return bytes(buf)


def test_bytes_follow_the_address_and_roll_over_at_the_end():
    bus = bus_of("MB85RC256V")
    assert bus.writeto(0x50, b"\x7f\xfeabcd") == 6
    memory = bus.chips[0].memory
    assert memory[0x7FFE:] == b"ab" and memory[:2] == b"cd"
    assert read(bus, 0x50, 0x7FFE, 4) == b"abcd"
    assert bus.chips[0].carried_over == 4


def test_last_byte_alone_is_no_roll_over():
    bus = bus_of("FM24V05")
    bus.writeto(0x50, b"\xff\xffz")
    assert bus.chips[0].memory[65535] == 122 and not bus.chips[0].carried_over


def test_upper_address_bit_of_a_small_part_is_ignored():
    bus = bus_of("MB85RC256V")
    bus.writeto(0x50, b"\x80\x05x")
    assert read(bus, 0x50, 5, 1) == b"x"


def test_page_select_bit_is_bit_16_of_the_latch():
    bus = bus_of("MB85RC1MT")
    bus.writeto(0x50, b"\xff\xffab")
    bus.writeto(0x51, b"\xff\xffcd")
    memory = bus.chips[0].memory
    assert bus.chips[0].carried_over == 2  # b and d
    assert memory[65535:65537] == b"ab"
    assert memory[131071] == ord("c") and memory[0] == ord("d")
    assert read(bus, 0x51, 0, 1) == b"b"


def test_current_address_read_goes_on_behind_the_last_access():
    bus = bus_of("FM24V02")
    bus.writeto(0x50, b"\x00\x10abcdef")
    bus.writeto(0x50, b"\x00\x10")
    buf = bytearray(2)
    bus.readfrom_into(0x50, buf)
    assert buf == b"ab"
    bus.readfrom_into(0x50, buf)
    assert buf == b"cd"


def test_device_id_of_the_addressed_chip():
    bus = bus_of("MB85RC256V", "FM24V10")
    for device, octets in (
        (0x50, b"\x00\xa5\x10"),
        (0x52, b"\x00\x44\x00"),
        (0x53, b"\x00\x44\x00"),
    ):
        buf = bytearray(3)
        bus.readfrom_mem_into(0x7C, device << 1, buf)
        assert buf == octets
    raises(OSError, bus.readfrom_mem_into, 0x7C, 0x51 << 1, bytearray(3))


def test_device_id_needs_a_repeated_start():
    bus = bus_of("MB85RC256V")
    bus.writeto(0x7C, b"\xa0")
    raises(OSError, bus.readfrom_into, 0x7C, bytearray(3))


def test_write_protected_fujitsu_acknowledges_and_ramtron_does_not():
    bus = bus_of("MB85RC256V", "FM24V10")
    for chip in bus.chips:
        chip.write_protected = True
    assert bus.writeto(0x50, b"\x00\x00ab") == 4
    raises(OSError, bus.writeto, 0x52, b"\x00\x00ab")
    assert not any(bus.chips[0].memory) and not any(bus.chips[1].memory)


def test_scan_finds_both_halves_and_the_order_of_addresses():
    bus = bus_of("MB85RC256V", "MB85RC1MT")
    assert bus.scan() == [0x50, 0x52, 0x53]
    bus.chips[1].present = False
    assert bus.scan() == [0x50]


def test_power_cut_leaves_the_bytes_before_and_tears_the_one_in_flight():
    for value in (None, 0x00, 0xA5, ord("c")):
        bus = bus_of("MB85RC256V")
        bus.cut_at(bus.octets + 5, value)  # device address, two address bytes, a, b, c
        raises(PowerCut, bus.writeto, 0x50, b"\x00\x00abcde")
        memory = bus.chips[0].memory
        assert memory[:2] == b"ab" and memory[2] == (value or 0) and not any(memory[3:8])


def test_power_cut_in_an_address_byte_writes_nothing():
    for number in range(3):
        bus = bus_of("MB85RC256V")
        bus.cut_at(number, 0xFF)
        raises(PowerCut, bus.writeto, 0x50, b"\x00\x00abcde")
        assert not any(bus.chips[0].memory)


def test_what_allocates_in_machine_i2c_does_so_here():
    bus = bus_of("MB85RC256V")
    frame = bytearray(34)
    buf = bytearray(32)

    def use():
        bus.writeto(0x50, frame)
        bus.readfrom_mem_into(0x50, 0, buf, addrsize=16)

    assert bytes_allocated(use) == 0
    if ON_MICROPYTHON:
        raises(MemoryError, bytes_allocated, lambda: bus.writeto_mem(0x50, 0, buf, addrsize=16))
