"""The workload against the real key-value store, without a network; and its books."""

from tempfile import TemporaryDirectory

from tests.portable import property_test
from tinybft.apps.kv_format import FULL, OK
from tools.cluster.latency import BUCKET_COUNT, VALUE_MAX, Histogram, bounds_of, bucket_of
from tools.cluster.ledger import (
    ACKNOWLEDGED,
    INCREMENTED,
    MISMATCHED,
    OUTSTANDING,
    OUTSTANDING_GENERATION,
    UNSURE,
    Ledger,
    load_ledger,
)
from tools.cluster.times import Acknowledgements, TimesFile
from tools.cluster.workload import DELETE, PUT, SHARED_KEY, Workload, exists, following, layout_of

SIZES = (16, 900)


class Dictionary:
    """What the replicated store answers, from a dict."""

    def __init__(self):
        self.values = {}

    def execute(self, op):
        key = bytes(op[2 : 2 + op[1]])
        rest = bytes(op[2 + op[1] :])
        return (
            None,
            self._put,
            self._get,
            self._delete,
            self._cas,
            self._increment,
            None,
            self._count,
        )[op[0]](op, key, rest)

    def _put(self, op, key, rest):
        self.values[key] = rest
        return bytes((OK,))

    def _get(self, op, key, rest):
        return bytes((OK,)) + self.values[key] if key in self.values else b"\1"

    def _delete(self, op, key, rest):
        return b"\0" if self.values.pop(key, None) is not None else b"\1"

    def _cas(self, op, key, rest):
        length = op[2] | op[3] << 8
        key = bytes(op[4 : 4 + op[1]])
        rest = bytes(op[4 + op[1] :])
        held = self.values.get(key)
        expected, value = (None, rest) if length == 0xFFFF else (rest[:length], rest[length:])
        if held != expected:
            return b"\6"
        self.values[key] = value
        return b"\0"

    def _increment(self, op, key, rest):
        self.values[key] = b"%d" % (int(self.values.get(key, b"0")) + int(rest))
        return b"\0" + self.values[key]

    def _count(self, op, key, rest):
        return b"\0" + sum(k.startswith(key) for k in self.values).to_bytes(2, "little")


def new_workload(mix="all", seed=1, path=None):
    ledger = Ledger(len(layout_of(SIZES)), path)
    return Workload(3, SIZES, mix, seed, ledger, 1024), ledger


@property_test(count=20)
def test_a_correct_store_gives_what_the_workload_expects(draw):
    workload, ledger = new_workload(seed=draw.integer(0, 2**20))
    store = Dictionary()
    buf = bytearray(1024)
    for _ in range(300):
        reply = store.execute(buf[: workload.next_into(buf)])
        workload.accept(reply, len(reply))
    assert (ledger.get(ACKNOWLEDGED), ledger.get(MISMATCHED), workload.mismatch) == (300, 0, "")
    for key in range(ledger.key_count):
        reply = store.execute(buf[: workload.get_into(buf, key)])
        assert workload.holds(key, ledger.generation(key), reply, len(reply))
        assert not workload.holds(key, ledger.generation(key) + 1, reply, len(reply))


def test_a_store_that_forgets_is_noticed():
    workload, ledger = new_workload()
    store = Dictionary()
    buf = bytearray(1024)
    for _ in range(100):
        reply = store.execute(buf[: workload.next_into(buf)])
        workload.accept(reply, len(reply))
        store.values.clear()
    assert ledger.get(MISMATCHED) > 0 and workload.mismatch


def test_a_refusal_is_a_mismatch():
    workload, ledger = new_workload("put")
    workload.next_into(bytearray(1024))
    workload.accept(bytes((FULL,)), 1)
    assert ledger.get(MISMATCHED) == 1
    assert workload.mismatch.startswith("put c3/") and "status 2, 1 bytes" in workload.mismatch


def test_generations_tell_values_and_absence_apart():
    assert [exists(following(0, kind)) for kind in (PUT, DELETE)] == [True, False]
    held = following(0, PUT)
    assert following(held, PUT) > held and exists(following(held, PUT))
    gone = following(held, DELETE)
    assert not exists(gone) and following(gone, PUT) > held


def test_the_ledger_survives_its_writer(tmp_path):
    path = tmp_path / "node-3.ledger"
    workload, ledger = new_workload("put", path=path)
    workload.next_into(bytearray(1024))
    ledger.write()
    read = load_ledger(path, ledger.key_count)
    assert read.get(OUTSTANDING) == PUT
    assert read.get(OUTSTANDING_GENERATION) == 1
    assert load_ledger(tmp_path / "none", ledger.key_count).get(OUTSTANDING) == 0


@property_test(count=20)
def test_a_client_goes_on_after_it_was_killed(draw):
    with TemporaryDirectory() as folder:
        store = Dictionary()
        buf = bytearray(1024)
        for life in range(6):
            workload, ledger = new_workload(seed=draw.integer(0, 2**20), path=f"{folder}/ledger")
            workload.resume()
            for _ in range(draw.integer(0, 20)):
                length = workload.next_into(buf)
                ledger.write()
                reply = store.execute(buf[:length])
                workload.accept(reply, len(reply))
            length = workload.next_into(buf)
            ledger.write()
            if life % 2:  # executed, but the reply came too late
                store.execute(buf[:length])
            assert (ledger.get(MISMATCHED), workload.mismatch) == (0, "")
        workload, ledger = new_workload(path=f"{folder}/ledger")
        workload.resume()
        known = ledger.get(INCREMENTED)
        total = int(store.values.get(SHARED_KEY, b"0"))
        assert known <= total <= known + ledger.get(UNSURE)


def test_acknowledgements_count_from_their_submission_on(tmp_path):
    paths = {client: tmp_path / f"node-{client}.times" for client in (0, 1, 2)}
    found = Acknowledgements(paths)
    files = [TimesFile(paths[client]) for client in (0, 1)]
    files[0].add(90, 110)
    found.begin(100)
    files[0].add(95, 130)
    files[1].add(105, 120)
    files[0].add(101, 115)
    assert found.look() == [115, 120]
    assert found.look(without=0) == [120]
    with paths[2].open("wb") as file:
        file.write(bytes(20))  # half a record is on its way
    assert found.look() == [115, 120]
    found.begin(200)
    assert found.look() == []


@property_test(count=200)
def test_a_bucket_holds_its_values(draw):
    value = draw.integer(0, VALUE_MAX)
    bucket = bucket_of(value)
    low, high = bounds_of(bucket)
    assert 0 <= bucket < BUCKET_COUNT and low <= value < high
    assert high - low <= max(1, value // 16)


def test_the_last_bucket_takes_all_that_is_longer():
    assert bucket_of(VALUE_MAX) == bucket_of(VALUE_MAX + 1) == BUCKET_COUNT - 1


def test_quantiles():
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    for value in range(1000):
        histogram.add(value)
    assert abs(histogram.quantile(0.5) - 500) < 20
    assert abs(histogram.quantile(0.99) - 990) < 35
    other = Histogram()
    other.merge(histogram.counts)
    assert other.total() == 1000
