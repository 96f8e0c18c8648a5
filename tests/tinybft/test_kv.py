"""The key-value store against a dict, small and full, with any bytes as operations."""

from tests.portable import property_test
from tests.tinybft.kv_check import records_of
from tests.tinybft.support import Config, allocated_by, digest_nothing
from tinybft.apps import kv_format as f
from tinybft.apps.kv import KeyValueStore
from tinybft.apps.kv_cells import cells_for
from tinybft.service import AppState, Context
from tinybft.state import State
from tinybft.state_fields import allocate_state

REPLY_LENGTH = 160


class Store:
    """A service on a state of its own, as a replica runs it."""

    def __init__(self, state_length=1024, reply_length=REPLY_LENGTH):
        config = Config(STATE_LENGTH=state_length, BLOCK_LENGTH=256)
        self.state = State(config, allocate_state(config), digest_nothing)
        self.app = AppState(self.state.view, self.state.write)
        self.service = KeyValueStore()
        self.service.setup(self.app)
        self.service.genesis(self.app)
        self.cells = self.service._cells
        self.ctx = Context()
        self.op = bytearray(2000)
        self.reply = bytearray(reply_length)

    def execute(self, length):
        for i in range(len(self.reply)):
            self.reply[i] = 0xA5
        end = self.service.execute(self.app, self.op, length, self.reply, self.ctx)
        assert 1 <= end <= len(self.reply)
        assert all(octet == 0xA5 for octet in self.reply[end:])
        return bytes(self.reply[:end])

    def run(self, encode, *values):
        return self.execute(encode(self.op, *values))

    def records(self):
        return records_of(self.app.view, self.cells)

    def scan(self, prefix, with_values):
        found = []
        cursor = 0
        while True:
            reply = self.run(f.encode_scan, prefix, with_values, cursor)
            assert reply[0] == f.OK
            at = 3
            while at < len(reply):
                at = self._record(reply, at, with_values, found)
            following = reply[1] | reply[2] << 8
            if not following:
                return found
            assert following > cursor
            cursor = following

    def _record(self, reply, at, with_values, found):
        end = at + reply[at] + 1
        if not with_values:
            found.append(reply[at + 1 : end])
            return end
        end += 2
        length = reply[at + 1] | reply[at + 2] << 8
        value = None if length == f.ABSENT else reply[end : end + length]
        found.append((reply[at + 3 : end], value))
        return end if length == f.ABSENT else end + length


def number_or_none(octets):
    text = octets[1:] if octets[:1] == b"-" else octets
    if not 1 <= len(text) <= 19 or any(not 48 <= octet <= 57 for octet in text):
        return None
    number = int(octets)
    return number if -(2**63) <= number < 2**63 else None


class Model:
    """What the replies must be, from a dict and from the number of cells."""

    def __init__(self, store):
        self.records = {}
        self.cell_count = store.cells.cell_count
        self.value_length_max = len(store.reply) - 1

    def room_for(self, key, value):
        used = sum(cells_for(len(k) + len(v)) for k, v in self.records.items() if k != key)
        return used + cells_for(len(key) + len(value)) <= self.cell_count

    def put(self, key, value):
        if len(value) > self.value_length_max:
            return bytes([f.VALUE_TOO_LONG])
        if not self.room_for(key, value):
            return bytes([f.FULL])
        self.records[key] = value
        return bytes([f.OK])

    def get(self, key):
        if key not in self.records:
            return bytes([f.NOT_FOUND])
        return bytes([f.OK]) + self.records[key]

    def delete(self, key):
        return bytes([f.NOT_FOUND if self.records.pop(key, None) is None else f.OK])

    def cas(self, key, expected, value):
        held = self.records.get(key)
        if held != expected:
            return bytes([f.NOT_FOUND if held is None else f.MISMATCH])
        return self.put(key, value)

    def increment(self, key, delta):
        held = number_or_none(self.records.get(key, b"0"))
        if number_or_none(delta) is None:
            return bytes([f.BAD_OPERATION])
        if held is None:
            return bytes([f.NOT_A_NUMBER])
        total = held + int(delta)
        if not -(2**63) <= total < 2**63:
            return bytes([f.OVERFLOW])
        text = str(total).encode()
        reply = self.put(key, text)
        return reply + text if reply[0] == f.OK else reply

    def scan(self, prefix, with_values):
        found = []
        for key, value in self.records.items():
            if not key.startswith(prefix):
                continue
            fits = 6 + len(key) + len(value) <= self.value_length_max + 1
            found.append((key, value if fits else None) if with_values else key)
        return sorted(found)


NUMBERS = (b"1", b"-1", b"0", b"9223372036854775807", b"-9223372036854775808", b"999999999999",
           b"1073741823", b"-1073741824", b"2147483648", b"007", b"", b"-", b"1 ", b"9" * 19,
           b"9223372036854775808", b"-9223372036854775809", b"1" * 20)  # fmt: skip


def any_key(draw):
    base = draw.choice((b"a", b"b", b"ab", b"abc", b"k" * 55, b"k" * 57, b"k" * 64, b"\x00"))
    return base if draw.integer(0, 2) else (draw.octets(1, 2) + base)[:64]


def any_value(draw):
    return draw.choice((draw.octets(0, 20), draw.choice(NUMBERS), b"v" * draw.integer(0, 170)))


def step(draw, store, model):
    kind = draw.integer(1, 9)
    key = any_key(draw)
    if kind <= 3:
        value = any_value(draw)
        return store.run(f.encode_put, key, value), model.put(key, value)
    if kind == 4:
        return store.run(f.encode_get, key), model.get(key)
    if kind == 5:
        return store.run(f.encode_delete, key), model.delete(key)
    if kind == 6:
        expected = draw.choice((None, b"1", model.records.get(key)))
        value = any_value(draw)
        reply = store.run(f.encode_cas, key, expected, value)
        return reply, model.cas(key, expected, value)
    if kind == 7:
        delta = draw.choice(NUMBERS)
        return store.run(f.encode_increment, key, delta), model.increment(key, delta)
    prefix = draw.choice((b"", b"a", b"ab", b"k", b"k" * 60, b"zz"))
    if kind == 8:
        with_values = draw.integer(0, 1) == 1
        return sorted(store.scan(prefix, with_values)), model.scan(prefix, with_values)
    reply = store.run(f.encode_count, prefix)
    return reply, bytes([f.OK, len(model.scan(prefix, False)), 0])


@property_test(count=80)
def test_replies_and_records_are_those_of_a_dict(draw):
    store = Store(draw.choice((192, 512, 1024, 2048)))
    model = Model(store)
    for _ in range(draw.integer(1, 60)):
        reply, expected = step(draw, store, model)
        assert reply == expected, (reply, expected)
        assert store.records() == model.records


@property_test(count=20)
def test_a_long_history_with_checkpoints(draw):
    """The same history twice gives the same bytes; rolling back gives the earlier bytes."""
    stores = (Store(1024), Store(1024))
    model = Model(stores[0])
    for store in stores:
        store.state.take_checkpoint(0)
    for _ in range(draw.integer(1, 40)):
        key, value = any_key(draw), any_value(draw)
        before = bytes(stores[0].app.view)
        stores[0].run(f.encode_put, key, value)
        stores[0].state.roll_back()
        assert bytes(stores[0].app.view) == before
        for store in stores:
            expected = store.run(f.encode_put, key, value)
            store.state.take_checkpoint(store.state.snapshots.newest_seqno() + 2)
            store.state.release_below(store.state.snapshots.newest_seqno())
        assert model.put(key, value) == expected
        assert bytes(stores[0].app.view) == bytes(stores[1].app.view)


class Metered:
    """A store of which each operation may change what it declares, and no more."""

    def __init__(self, state_length):
        self.store = Store(state_length, reply_length=1024)
        self.most = 0

    def run(self, encode, *values):
        store = self.store
        state = store.state
        seqno = state.snapshots.newest_seqno() + 2 if state.snapshots.count else 0
        state.take_checkpoint(seqno)
        state.release_below(seqno)
        length = encode(store.op, *values)
        state.allow(store.service.pages_max(length, 64))
        reply = store.execute(length)
        state.allow(-1)
        spare = store.service.pages_max(length, 64) - state.snapshots.changed_count()
        self.most = max(self.most, state.snapshots.changed_count() if spare == 0 else 0)
        return reply


@property_test(count=30)
def test_no_operation_changes_more_pages_than_declared(draw):
    metered = Metered(draw.choice((1024, 4096)))
    keys = (b"a", b"b", b"k" * 40, b"k" * 64, b"abc")
    for _ in range(draw.integer(1, 60)):
        key = draw.choice(keys)
        value = draw.choice((b"", b"7", b"v" * draw.integer(0, 900)))
        kind = draw.integer(0, 5)
        if kind < 3:
            metered.run(f.encode_put, key, value)
        elif kind == 3:
            metered.run(f.encode_delete, key)
        elif kind == 4:
            metered.run(f.encode_cas, key, None, value)
        else:
            metered.run(f.encode_increment, key, draw.choice((b"1", b"9223372036854775806")))


def test_what_is_declared_is_needed():
    metered = Metered(16384)
    for i in range(60):  # buckets with several records
        metered.run(f.encode_put, b"%d" % i, b"v" * 60)
    assert metered.run(f.encode_delete, b"7") == b"\x00" and metered.most == 4
    assert metered.run(f.encode_put, b"long", b"v" * 1018) == b"\x00"
    assert metered.most == cells_for(1022) + 2 == 19


@property_test(count=150)
def test_any_bytes_get_a_reply_and_change_nothing_unless_ok(draw):
    store = Store(1024)
    for key in (b"a", b"ab", b"k" * 64):
        store.run(f.encode_put, key, b"17")
    for _ in range(8):
        octets = draw.octets(0, 30)
        if octets and draw.integer(0, 3):
            octets = bytes([octets[0] % 9]) + octets[1:]
        if len(octets) > 1 and draw.integer(0, 1):
            octets = octets[:1] + bytes([octets[1] % 4]) + octets[2:]
        store.op[: len(octets)] = octets
        store.ctx.read_only = draw.integer(0, 1) == 1
        before = bytes(store.app.view)
        reply = store.execute(len(octets))
        assert reply[0] < len(f.STATUS_NAMES)
        if reply[0] != f.OK or store.ctx.read_only:
            assert bytes(store.app.view) == before
            assert len(reply) == 1 or store.ctx.read_only
        store.records()


def test_refusals():
    store = Store()

    def status(*octets):
        store.op[: len(octets)] = bytes(octets)
        return store.execute(len(octets))[0]

    assert status() == status(1) == f.BAD_OPERATION
    assert status(0, 1, 65) == status(8, 1, 65) == status(255, 1, 65) == f.BAD_OPERATION
    for opcode in (1, 2, 3, 4, 5):
        assert status(opcode, 0) == f.KEY_EMPTY
        assert status(opcode, 65, *bytes(65)) == f.KEY_TOO_LONG
        assert status(opcode, 3, 65, 65) == f.BAD_OPERATION  # shorter than it says
    assert status(2, 1, 65, 66) == status(3, 1, 65, 66) == f.BAD_OPERATION  # longer
    assert status(7, 1, 65, 66) == status(6, 0, 0, 0, 0, 66) == f.BAD_OPERATION
    assert status(6, 0, 0, 0) == f.BAD_OPERATION
    assert status(6, 65, *bytes(70)) == status(7, 65, *bytes(65)) == f.KEY_TOO_LONG
    assert status(4, 1, 5, 0, 65, 1, 2) == f.BAD_OPERATION  # expected value longer than rest
    assert status(5, 1, 65) == f.BAD_OPERATION  # no number
    store.ctx.read_only = True
    before = bytes(store.app.view)
    assert status(1, 1, 65) == status(3, 1, 65) == f.READ_ONLY
    assert status(4, 1, 255, 255, 65) == status(5, 1, 65, 49) == f.READ_ONLY
    assert status(2, 1, 65) == f.NOT_FOUND
    assert status(7, 0) == status(6, 0, 0, 0, 0) == f.OK
    assert bytes(store.app.view) == before


def test_what_does_not_fit_leaves_the_old_value():
    store = Store(512)
    key = b"key"
    assert store.run(f.encode_put, key, b"old" * 10)[0] == f.OK
    while store.run(f.encode_put, b"x%d" % store.cells.free_count, b"v")[0] == f.OK:
        pass
    before = bytes(store.app.view)
    assert store.run(f.encode_put, key, b"n" * 150)[0] == f.FULL
    assert store.run(f.encode_put, key, b"n" * 160)[0] == f.VALUE_TOO_LONG
    assert store.run(f.encode_cas, key, b"old" * 10, b"n" * 150)[0] == f.FULL
    assert store.run(f.encode_increment, b"new", b"5")[0] == f.FULL
    assert bytes(store.app.view) == before
    assert store.run(f.encode_put, key, b"n" * 53)[0] == f.OK  # the cell it has
    assert store.run(f.encode_get, key) == bytes([f.OK]) + b"n" * 53


def test_the_longest_request_fits():
    store = Store(16384, reply_length=1024)
    value = bytes(range(256)) * 4
    value = value[: 1024 - 2 - 1]
    assert f.encode_put(store.op, b"k", value) == 1024
    assert store.run(f.encode_put, b"k", value) == bytes([f.OK])
    assert store.run(f.encode_get, b"k") == bytes([f.OK]) + value
    assert store.scan(b"", True) == [(b"k", None)]  # beside its key it does not


def test_sixteen_kib_hold_fifty_records_of_256_bytes():
    store = Store(16384, reply_length=1024)
    for i in range(50):
        assert store.run(f.encode_put, b"user%04d" % i, b"%256d" % i)[0] == f.OK
    found = store.scan(b"user", True)
    assert sorted(found) == [(b"user%04d" % i, b"%256d" % i) for i in range(50)]
    assert store.run(f.encode_count, b"user004") == bytes([f.OK, 10, 0])


def test_a_record_that_stays_is_scanned_once_while_others_come_and_go():
    store = Store(4096, reply_length=72)
    for i in range(20):
        store.run(f.encode_put, b"stay%02d" % i, b"s")
        store.run(f.encode_put, b"go%02d" % i, b"g")
    found = []
    cursor = i = 0
    while True:
        reply = store.run(f.encode_scan, b"stay", False, cursor)
        found += [reply[at + 1 : at + 7] for at in range(3, len(reply), 7)]
        cursor = reply[1] | reply[2] << 8
        if not cursor:
            break
        store.run(f.encode_delete, b"go%02d" % i)
        store.run(f.encode_put, b"stay%02d" % (19 - i), b"longer" * (10 + i))
        store.run(f.encode_put, b"new%02d" % i, b"n")
        i += 1
    assert found.sort() is None and found == [b"stay%02d" % i for i in range(20)]
    assert i > 1


def test_increment_is_right_around_each_word_size():
    for bits in (30, 31, 32, 62, 63):
        for start in (2**bits - 2, -(2**bits) + 1):
            store = Store()
            step = 1 if start > 0 else -1
            store.run(f.encode_put, b"n", str(start).encode())
            for i in range(1, 4):
                reply = store.run(f.encode_increment, b"n", str(step).encode())
                total = start + step * i
                if -(2**63) <= total < 2**63:
                    assert reply == bytes([f.OK]) + str(total).encode()
                else:
                    assert reply == bytes([f.OVERFLOW])
                    break


def test_execute_allocates_nothing():
    store = Store(4096, reply_length=300)
    store.state.take_checkpoint(0)
    buffers = []
    for encode, values in (
        (f.encode_put, (b"key", b"v" * 64)),
        (f.encode_get, (b"key",)),
        (f.encode_put, (b"key", b"v" * 250)),
        (f.encode_get, (b"key",)),
        (f.encode_put, (b"key", b"")),
        (f.encode_cas, (b"key", b"", b"new")),
        (f.encode_cas, (b"key", None, b"new")),
        (f.encode_increment, (b"number", b"1000000")),
        (f.encode_increment, (b"number", b"-70000000")),
        (f.encode_increment, (b"key", b"1")),
        (f.encode_scan, (b"", True, 0)),
        (f.encode_scan, (b"k", False, 0)),
        (f.encode_count, (b"",)),
        (f.encode_count, (b"n",)),
        (f.encode_put, (b"key", b"v" * 400)),
        (f.encode_put, (b"", b"")),
        (f.encode_delete, (b"key",)),
        (f.encode_delete, (b"number",)),
    ):
        buf = bytearray(500)
        buffers.append((memoryview(buf), encode(buf, *values)))
    service, app, ctx = store.service, store.app, store.ctx
    reply = memoryview(store.reply)

    def operations():
        i = 0
        while i < len(buffers):
            pair = buffers[i]
            service.execute(app, pair[0], pair[1], reply, ctx)
            i += 1

    assert allocated_by(operations) == 0


def test_a_state_without_room_for_a_cell_is_refused():
    class Tiny:
        length = 128
        view = bytearray(128)
        write = put_u16 = None

    try:
        KeyValueStore().setup(Tiny())
    except ValueError as error:
        assert "state_length" in str(error)
    else:
        raise AssertionError("accepted")
