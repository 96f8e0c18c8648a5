"""Normal case and clients: execution in order and exactly once; the service."""

from tests.tinybft.bench import BUDGET, Bench, Declared, Ledger, make_config, u32
from tinybft import faults, wire

CLIENT = 4


def replies(bench, client=CLIENT):
    return bench.sent(wire.REPLY, client)


def test_execution_follows_the_seqnos():
    bench = Bench()
    bench.execute(2, 2, b"\x04b")
    bench.execute(3, 3, b"\x04c")
    assert bench.ran() == [] and replies(bench) == []
    bench.execute(1, 1, b"\x04a")
    assert bench.ran() == [b"\x04a", b"\x04b", b"\x04c"]


def test_gap_stops_execution():
    bench = Bench()
    bench.execute(1, 1)
    bench.execute(3, 2)
    assert bench.progress.last_executed == 1


def test_request_in_two_batches_is_executed_once():
    """F09: a faulty primary."""
    bench = Bench()
    bench.execute(1, 7)
    bench.execute(2, 7)
    assert bench.progress.last_executed == 2
    assert len(bench.ran()) == 1
    assert len(replies(bench)) == 1


def test_request_twice_in_one_batch_is_executed_once():
    bench = Bench()
    request = bench.request(CLIENT, 7, b"\x04x")
    bench.agree(1, bench.batch([request, request]))
    assert bench.progress.last_executed == 1
    assert len(bench.ran()) == 1


def test_older_request_of_a_client_is_never_executed_after_a_newer_one():
    bench = Bench()
    bench.agree(1, bench.batch([bench.request(CLIENT, n, b"\x04x") for n in (6, 5)]))
    bench.execute(2, 5)
    assert bench.progress.last_executed == 2
    assert len(bench.ran()) == 1


def test_same_request_id_of_two_clients_is_two_requests():
    bench = Bench()
    bench.agree(1, bench.batch([bench.request(c, 7, b"\x04x") for c in (3, CLIENT)]))
    assert len(bench.ran()) == 2


def test_request_ids_at_the_limits_of_integers():
    bench = Bench()
    numbers = (2**30 - 1, 2**30, 2**31 - 1, 2**31)
    bench.agree(1, bench.batch([bench.request(CLIENT, n, b"\x04x") for n in numbers]))
    bench.execute(2, 2**32 - 1)
    bench.execute(3, 2**31)
    assert bench.progress.last_executed == 3
    assert len(bench.ran()) == 5


def test_service_that_raises_gives_a_deterministic_error_reply():
    bench = Bench()
    bench.execute(1, 1, b"\x04raise")
    assert replies(bench)[0][16:-8] == b"\xff"
    assert bench.core.faults.counts[faults.SERVICE] == 1
    bench.execute(2, 2)
    assert bench.progress.last_executed == 2


def test_service_whose_reply_is_too_long_gives_an_error_reply():
    bench = Bench(1, make_config(REPLY_LENGTH_MAX=64))
    bench.service.execute = lambda state, op, length, reply, ctx: 65
    bench.execute(1, 1)
    assert replies(bench)[0][16:-8] == b"\xff"


def test_operation_that_changes_more_than_declared_gets_an_error_reply():
    """What it wrote before is there, on all replicas the same; the next one is not affected."""
    bench = Bench(1, make_config(**BUDGET), Declared)
    for number, writes in enumerate((b"3", b"4", b"9"), 1):
        bench.execute(number, number, b"\x04xw" + writes)
    found = [message[16:-8] for message in replies(bench)]
    assert found[0] == b"\x01\0\0\0", "page 0 and 3 more, its operation has 4 bytes"
    assert found[1:] == [b"\x02\0\0\0", b"\xff"], "in one interval a page counts once"
    assert bench.core.faults.counts[faults.SERVICE] == 1
    bench.execute(4, 4, b"\x04")
    assert replies(bench)[3][16:-8] == b"\x04\0\0\0"
    assert bench.core.state.snapshots.pages.count <= bench.config.POOL_PAGE_COUNT


def test_refused_write_is_the_same_after_a_restart_from_the_checkpoint_before():
    """The count starts at each checkpoint, so who executes again from there refuses the same."""
    bench = Bench(1, make_config(**BUDGET), Declared)
    for number, writes in enumerate((b"3", b"9"), 1):
        bench.execute(number, number, b"\x04xw" + writes)
    first = bench.own_checkpoint(2)
    again = Bench(1, make_config(**BUDGET), Declared)
    again.execute(1, 1, b"\x04xw3")
    again.core.state.roll_back()
    again.core.execution.load_clock()
    again.progress.last_executed = 0
    again.core.execution.run()
    again.execute(2, 2, b"\x04xw9")
    assert again.own_checkpoint(2) == first


def test_service_that_declares_more_than_a_batch_may_change_is_refused():
    whole = type("Whole", (Ledger,), {"state_length": 257})
    for service, changed in ((whole, BUDGET), (Declared, dict(BUDGET, BATCH_PAGES_MAX=3))):
        try:
            Bench(1, make_config(**changed), service)
        except ValueError as error:
            assert "batch_pages_max = " in str(error) and 'service "ledger"' in str(error)
            continue
        raise AssertionError("taken")


def test_service_sees_client_seqno_and_agreed_time():
    bench = Bench()
    batch = bench.batch([bench.request(CLIENT, 1, b"\x04x")], True, (0, 321))
    bench.agree(1, batch)
    assert bench.service.ran == [(CLIENT, b"\x04x", 1, 0, 321)]


def test_agreed_time_never_goes_back_for_the_service():
    """The primary is faulty: its second batch, in the pipeline, is older than its first."""
    bench = Bench()
    late = bench.batch([bench.request(CLIENT, 1, b"\x04x")], True, (0, 900))
    early = bench.batch([bench.request(3, 1, b"\x04y")], True, (0, 100))
    bench.pre_prepare(0, 1, late)
    bench.pre_prepare(0, 2, early)
    bench.agree(1, late)
    bench.agree(2, early)
    times = [row[3:] for row in bench.service.ran]
    assert len(times) == 2
    assert times == sorted(times)


def test_client_table_is_part_of_the_state():
    """Two replicas that differ in nothing but which request was the last have other digests."""
    roots = []
    for number in (7, 8):
        bench = Bench()
        bench.execute(1, number)
        bench.execute(2, 1, client=3)
        roots.append(bench.own_checkpoint(2))
    assert roots[0] != roots[1]
    at = 256 + 16 + 40 * CLIENT
    entry = bench.core.state.content(at + 12)[at:]
    assert entry == u32(8) + b"\x04\0\0\0" + b"\x01\0\0\0"
