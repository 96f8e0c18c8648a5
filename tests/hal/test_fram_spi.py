"""The SPI FRAM driver over simulated chips."""

from hal import fram_spi
from hal.faults import Faults
from hal.fram_spi import PARTS, FramSpi
from hal.store import StoreError
from tests.hal.fram_chip import PowerCut
from tests.hal.fram_chip_spi import SpiBus, SpiChip
from tests.hal.support import bytes_allocated, message_of, raises
from tests.portable import property_test

PAIR = ("MB85RS256B", "FM25V10")


def store_on(parts=PAIR, **options):
    chips = [SpiChip(part) for part in parts]
    bus = SpiBus(chips)
    faults = Faults()
    return (
        FramSpi(bus, faults, [(chips[i], parts[i]) for i in range(len(parts))], **options),
        bus,
        faults,
    )


def content(store):
    return b"".join(bytes(chip.memory) for chip in store._selects)


def read(store, address, length):
    buf = bytearray(length)
    store.read_into(address, buf, length)
    return buf


def refusal(function, *arguments):
    return str(raises(StoreError, function, *arguments))


def test_every_part_alone_to_its_last_byte():
    for part in PARTS:
        store, bus, faults = store_on((part,))
        size = PARTS[part][0]
        assert store.size == size
        data = message_of(100)
        for address in (0, 1, 32600, size // 2 - 50, size - 100):
            store.write(address, data, 100)
            assert read(store, address, 100) == data
            assert bus.chips[0].memory[address : address + 100] == data
        assert not bus.chips[0].carried_over and not faults.store_transfer


@property_test(count=60)
def test_store_is_an_array_of_bytes(draw):
    store, bus, _ = store_on(chunk_length=draw.choice((1, 7, 32)))
    model = bytearray(store.size)
    for _ in range(8):
        near = draw.choice((0, 32768, 98304, store.size))
        length = draw.integer(0, 80)
        address = max(0, min(near + draw.integer(-90, 90), store.size - length))
        if draw.integer(0, 1):
            data = draw.octets(length, length)
            store.write(address, data, length)
            model[address : address + length] = data
        else:
            assert read(store, address, length) == model[address : address + length]
    assert content(store) == model
    assert not any(chip.carried_over for chip in bus.chips)


def test_chips_that_cannot_be():
    assert "at least one" in refusal(FramSpi, None, None, ())
    assert "not supported; use one of FM25V02" in refusal(FramSpi, None, None, ((None, "X"),))
    chip = SpiChip("FM25V10")
    assert "7f c2 24 03, which is FM25V10" in refusal(
        FramSpi, SpiBus([chip]), Faults(), ((chip, "MB85RS1MT"),)
    )
    chip.present = False
    text = refusal(FramSpi, SpiBus([chip]), Faults(), ((chip, "FM25V10"),))
    assert "does not answer: check power" in text


def test_block_protection():
    chip = SpiChip("MB85RS1MT")
    chip.status = 0x8C
    text = refusal(FramSpi, SpiBus([chip]), Faults(), ((chip, "MB85RS1MT"),))
    assert "status register 0x8c" in text and "BP1" in text
    store, bus, _ = store_on()
    store.check_writable(32768)
    bus.chips[1].status = 0x0C  # set later, by whatever
    assert "does not become" in refusal(store.check_writable, 32768)


def test_chip_that_has_gone():
    store, bus, faults = store_on()
    bus.chips[1].present = False
    assert "FM25V10, SPI chip 1" in refusal(store.write, 32768, b"abc", 3)
    assert faults.store_transfer == 4


def test_cut_at_every_byte_leaves_a_prefix():
    data = message_of(40, 3)
    address = 32768 - 23
    for value in (None, 0x5A):
        for number in range(1000):
            store, bus, _ = store_on(chunk_length=16)
            bus.cut_at(bus.octets + number, value)
            try:
                store.write(address, data, 40)
                break
            except PowerCut:
                pass
            found = content(store)[address : address + 40]
            count = 0
            while count < 40 and found[count] == data[count]:
                count += 1
            assert found[count] == 0 or found[count] == value
            assert not any(found[count + 1 :])
            bus.power_on()
        assert number == 40 + 4 * 3 + 2 * 3 + 2 * 4
        assert content(store)[address : address + 40] == data


def test_time_on_the_bus_is_what_the_model_says():
    store, bus, _ = store_on(("MB85RS1MT",))
    for length in (1, 32, 33, 500):
        for move, model in ((store.write, fram_spi.write_us), (store.read_into, fram_spi.read_us)):
            before = bus.octets
            move(0, bytearray(length), length)
            assert model(length, 8000000) == bus.octets - before


def test_store_allocates_nothing():
    store, _, _ = store_on()
    buf = bytearray(200)

    def use():
        store.write(32768 - 99, buf, 200)
        store.read_into(32768 - 99, buf, 200)

    assert bytes_allocated(use) == 0
