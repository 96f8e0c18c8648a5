"""Clients and replies: what a REQUEST meets at a replica, and what its client gets."""

from tests.tinybft.bench import Bench, sha256
from tinybft import faults, requests, wire

CLIENT = 4


def replies(bench, client=CLIENT):
    return bench.sent(wire.REPLY, client)


def test_older_request_is_dropped():
    bench = Bench()
    bench.execute(1, 7)
    del bench.out[:]
    assert bench.feed(bench.request(CLIENT, 6, b"\x04x")) == faults.OLD_REQUEST
    assert bench.out == []


def test_last_request_is_answered_with_the_stored_reply():
    bench = Bench()
    bench.execute(1, 7, b"\x50y")
    bench.tick(5)
    del bench.out[:]
    assert bench.feed(bench.request(CLIENT, 7, b"\x50y")) == 0
    assert replies(bench)[0][16:-8] == b"\x01\0\0\0" + b"y" * 76
    assert len(bench.ran()) == 1


def test_replica_that_is_the_client_gets_a_reply_when_it_asks_again():
    """Its own replica executes the request too; if that is behind, this is what helps."""
    bench = Bench()
    request = bench.request(3, 7, b"\x50y")
    bench.agree(1, bench.batch([request]))
    assert len(bench.ran()) == 1 and replies(bench, 3) == []
    bench.tick(5)
    assert bench.feed(request) == 0
    assert replies(bench, 3)[0][16:-8] == b"\x01\0\0\0" + b"y" * 76


def test_repeated_reply_is_rate_limited():
    bench = Bench()
    bench.execute(1, 7)
    bench.tick(5)
    request = bench.request(CLIENT, 7, b"\x04x")
    assert bench.feed(request) == 0
    for _ in range(5):
        assert bench.feed(request) == faults.RATE_LIMITED
    bench.tick(2)
    assert bench.feed(request) == 0
    assert len(replies(bench)) == 3


def test_only_the_client_itself_gets_the_reply_again():
    bench = Bench()
    bench.execute(1, 7)
    bench.tick(5)
    del bench.out[:]
    assert bench.feed(bench.request(CLIENT, 7, b"\x04x", 0, (1,))) == faults.MAC
    assert bench.out == []


def test_reply_names_request_and_replica():
    bench = Bench()
    bench.execute(1, 0x01020304, b"\x04x")
    reply = replies(bench)[0]
    head = b"\x10\x05\x01\x00\x01\x00\x1c\x00" + bytes(4) + b"\x04\x03\x02\x01"
    assert reply[:20] == head + b"\x01\0\0\0"


def test_reply_carries_one_tag_for_its_client():
    bench = Bench()
    bench.execute(1, 7)
    reply = bytearray(replies(bench)[0])
    assert bench.auths[CLIENT].check(reply, 1)
    assert not bench.auths[3].check(reply, 1)


def reply_of(replica, operation, number):
    bench = Bench(replica)
    if replica == 0:
        request = bench.request(CLIENT, number, operation)
        bench.feed(request)
        bench.agree(1, bench.batch([request]))
    else:
        bench.execute(1, number, operation)
    return replies(bench)[0]


def test_long_result_comes_whole_from_one_replica_and_as_digest_from_the_rest():
    for number in (7, 8):
        answers = [reply_of(r, b"\x50y", number) for r in range(4)]
        whole = [a for a in answers if not a[0] & wire.FLAG_DIGEST]
        assert len(whole) == 1
        digest = sha256(whole[0][16:-8])
        assert [a[16:-8] for a in answers if a[0] & wire.FLAG_DIGEST] == [digest] * 3


def test_short_results_come_whole_from_everybody():
    for length in (4, 32):
        answers = [reply_of(r, bytes((length, 121)), 7) for r in range(4)]
        assert not any(a[0] & wire.FLAG_DIGEST for a in answers)
        assert len({a[16:-8] for a in answers}) == 1


def test_result_of_33_bytes_is_long():
    answers = [reply_of(r, b"\x21y", 7) for r in range(4)]
    assert sum(a[0] & wire.FLAG_DIGEST != 0 for a in answers) == 3


def test_error_reply_is_the_same_everywhere():
    assert [reply_of(r, b"\x04raise", 7)[16:-8] for r in range(4)] == [b"\xff"] * 4


# --- pending requests ---


def test_newer_request_is_kept_until_it_is_executed():
    bench = Bench()
    assert bench.feed(bench.request(CLIENT, 1, bytes(150))) == 0
    assert bench.core.requests.phase(CLIENT) == requests.WAITING
    bench.agree(1, bench.batch([bench.request(CLIENT, 1, b"\x04" + bytes(149))], False))
    assert bench.ran() == []
    bench = Bench()
    long = bench.request(CLIENT, 1, b"\x04" + bytes(149))
    bench.feed(long)
    bench.agree(1, bench.batch([long], False))
    assert bench.ran() == [b"\x04" + bytes(149)]
    assert bench.core.requests.phase(CLIENT) == requests.NONE
    assert bench.core.requests.waiting == 0


def test_kept_request_is_relayed_to_the_primary():
    bench = Bench()
    request = bench.request(CLIENT, 1, b"\x04x")
    bench.feed(request)
    bench.tick(400)
    assert request in bench.sent(wire.REQUEST, 0)


def test_proposed_request_is_not_relayed():
    bench = Bench()
    request = bench.request(CLIENT, 1, b"\x04x")
    bench.feed(request)
    bench.pre_prepare(0, 1, bench.batch([request]))
    bench.tick(400)
    assert not bench.sent(wire.REQUEST)


def test_one_request_per_client_is_kept_and_the_newest():
    bench = Bench()
    bench.feed(bench.request(CLIENT, 5, b"\x04a"))
    assert bench.feed(bench.request(CLIENT, 4, b"\x04b")) == faults.NOT_NEEDED
    assert bench.feed(bench.request(CLIENT, 5, b"\x04c")) == faults.NOT_NEEDED
    assert bench.core.requests.request_id(CLIENT) == 5
    assert bench.feed(bench.request(CLIENT, 6, b"\x04d")) == 0
    assert bench.core.requests.request_id(CLIENT) == 6
    assert bench.core.requests.waiting == 1


def test_newer_request_survives_the_execution_of_an_older_one():
    bench = Bench()
    bench.feed(bench.request(CLIENT, 2, b"\x04b"))
    bench.execute(1, 1, b"\x04a")
    assert bench.core.requests.request_id(CLIENT) == 2
    assert bench.core.requests.phase(CLIENT) == requests.WAITING


def test_bad_tag_does_not_push_a_kept_request_out():
    bench = Bench()
    bench.feed(bench.request(CLIENT, 2, b"\x04b"))
    assert bench.feed(bench.request(CLIENT, 3, b"\x04c", 0, (1,))) == faults.MAC
    assert bench.core.requests.request_id(CLIENT) == 2


def test_request_with_id_zero_is_refused():
    bench = Bench()
    assert bench.feed(bench.request(CLIENT, 0, b"\x04x")) == faults.FIELD


def test_longest_request_is_executed():
    bench = Bench()
    operation = b"\x04" + bytes(255)
    bench.feed(bench.request(CLIENT, 1, operation))
    bench.agree(1, bench.batch([bench.request(CLIENT, 1, operation)], False))
    assert bench.ran() == [operation]
    assert bench.feed(bench.request(CLIENT, 2, operation + b"\0")) == faults.LENGTH
