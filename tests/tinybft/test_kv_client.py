"""The client's side of the key-value store, on a node that is no more than the service."""

from tests.tinybft.test_kv import Store
from tinybft.apps.kv_client import KeyValue, KeyValueError


class LocalNode:
    def __init__(self, store):
        self.store = store
        self.read_only = []

    async def submit(self, op, read_only=False):
        self.read_only.append(read_only)
        self.store.op[: len(op)] = op
        return self.store.execute(len(op))


def result_of(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the local node never waits")


def make(**options):
    store = Store(4096)
    return store, KeyValue(LocalNode(store), **options)


def refusal_of(coroutine):
    try:
        result_of(coroutine)
    except KeyValueError as error:
        return error
    raise AssertionError("no error")


def test_each_operation():
    _, kv = make()
    assert result_of(kv.get(b"lamp")) is None
    assert result_of(kv.put(b"lamp", b"on")) is None
    assert result_of(kv.get("lamp")) == b"on"
    assert result_of(kv.cas(b"lamp", b"off", b"x")) is False
    assert result_of(kv.cas(b"lamp", b"on", b"off")) is True
    assert result_of(kv.cas(b"lamp", None, b"off")) is False
    assert result_of(kv.cas(b"new", None, b"1")) is True
    assert result_of(kv.cas(b"none", b"1", b"2")) is False
    assert result_of(kv.increment(b"new")) == 2
    assert result_of(kv.increment(b"new", -(2**40))) == 2 - 2**40
    assert result_of(kv.count()) == 2
    assert result_of(kv.count("la")) == 1
    assert result_of(kv.delete(b"lamp")) is True
    assert result_of(kv.delete(b"lamp")) is False
    assert result_of(kv.get(b"lamp")) is None


def test_a_scan_follows_the_cursor():
    _, kv = make()
    for i in range(30):
        result_of(kv.put(b"room/%02d" % i, b"%d" % i * 5))
    result_of(kv.put(b"room/long", b"l" * 159))
    result_of(kv.put(b"other", b""))
    keys = [b"room/%02d" % i for i in range(30)] + [b"room/long"]
    assert result_of(kv.scan(b"room/")) == keys
    pairs = [(b"room/%02d" % i, b"%d" % i * 5) for i in range(30)] + [(b"room/long", b"l" * 159)]
    assert result_of(kv.scan("room/", with_values=True)) == pairs
    assert result_of(kv.scan()) == sorted(keys + [b"other"])


def test_refusals_in_words():
    _, kv = make()
    result_of(kv.put(b"text", b"abc"))
    error = refusal_of(kv.increment(b"text"))
    assert error.name == "NOT_A_NUMBER" and "decimal" in str(error)
    assert refusal_of(kv.put(b"", b"x")).name == "KEY_EMPTY"
    assert refusal_of(kv.put(b"k" * 65, b"x")).name == "KEY_TOO_LONG"
    assert refusal_of(kv.put(b"k", b"x" * 160)).name == "VALUE_TOO_LONG"
    result_of(kv.put(b"n", str(2**63 - 1)))
    assert refusal_of(kv.increment(b"n")).name == "OVERFLOW"
    assert KeyValueError(77).name == "STATUS_77"


def test_what_no_request_can_carry_is_refused_before_sending():
    store, kv = make(request_length_max=100)
    for action in (kv.put(b"key", b"v" * 96), kv.put(b"k" * 256, b""), kv.get(b"k" * 120)):
        try:
            result_of(action)
        except ValueError:
            continue
        raise AssertionError("sent")
    assert store.records() == {}


def test_only_reads_are_sent_read_only():
    store, kv = make(read_only=True)
    node = kv._node
    result_of(kv.put(b"a", b"1"))
    result_of(kv.increment(b"a"))
    result_of(kv.cas(b"a", b"2", b"3"))
    result_of(kv.delete(b"a"))
    assert node.read_only == [False] * 4
    result_of(kv.get(b"a"))
    result_of(kv.scan())
    result_of(kv.count())
    assert node.read_only == [False] * 4 + [True] * 3
