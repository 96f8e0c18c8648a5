"""The I2C FRAM driver over simulated chips: one store, whatever the bus does."""

from hal import fram_i2c
from hal.faults import Faults
from hal.fram_i2c import PARTS, FramI2c, length_of
from hal.store import StoreError
from tests.hal.fram_chip import LOST, TIME_OUT, UNHEARD, I2cBus, I2cChip, PowerCut
from tests.hal.support import bytes_allocated, message_of, raises
from tests.portable import property_test

MIXED = ((0x50, "MB85RC256V"), (0x52, "MB85RC1MT"), (0x51, "FM24V05"))
PAIR = ((0x50, "MB85RC256V"), (0x56, "FM24V10"))
KINDS = (LOST, UNHEARD, TIME_OUT)


def store_on(chips=MIXED, counts=False, **options):
    """(store, bus, faults) with zeros in all chips."""
    bus = I2cBus([I2cChip(part, device) for device, part in chips], counts)
    faults = Faults()
    return FramI2c(bus, faults, chips, **options), bus, faults


def content(store):
    """All bytes, past the driver."""
    return b"".join(bytes(chip.memory) for chip in store._i2c.chips)


def read(store, address, length):
    buf = bytearray(length)
    store.read_into(address, buf, length)
    return buf


def carried_over(bus):
    return sum(chip.carried_over for chip in bus.chips)


def refusal(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except StoreError as error:
        return str(error)
    raise AssertionError("no StoreError")


# Reading and writing


def test_every_part_alone_to_its_last_byte():
    for part in PARTS:
        store, bus, _ = store_on(((0x50, part),))
        size = length_of(part)
        assert store.size == size and store.chip_starts == (0,)
        data = message_of(100)
        for address in (0, 1, 32600, size // 2 - 50, size - 100):
            store.write(address, data, 100)
            assert read(store, address, 100) == data
            assert bus.chips[0].memory[address : address + 100] == data
        assert not carried_over(bus)


def test_chips_lie_one_behind_the_other():
    store, bus, _ = store_on()
    assert store.size == 32768 + 131072 + 65536 and store.chip_starts == (0, 32768, 163840)
    data = message_of(200)
    for boundary in (32768, 32768 + 65536, 163840):
        store.write(boundary - 99, data, 200)
        assert read(store, boundary - 99, 200) == data
        assert content(store)[boundary - 99 : boundary + 101] == data
    assert not carried_over(bus)


@property_test(count=100)
def test_store_is_an_array_of_bytes(draw):
    store, bus, faults = store_on(chunk_length=draw.choice((1, 7, 32, 254)))
    model = {}
    for _ in range(8):
        near = draw.choice((0, 32768, 98304, 163840, store.size))
        length = draw.integer(0, 80)
        address = max(0, min(near + draw.integer(-90, 90), store.size - length))
        if draw.integer(0, 1):
            data = draw.octets(length, length)
            store.write(address, data, length)
            for i in range(length):
                model[address + i] = data[i]
        else:
            found = bytearray(b"\xa5" * 100)
            store.read_into(address, found, length)
            for i in range(100):
                expected = model.get(address + i, 0) if i < length else 0xA5
                assert found[i] == expected
    memory = content(store)
    for address in model:
        assert memory[address] == model[address]
    assert len(memory) - memory.count(b"\0") == sum(1 for value in model.values() if value)
    assert not carried_over(bus) and not faults.store_transfer


def test_only_what_was_asked_for_is_written():
    store, _, _ = store_on()
    data = message_of(300)
    store.write(10, data, 5)
    assert content(store)[:20] == bytes(10) + data[:5] + bytes(5)


def test_outside_of_the_store():
    store, bus, _ = store_on()
    size = store.size
    before = bus.octets
    for address, length in ((-1, 1), (size, 1), (size - 7, 8), (0, size + 1), (3, -1)):
        buf = bytearray(max(length, 0))
        raises(ValueError, store.write, address, buf, length)
        text = str(raises(ValueError, store.read_into, address, buf, length))
        assert str(address) in text and str(length) in text and str(size) in text
    raises(ValueError, store.write, 0, bytes(3), 4)
    raises(ValueError, store.read_into, 0, bytearray(3), 4)
    store.write(size, b"", 0)
    assert bus.octets == before


def test_no_transfer_is_longer_than_the_chunk():
    for chunk_length in (1, 16, 64):
        store, bus, _ = store_on(chunk_length=chunk_length)
        before = bus.transfers
        store.write(0, bytearray(129), 129)
        assert bus.transfers - before == -(-129 // chunk_length)


def test_time_on_the_bus_is_what_the_model_says():
    for length in (1, 31, 32, 33, 500):
        for chunk_length in (32, 64):
            store, bus, _ = store_on(chunk_length=chunk_length)
            buf = bytearray(length)
            for move, model in (
                (store.write, fram_i2c.write_us),
                (store.read_into, fram_i2c.read_us),
            ):
                before = bus.clocks
                move(0, buf, length)
                assert model(length, 1000000, chunk_length) == bus.clocks - before
    assert fram_i2c.write_us(1) == 95 and fram_i2c.write_us(32) == 793


# What must be there


def test_absent_chip():
    bus = I2cBus([I2cChip("MB85RC256V", 0x51), I2cChip("MB85RC1MT", 0x54)])
    text = refusal(FramI2c, bus, Faults(), ((0x50, "MB85RC256V"),))
    assert "MB85RC256V at I2C address 0x50 does not answer" in text
    assert "0x51, 0x54, 0x55" in text and "pull-ups" in text and "A2, A1, A0" in text
    text = refusal(FramI2c, I2cBus([]), Faults(), ((0x50, "MB85RC256V"),))
    assert "these addresses do: none" in text


def test_absent_chip_on_a_bus_that_counts_acknowledgements():
    bus = I2cBus([I2cChip("MB85RC256V", 0x51)], counts_acknowledgements=True)
    assert "does not answer" in refusal(FramI2c, bus, Faults(), ((0x50, "MB85RC256V"),))


def test_bus_held_low():
    bus = I2cBus([I2cChip("MB85RC256V")])
    bus.stuck = True
    text = refusal(FramI2c, bus, Faults(), ((0x50, "MB85RC256V"),))
    assert "does not answer" in text and "SDA low" in text


def test_another_part_than_named():
    bus = I2cBus([I2cChip("MB85RC256V")])
    text = refusal(FramI2c, bus, Faults(), ((0x50, "MB85RC1MT"),))
    assert "MB85RC1MT at I2C address 0x50" in text
    assert "00a/510, which is MB85RC256V: name the part" in text


def test_part_that_nobody_knows():
    chip = I2cChip("FM24V10")
    chip._id = b"\x00\x4f\x00"
    text = refusal(FramI2c, I2cBus([chip]), Faults(), ((0x50, "FM24V10"),))
    assert "004/f00" in text and "none of the supported" in text


def test_chip_without_a_device_id():
    bus = I2cBus([I2cChip("MB85RC256V", has_id=False)])
    text = refusal(FramI2c, bus, Faults(), ((0x50, "MB85RC256V"),))
    assert "gives no device id" in text and "EEPROM" in text and "identify=False" in text
    store = FramI2c(bus, Faults(), ((0x50, "MB85RC256V"),), identify=False)
    store.write(9, b"taken", 5)
    assert read(store, 9, 5) == b"taken"
    bus.chips[0].present = False
    text = refusal(FramI2c, bus, Faults(), ((0x50, "MB85RC256V"),), identify=False)
    assert "does not answer" in text


def test_chips_that_cannot_be():
    for chips, words in (
        ((), "at least one"),
        (((0x50, "24LC256"),), "24LC256 is not supported; use one of FM24V02"),
        (((0x58, "FM24V02"),), "0x58, must be 0x50..0x57"),
        (((0x51, "FM24V10"),), "0x51, must be even"),
        (((0x50, "FM24V10"), (0x51, "FM24V02")), "needs 0x51, which FM24V10 has"),
    ):
        assert words in refusal(FramI2c, None, None, chips)
    for chunk_length in (0, 255):
        text = refusal(FramI2c, None, None, PAIR, chunk_length=chunk_length)
        assert "must be 1..254" in text


# Faults on the bus


def test_any_byte_lost_of_a_write():
    """One fault at each byte on the bus, on both kinds of bus: written, counted, nothing else."""
    data = message_of(20, 1)
    for counts in (False, True):
        for kind in KINDS:
            for number in range(20 + 2 * 3 + 3):
                store, bus, faults = store_on(PAIR, counts, chunk_length=8)
                address = 32768 - 11
                bus.faults[bus.octets + number] = kind
                store.write(address, data, 20)
                assert content(store) == bytes(address) + data + bytes(131072 - 9)
                assert faults.store_transfer == 1


def test_any_byte_lost_of_a_read():
    data = message_of(20, 1)
    for kind in KINDS:
        for number in range(20 + 3 * 4):
            store, bus, _ = store_on(PAIR, chunk_length=8)
            store.write(40, data, 20)
            bus.faults[bus.octets + number] = kind
            assert read(store, 40, 20) == data


@property_test(count=150)
def test_many_faults(draw):
    """Up to 3 faults anywhere in a write are survived by the 4 attempts."""
    chunk_length = draw.choice((4, 32))
    store, bus, faults = store_on(PAIR, bool(draw.integer(0, 1)), chunk_length=chunk_length)
    data = draw.octets(40, 40)
    for _ in range(3):
        bus.faults[bus.octets + draw.integer(0, 90)] = draw.choice(KINDS)
    address = 32768 - draw.integer(0, 40)
    store.write(address, data, 40)
    assert content(store) == bytes(address) + data + bytes(store.size - address - 40)


def test_attempts_are_counted_per_transfer():
    """One fault in every second transfer or so: more than a single transfer may have."""
    data = message_of(200, 1)
    for kind in KINDS:
        store, bus, faults = store_on(PAIR, chunk_length=8)
        for number in range(3, 1000, 29):
            bus.faults[bus.octets + number] = kind
        store.write(0, data, 200)
        assert read(store, 0, 200) == data and faults.store_transfer > 10


def test_chip_that_has_gone():
    store, bus, faults = store_on(PAIR)
    bus.chips[1].present = False
    before = bus.transfers
    text = refusal(store.read_into, 32768 + 70000, bytearray(8), 8)
    assert "FM24V10 at I2C address 0x56: reading 8 bytes at 0x11170 failed 4 times" in text
    assert "ENODEV" in text or "19" in text
    assert "pull-ups" in text and faults.store_transfer == 4 and bus.transfers == before + 4
    assert "failed 4 times" in refusal(store.write, 32768, bytes(8), 8)
    assert bus.transfers == before + 9
    bus.chips[1].present = True
    store.write(32768, b"back", 4)
    assert read(store, 32768, 4) == b"back"


def test_bus_that_hangs_later():
    store, bus, _ = store_on(PAIR)
    bus.stuck = True
    assert "reading 3 bytes at 0x5" in refusal(store.read_into, 5, bytearray(3), 3)
    assert isinstance(raises(OSError, store.write, 5, bytearray(3), 3), StoreError)


# Write protection


def test_write_protected_chip_that_acknowledges():
    store, bus, faults = store_on(PAIR)
    bus.chips[0].write_protected = True
    store.write(5, b"gone", 4)
    assert read(store, 5, 4) == bytes(4)  # the price of not reading back
    text = refusal(store.check_writable, 7)
    assert "MB85RC256V at I2C address 0x50: the byte at 0x7 is 0x00" in text
    assert "does not become 0xff" in text and "WP" in text
    store.check_writable(32768)


def test_write_protected_chip_that_does_not_acknowledge():
    store, bus, faults = store_on(PAIR)
    bus.chips[1].write_protected = True
    assert "WP" in refusal(store.write, 32768, b"gone", 4)
    assert faults.store_transfer == 4 and faults.store_mismatch == 4
    assert "WP" in refusal(store.check_writable, 32768)
    store.check_writable(0)


def test_check_writable_leaves_the_byte_as_it_was():
    store, _, _ = store_on(PAIR)
    for value in (b"\x00", b"\xff", b"\xa5"):
        for address in store.chip_starts:
            store.write(address, value, 1)
            store.check_writable(address)
            assert read(store, address, 1) == value


def test_verify_finds_what_was_not_written():
    store, bus, faults = store_on(PAIR, verify=True)
    store.write(100, b"taken", 5)
    bus.chips[0].write_protected = True
    store.write(100, b"taken", 5)  # is there already
    assert faults.store_mismatch == 0
    assert "the byte at 0x66 is 0x6b and does not become 0x58" in refusal(
        store.write, 100, b"taXXX", 5
    )
    assert faults.store_mismatch == 4 and faults.store_transfer == 0


def test_verify_mends_a_byte_that_was_stored_wrong():
    store, bus, faults = store_on(PAIR, verify=True)
    memory = bus.chips[0].memory
    fetch = store._get

    def get_with_one_flip(chip, at, length):
        if not faults.store_mismatch:
            memory[3] ^= 4
        fetch(chip, at, length)

    store._get = get_with_one_flip
    store.write(0, b"abcdef", 6)
    assert memory[:6] == b"abcdef" and faults.store_mismatch == 1


# Power cuts


def written_until_cut(store, bus, number, value, address, data):
    """Write with a power cut at byte `number` on the bus; False when it came too late."""
    bus.cut_at(bus.octets + number, value)
    try:
        store.write(address, data, len(data))
        return False
    except PowerCut:
        return True
    finally:
        bus.power_on()


def is_prefix(found, old, data, value):
    """How many bytes are new, if the rest is old but for one in flight; else AssertionError."""
    for count in range(len(data) + 1):
        if found == data[:count] + old[count:]:
            return count
        torn = data[:count] + bytes((value or 0,)) + old[count + 1 :]
        if count < len(data) and value is not None and found == torn:
            return count
    raise AssertionError("neither prefix nor torn byte")


def test_cut_at_every_byte_leaves_a_prefix():
    """A write over two chips and the page boundary of a part of 17 bits, four torn bytes."""
    data = message_of(60, 3)
    old = bytes((byte ^ 0xFF) for byte in data)
    for address, transfers in ((32768 - 23, 5), (32768 + 65536 - 31, 4)):
        for value in (None, 0x00, 0xFF, 0x5A):
            number = 0
            counts = set()
            while True:
                store, bus, _ = store_on(PAIR, chunk_length=16)
                store.write(address, old, 60)
                cut = written_until_cut(store, bus, number, value, address, data)
                memory = content(store)
                found = memory[address : address + 60]
                assert len(memory) - memory.count(b"\0") == len(found) - found.count(b"\0")
                counts.add(is_prefix(found, old, data, value))
                if not cut:
                    break
                number += 1
            assert found == data and counts == set(range(61))
            assert number == 60 + 3 * transfers


def test_cut_while_a_write_is_repeated_leaves_a_prefix():
    """Every byte missed, then every later byte cut."""
    data = message_of(10, 3)
    old = bytes((byte ^ 0xFF) for byte in data)
    for kind in KINDS:
        for missed in range(16):
            number = missed + 1
            cut = True
            while cut:
                store, bus, _ = store_on(((0x50, "MB85RC256V"),), chunk_length=5)
                store.write(0, old, 10)
                bus.faults[bus.octets + missed] = kind
                cut = written_until_cut(store, bus, number, 0x5A, 0, data)
                is_prefix(content(store)[:10], old, data, 0x5A)
                number += 1
            assert content(store)[:10] == data


def test_store_works_after_a_cut():
    store, bus, _ = store_on(PAIR)
    assert written_until_cut(store, bus, 9, None, 0, message_of(40))
    again = FramI2c(bus, Faults(), PAIR)
    again.write(0, b"again", 5)
    assert read(again, 0, 5) == b"again"


# Memory


def test_store_allocates_nothing():
    for verify in (False, True):
        store, _, _ = store_on(verify=verify)
        buf = bytearray(200)

        def use(store=store, buf=buf):
            store.write(32768 - 99, buf, 200)
            store.read_into(32768 - 99, buf, 200)
            store.write(32768 + 65536 - 7, buf, 20)
            store.read_into(163840 - 1, buf, 2)

        assert bytes_allocated(use) == 0
