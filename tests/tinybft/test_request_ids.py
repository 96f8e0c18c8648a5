"""Request ids rise for ever, whatever happens to the power."""

from tests.hal.support import bytes_allocated
from tests.tinybft.group import RamStore
from tinybft.request_ids import RequestIds, StoreError

RANGE = 256


class PowerCut(Exception):
    pass


class CuttableStore(RamStore):
    """Loses power after `budget` more bytes were written."""

    def __init__(self):
        super().__init__()
        self.budget = None

    def write(self, address, buf, length):
        for i in range(length):
            if self.budget is not None:
                if self.budget == 0:
                    raise PowerCut()
                self.budget -= 1
            self._bytes[address + i] = buf[i]


def refusal(store):
    try:
        RequestIds(store)
    except StoreError as error:
        return str(error)
    raise AssertionError("the store was trusted")


def preset(limit, turn=0):
    """A store whose newest record reserves ids up to `limit`."""
    store = RamStore()
    record = limit.to_bytes(4, "little") + (limit ^ 0xFFFFFFFF).to_bytes(4, "little")
    store.write(8 * turn, record, 8)
    return store


def test_ids_start_at_one_and_rise_by_one():
    ids = RequestIds(RamStore())
    assert [ids.next() for _ in range(600)] == list(range(1, 601))


def test_ids_rise_over_restarts():
    store = RamStore()
    last = 0
    for boot in range(1, 30):
        ids = RequestIds(store)
        for _ in range(boot * 37 % 300 + 1):
            number = ids.next()
            assert number > last
            last = number


def test_one_write_per_range():
    store = CuttableStore()
    ids = RequestIds(store)
    store.budget = 8
    assert [ids.next() for _ in range(RANGE)][-1] == RANGE


def test_a_reservation_allocates_nothing():
    ids = RequestIds(CuttableStore())

    def use_up():
        for _ in range(RANGE):
            ids.next()

    assert bytes_allocated(use_up) == 0


def test_boot_that_asks_for_nothing_costs_nothing():
    store = RamStore()
    RequestIds(store).next()
    before = bytes(store._bytes)
    for _ in range(10):
        RequestIds(store)
    assert bytes(store._bytes) == before


def test_power_cut_at_every_byte_of_every_reservation():
    """Up to five reservations, the last one cut after 0 .. 7 bytes; then the next boots."""
    for reservations in range(1, 6):
        for written in range(8):
            store = CuttableStore()
            used = []
            ids = RequestIds(store)
            try:
                while True:
                    if len(used) == (reservations - 1) * RANGE:
                        store.budget = written
                    used.append(ids.next())
            except PowerCut:
                store.budget = None
            for _ in range(3):
                ids = RequestIds(store)
                for _ in range(RANGE + 1):
                    used.append(ids.next())
            assert used == sorted(set(used)), (reservations, written)


def test_power_cuts_in_a_row():
    for first in range(8):
        for second in range(8):
            store = CuttableStore()
            used = []
            for written in (None, first, second, None):
                store.budget = written
                try:
                    ids = RequestIds(store)
                    used.append(ids.next())
                except PowerCut:
                    pass
            assert used == sorted(set(used)), (first, second)


def test_two_damaged_records_are_refused():
    store = preset(512)
    store.write(8, b"\x01\x02\x03\x04\x05\x06\x07\x08", 8)
    store.write(0, b"\xff", 1)
    assert "new id" in refusal(store)


def test_erased_flash_is_refused():
    store = RamStore()
    store.write(0, b"\xff" * 16, 16)
    assert "damaged" in refusal(store)


def test_store_without_room_is_refused():
    assert "16 bytes" in refusal(RamStore(15))
    assert "16 bytes" in refusal(None)


def test_ids_around_the_sizes_of_small_integers():
    for limit in (2**30 - RANGE, 2**31 - RANGE, 2**31):
        for turn in (0, 1):
            store = preset(limit, turn)
            ids = RequestIds(store)
            numbers = [ids.next() for _ in range(2 * RANGE)]
            assert numbers == [limit + 1 + i for i in range(2 * RANGE)]
            assert RequestIds(store).next() == limit + 2 * RANGE + 1


def test_ids_end_before_they_wrap():
    ids = RequestIds(preset(2**32 - 2 * RANGE))
    assert [ids.next() for _ in range(RANGE)][-1] == 2**32 - RANGE
    try:
        ids.next()
    except StoreError as error:
        assert "new id" in str(error)
    else:
        raise AssertionError("ids wrapped")


def test_rest_of_the_store_is_left_alone():
    store = RamStore()
    store.write(16, b"\xa5" * 48, 48)
    ids = RequestIds(store)
    for _ in range(3 * RANGE):
        ids.next()
    assert bytes(store._bytes[16:]) == b"\xa5" * 48
