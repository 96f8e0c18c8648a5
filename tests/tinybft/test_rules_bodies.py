"""Normal case: bodies that travel apart from their batch; the agreed time."""

from tests.tinybft.bench import Bench, make_config
from tinybft import faults, wire


def seven(own_id=1):
    return Bench(own_id, make_config(FAULT_COUNT=2, CLIENT_COUNT=9))


def one_request(bench, operation=b"\x04x", number=1, bad_for=()):
    return bench.request(bench.config.CLIENT_COUNT - 1, number, operation, 0, bad_for)


def prepares(bench):
    return [m[16:48] for m in bench.sent(wire.PREPARE)]


def missing_of(status):
    """The missing-bodies mask of the first slot of a STATUS."""
    return status[23] | status[24] << 8


def test_missing_body_holds_the_batch_and_is_asked_for():
    bench = Bench()
    bench.pre_prepare(0, 1, bench.batch([one_request(bench)], False))
    assert prepares(bench) == []
    bench.tick(20)
    assert missing_of(bench.sent(wire.STATUS)[0]) == 1


def test_votes_do_not_replace_a_missing_body():
    bench = Bench()
    batch = bench.batch([one_request(bench)], False)
    bench.agree(1, batch)
    assert prepares(bench) == []
    assert bench.progress.last_executed == 0


def test_body_from_the_client_completes_the_batch():
    bench = Bench()
    batch = bench.batch([one_request(bench)], False)
    bench.pre_prepare(0, 1, batch)
    assert bench.feed(one_request(bench)) == 0
    assert prepares(bench) == [batch.digest]


def test_body_with_a_bad_tag_is_filled_by_digest_and_stays_in_doubt():
    bench = Bench()
    batch = bench.batch([one_request(bench)], False)
    bench.pre_prepare(0, 1, batch)
    assert bench.feed(one_request(bench, bad_for=(1,))) == 0
    assert prepares(bench) == []
    bench.prepare(2, 1, batch.digest)
    assert prepares(bench) == [batch.digest]


def test_forged_body_is_refused():
    bench = Bench()
    batch = bench.batch([one_request(bench, b"\x04t")], False)
    bench.agree(1, batch)
    assert bench.feed(one_request(bench, b"\x04f", bad_for=(1,))) == faults.MAC
    assert bench.feed(one_request(bench, b"\x04f")) == 0  # the client is faulty: merely kept
    assert bench.progress.last_executed == 0
    assert bench.feed(one_request(bench, b"\x04t", bad_for=(0, 1, 2, 3))) == 0
    assert bench.ran() == [b"\x04t"]


def test_own_request_comes_back_as_a_body():
    """A replica that lost its own request over a restart needs it like any other."""
    bench = Bench()
    own = bench.request(1, 1, b"\x04o")
    batch = bench.batch([own], False)
    bench.agree(1, batch)
    assert bench.feed(own) == 0
    assert bench.ran() == [b"\x04o"]
    assert bench.feed(bench.request(1, 2, b"\x04o")) == faults.NOT_NEEDED


# --- the agreed time ---


def test_time_within_the_skew_is_plausible():
    bench = Bench()
    bench.pre_prepare(0, 1, bench.batch([one_request(bench)], True, (1, 0)))
    assert len(prepares(bench)) == 1


def test_implausible_time_waits_for_f_prepares():
    bench = seven()
    batch = bench.batch([one_request(bench)], True, (1, 1))
    assert bench.pre_prepare(0, 1, batch) == 0
    bench.prepare(2, 1, batch.digest)
    assert prepares(bench) == []
    bench.prepare(3, 1, batch.digest)
    assert prepares(bench) == [batch.digest]


def test_time_before_the_agreed_one_is_doubted():
    bench = Bench()
    bench.agree(1, bench.batch([one_request(bench)], True, (0, 500)))
    assert bench.progress.last_executed == 1
    bench.pre_prepare(0, 2, bench.batch([one_request(bench, number=2)], True, (0, 499)))
    assert len(prepares(bench)) == 1


# --- requests that were executed before (F09: named by two batches) ---


def test_batch_of_an_executed_request_gets_its_body():
    """By digest: the second batch needs the body again, whoever sends it."""
    for number, newer in ((7, 7), (7, 8)):
        bench = Bench()
        bench.execute(1, newer)
        old = bench.request(4, number, b"\x04x")
        bench.agree(2, bench.batch([old], False))
        bench.tick(5)
        assert bench.progress.last_executed == 1
        assert bench.feed(old) == 0
        assert bench.progress.last_executed == 2
        assert len(bench.ran()) == 1


def test_executed_request_is_beyond_doubt():
    """It will not be executed again, so its tag does not matter."""
    for operation in (b"\x04x", b"\x04forged"):
        bench = Bench()
        bench.execute(1, 7)
        batch = bench.batch([bench.request(4, 7, operation, 0, (1,))])
        bench.pre_prepare(0, 2, batch)
        assert prepares(bench)[-1] == batch.digest
