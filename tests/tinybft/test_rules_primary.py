"""Normal case: what the primary proposes, and when."""

from tests.tinybft.bench import BUDGET, Bench, Declared, make_config
from tinybft import faults, requests, wire


def proposals(bench):
    return bench.sent(wire.PRE_PREPARE, -1)


def seqnos(bench):
    return [m[12] | m[13] << 8 for m in proposals(bench)]


def fill_pipeline(bench, clients=(4, 5)):
    """Two proposals that nobody votes for."""
    for client in clients:
        bench.feed(bench.request(client, 1, b"\x04x"))


def test_primary_proposes_a_request_at_once():
    bench = Bench(0)
    request = bench.request(4, 1, b"\x04x")
    assert bench.feed(request) == 0
    message = proposals(bench)[0]
    assert message[8:16] == bytes(4) + b"\x01\0\0\0"
    assert message[16:24] == bytes(6) + b"\x01\0"
    assert message[24 : 25 + len(request)] == b"\x01" + request


def test_long_request_travels_by_digest():
    bench = Bench(0)
    request = bench.request(4, 1, bytes(150))
    bench.feed(request)
    assert proposals(bench)[0][24:65] == b"\x00" + bench.entry(request)


def test_budget_of_pages_bounds_a_batch():
    """What does not fit waits for the next batch; what follows and fits does not wait."""
    bench = Bench(0, make_config(PIPELINE=1, **BUDGET), Declared)
    bench.feed(bench.request(1, 1, b"\x04xx"))
    for client, operation in ((2, b"\x04xx"), (3, b"\x04xxx"), (4, b"\x04")):
        bench.feed(bench.request(client, 1, operation))
    first, second = (message[24:] for message in settled_proposals(bench))
    assert first.count(b"\x04xx") == 1
    assert second.count(b"\x04xx") == 1 and b"\x04xxx" not in second, "2 + 1 of 4 pages"
    assert second.count(bench.request(4, 1, b"\x04")[:17]) == 1


def settled_proposals(bench):
    """The first two, the one agreed on so that the other follows."""
    base = bench.core.slots.find(1)
    digest_at = bench.core.slots.digest_at(base)
    digest = bytes(bench.core.slots.buf[digest_at : digest_at + 32])
    for sender in (1, 2):
        bench.prepare(sender, 1, digest)
    for sender in (1, 2):
        bench.commit(sender, 1, digest)
    return proposals(bench)[:2]


def test_backup_never_proposes():
    bench = Bench(1)
    bench.feed(bench.request(4, 1, b"\x04x"))
    bench.tick(5)
    assert not bench.sent(wire.PRE_PREPARE)


def test_request_with_a_bad_tag_is_not_proposed():
    bench = Bench(0)
    assert bench.feed(bench.request(4, 1, b"\x04x", 0, (0,))) == faults.MAC
    assert bench.out == []
    assert bench.core.requests.phase(4) == requests.NONE


def test_repeated_request_is_not_proposed_twice():
    bench = Bench(0)
    bench.feed(bench.request(4, 1, b"\x04x"))
    assert bench.feed(bench.request(4, 1, b"\x04x")) == faults.NOT_NEEDED
    bench.tick(10)
    assert seqnos(bench) == [1]


def test_pipeline_bounds_what_is_proposed():
    bench = Bench(0, make_config(CLIENT_COUNT=8, PIPELINE=2))
    for client in (4, 5, 6, 7):
        bench.feed(bench.request(client, 1, b"\x04x"))
    assert seqnos(bench) == [1, 2]


def test_all_waiting_requests_go_into_one_batch():
    bench = Bench(0, make_config(CLIENT_COUNT=9, PIPELINE=1))
    for client in range(4, 9):
        bench.feed(bench.request(client, 1, b"\x04x"))
    first = bench.batch([bench.request(4, 1, b"\x04x")])
    bench.agree(1, first)
    assert [m[22] for m in proposals(bench)] == [1, 4]


def test_window_bounds_what_is_proposed():
    bench = Bench(0, make_config(PIPELINE=4))
    for number in range(1, 8):
        request = bench.request(4, number, b"\x04x")
        bench.feed(request)
        if number <= 4:
            message = proposals(bench)[-1]
            batch = bench.batch([request], True, (0, message[20] | message[21] << 8))
            bench.agree(number, batch)
    assert bench.progress.last_executed == 4
    assert seqnos(bench) == [1, 2, 3, 4]
    bench.stabilise(2)
    assert seqnos(bench) == [1, 2, 3, 4, 5]


def test_clients_take_turns():
    """Everybody gets into a batch, whoever asks most often."""
    bench = Bench(0, make_config(CLIENT_COUNT=8, PIPELINE=1, BATCH_COUNT_MAX=1))
    for client in (4, 5, 6, 7):
        bench.feed(bench.request(client, 1, b"\x04x"))
    served = []
    for seqno in (1, 2, 3, 4):
        message = proposals(bench)[-1]
        served.append(message[27])  # client of the inline request
        batch = bench.batch([bench.request(message[27], 1, b"\x04x")])
        bench.agree(seqno, batch)
        if seqno == 1:
            bench.feed(bench.request(4, 2, b"\x04x"))
    assert served == [4, 5, 6, 7]


def test_proposed_time_never_goes_back():
    bench = Bench(0)
    times = []
    for number in range(1, 5):
        bench.tick(7)
        request = bench.request(4, number, b"\x04x")
        bench.feed(request)
        message = proposals(bench)[-1]
        ms = message[16] * 1000 + (message[20] | message[21] << 8)
        times.append(ms)
        bench.agree(number, bench.batch([request], True, (0, ms)))
    assert bench.progress.last_executed == 4
    assert times == sorted(times)
    assert times[3] - times[0] == 21


def test_own_requests_need_no_tag():
    bench = Bench(0)
    own = bytearray(bench.request(0, 1, b"\x04x"))
    bench.replica.on_own_request(own)
    assert seqnos(bench) == [1]


def test_next_seqno_follows_what_was_executed():
    bench = Bench(0)
    for number in (1, 2, 3):
        request = bench.request(4, number, b"\x04x")
        bench.feed(request)
        bench.agree(number, bench.batch([request]))
    assert seqnos(bench) == [1, 2, 3]
    assert len(bench.ran()) == 3


def test_two_open_proposals_name_different_requests():
    bench = Bench(0, make_config(CLIENT_COUNT=6))
    fill_pipeline(bench)
    clients = [m[27] for m in proposals(bench)]
    assert clients == [4, 5]
