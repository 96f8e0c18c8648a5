"""The simulated store: what is written stays, a cut tears one byte, and all that can go wrong."""

from hal.sim_parts import PowerCut, Store
from tests.hal.support import raises

OLD = bytes(range(16))
NEW = bytes(range(100, 108))


def store_with(**attributes):
    store = Store(16, 7)
    store.write(0, OLD, 16)
    store.reset_counts()
    for name, value in attributes.items():
        setattr(store, name, value)
    return store


def test_reads_and_writes_part_of_a_buffer():
    store = store_with()
    store.write(4, NEW, 3)
    buf = bytearray(b"zzzzzz")
    store.read_into(3, buf, 5)
    assert bytes(buf) == bytes((3, 100, 101, 102, 7)) + b"z"


def test_bounds():
    store = store_with()
    for address, length in ((-1, 2), (15, 2), (16, 1), (0, 17), (0, -1)):
        raises(ValueError, store.write, address, bytes(32), length)
        raises(ValueError, store.read_into, address, bytearray(32), length)
    raises(ValueError, store.write, 0, bytes(3), 4)
    raises(ValueError, store.read_into, 0, bytearray(3), 4)
    raises(ValueError, store.put_back, bytes(15))
    assert store.image() == OLD


def test_cut_at_every_byte():
    for count in range(8):
        for torn, value in (("old", OLD[4 + count]), ("new", NEW[count]), ("random", None)):
            store = store_with(bytes_left=count, torn=torn)
            raises(PowerCut, store.write, 4, NEW, 8)
            left = store.image()
            assert left[4 : 4 + count] == NEW[:count]
            assert left[:4] + left[5 + count :] == OLD[:4] + OLD[5 + count :]
            assert value is None or left[4 + count] == value
            assert store.bytes_left == -1 and store.written == count
            store.write(4, NEW, 8)
            assert store.image()[4:12] == NEW


def test_a_cut_after_the_last_byte_of_a_write_strikes_the_next_one():
    store = store_with(bytes_left=8, torn="old")
    store.write(4, NEW, 8)
    store.write(0, NEW, 0)
    raises(PowerCut, store.write, 0, NEW, 1)
    assert store.image()[:4] == OLD[:4]


def test_random_bytes_are_those_of_the_seed():
    def torn(seed):
        store = Store(16, seed)
        octets = []
        for _ in range(8):
            store.bytes_left = 0
            raises(PowerCut, store.write, 0, NEW, 1)
            octets.append(store.octets[0])
        return octets

    assert torn(1) == torn(1) != torn(2)
    assert len(set(torn(1))) > 4


def test_a_lost_write():
    store = store_with(writes_left=1)
    store.write(0, NEW, 4)
    store.write(4, NEW, 4)
    store.write(8, NEW, 4)
    assert store.image() == NEW[:4] + OLD[4:8] + NEW[:4] + OLD[12:]
    assert store.written == 12


def test_wipe_and_put_back():
    store = store_with()
    image = store.image()
    store.wipe(255)
    assert store.image() == b"\xff" * 16
    store.wipe()
    assert store.image() == bytes(16)
    store.put_back(image)
    assert store.image() == OLD


def test_counts_and_time():
    store = store_with(us_per_byte=22.5, us_per_transfer=90, busy_us=0)
    store.write(0, NEW, 8)
    store.write(0, NEW, 2)
    store.read_into(0, bytearray(4), 4)
    assert (store.writes, store.written, store.reads, store.read) == (2, 10, 1, 4)
    assert store.busy_us == 3 * 90 + 14 * 22.5


def test_is_told_of_writes_before_they_happen():
    seen = []
    store = store_with(
        on_write=lambda store, at, buf, length: seen.append((at, length, store.octets[at]))
    )
    store.write(2, NEW, 3)
    assert seen == [(2, 3, 2)]
