"""Records and pairs: whatever byte a power cut strikes, what is read is the old or the new."""

from hal.sim_parts import PowerCut, Store
from tests.portable import property_test
from tests.tinybft.support import digest_into
from tinybft.records import BLANK, GOOD, ROTTEN, TORN, Pair, Records

_LENGTH = 24


def make(store, count=1, lead=0):
    return Records(store, digest_into, bytearray(64), 0, _LENGTH, count, lead)


def put(records, index, payload):
    records.stage[records.at : records.at + len(payload)] = payload
    records.write(index, len(payload))


def payload_of(records):
    return bytes(records.stage[records.at : records.at + records.length])


def cut_after(store, count, torn, action):
    """True if power went off before `action` was through."""
    store.bytes_left = count
    store.torn = torn
    try:
        action()
    except PowerCut:
        return True
    store.bytes_left = -1
    return False


def test_blank_good_and_what_was_written():
    store = Store(64)
    records = make(store)
    assert records.read(0) == BLANK
    for payload in (b"", b"a", b"b" * _LENGTH, b"c" * (_LENGTH - 1)):
        put(records, 0, payload)
        again = make(store)
        assert again.read(0) == GOOD and payload_of(again) == payload


@property_test(count=150)
def test_a_cut_leaves_old_new_or_torn(draw):
    store = Store(64, draw.integer(1, 10**6))
    records = make(store)
    known = None
    for _ in range(draw.integer(1, 6)):
        payload = draw.octets(0, _LENGTH)
        torn = draw.choice(("old", "new", "random"))
        count = draw.integer(0, records.size)

        def write(records=records, payload=payload):
            put(records, 0, payload)

        cut = cut_after(store, count, torn, write)
        records = make(store)  # a restart
        found = records.read(0)
        assert found != ROTTEN, (payload, count, torn)
        if not cut:
            assert found == GOOD and payload_of(records) == payload
        elif found == GOOD:
            assert payload_of(records) in (payload, known)
        else:
            assert found in (TORN, BLANK)
        known = payload_of(records) if found == GOOD else None


@property_test(count=60)
def test_a_flipped_bit_is_mended_or_noticed(draw):
    store = Store(64)
    records = make(store)
    payload = draw.octets(0, _LENGTH)
    put(records, 0, b"before")
    put(records, 0, payload)
    used = 7 + len(payload)
    for address in range(records.size):
        for bit in range(8):
            store.octets[address] ^= 1 << bit
            again = make(store)
            found = again.read(0)
            if found == GOOD:
                assert payload_of(again) == payload, (address, bit)
            else:
                assert found == ROTTEN and address < used, (address, bit)
            store.octets[address] ^= 1 << bit


def test_a_rotten_record_that_is_rewritten_is_never_torn():
    for count in range(40):
        store = Store(64, count)
        records = make(store)
        put(records, 0, b"x" * _LENGTH)
        store.octets[9] ^= 16
        records = make(store)
        assert records.read(0) == ROTTEN

        def mend(records=records):
            records.stage[records.at : records.at + _LENGTH] = b"x" * _LENGTH
            records.rewrite(0, _LENGTH)

        cut = cut_after(store, count, "random", mend)
        found = make(store).read(0)
        assert found == GOOD or (cut and found == ROTTEN), count


def test_a_write_clears_the_flags_in_front():
    store = Store(128)
    records = make(store, 2, 2)
    put(records, 1, b"one")
    store.octets[records.address_of(1)] = 255
    assert records.read(1) == GOOD and records.stage[0] == 255
    put(records, 1, b"two")
    assert records.read(1) == GOOD and bytes(records.stage[:2]) == b"\0\0"
    assert records.read(0) == BLANK


@property_test(count=150)
def test_a_pair_never_loses_what_it_held(draw):
    store = Store(128, draw.integer(1, 10**6))

    def make_pair():
        return Pair(make(store, 2))

    pair = make_pair()
    assert pair.read() == BLANK
    known = b""
    for _ in range(draw.integer(1, 8)):
        payload = draw.octets(0, _LENGTH - 4)
        records = pair._records

        def write(pair=pair, payload=payload):
            stage = pair._records.stage
            at = pair._records.at + 4
            stage[at : at + len(payload)] = payload
            pair.write(4 + len(payload))

        torn = draw.choice(("old", "new", "random"))
        cut = cut_after(store, draw.integer(0, 2 * records.size), torn, write)
        pair = make_pair()
        found = pair.read()
        held = payload_of(pair._records)[4:] if found == GOOD else b""
        assert found != ROTTEN
        assert held in (payload, known) if cut else held == payload
        known = held


def test_a_pair_with_a_rotten_half_is_not_believed():
    store = Store(128)
    pair = Pair(make(store, 2))
    for text in (b"one", b"two"):
        pair._records.stage[pair._records.at + 4 : pair._records.at + 7] = text
        pair.write(7)
    assert not pair.is_rotten()
    store.octets[5] ^= 1
    assert pair.is_rotten()
    assert Pair(make(store, 2)).read() == ROTTEN
