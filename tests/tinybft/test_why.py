"""tinybft.why: each state in which a replica waits, made on the bench, and the words for it."""

from tests.tinybft.bench import Bench, make_config
from tests.tinybft.durable import Device
from tests.tinybft.test_rules_durable_rejoin import told, wiped
from tests.tinybft.views import acknowledge, elect, join, one, pre_prepared, prepared
from tinybft.why import Reasons, names, reasons

OTHER = bytes(range(32))
FAR = (10**6, 0)


class Desk:
    """The bench's replica, as `reasons` sees a node."""

    def __init__(self, bench):
        self.bench = bench
        self.config = bench.config
        self.replica = bench.replica
        self.stopped = ""
        self.hal = self
        self.client = getattr(bench, "client", self)

    def now_ms(self):
        return self.bench.now

    def report(self, _now):
        return {}


def told_by(bench):
    return reasons(Desk(bench))


def only(bench):
    """The one thing that the replica waits for; that nobody was heard of yet left out."""
    lines = [line for line in told_by(bench) if not line.startswith("not heard")]
    assert len(lines) == 1, lines
    return lines[0]


def holds(words, *parts):
    for part in parts:
        assert part in words, (part, words)


def lacks(words, *parts):
    for part in parts:
        assert part not in words, (part, words)


def test_names_of_a_mask():
    assert names(0) == "nobody" and names(0b1101) == "0, 2, 3"


def test_a_quorum_was_never_heard():
    holds(told_by(Bench(1))[0], "not heard: replica 0 never, 2 never, 3 never", "2f + 1 = 3")


def test_votes_without_a_proposal():
    bench = Bench(1)
    bench.prepare(2, 1, OTHER)
    bench.commit(3, 1, OTHER)
    words = only(bench)
    holds(words, "seqno 1: no PRE-PREPARE from the primary, 0 (never heard)")
    holds(words, "PREPARE came from 2", "COMMIT came from 3")


def test_prepares_are_missing():
    bench = Bench(1)
    pre_prepared(bench, 1)
    bench.now += 70
    words = only(bench)
    holds(words, "seqno 1: PREPARE from 1, needs 2; missing 2 (never heard), 3 (never heard)")


def test_commits_are_missing():
    bench = Bench(1)
    digest = prepared(bench, 1)
    bench.now += 30
    bench.commit(3, 1, digest)
    words = only(bench)
    holds(words, "COMMIT from 1, 3, needs 3; missing 0 (heard 30 ms ago), 2 (heard 30 ms ago)")


def test_votes_for_another_batch():
    bench = Bench(1)
    pre_prepared(bench, 1)
    bench.prepare(3, 1, OTHER)
    holds(only(bench), "missing 2", "; for another batch: 3")


def test_tags_that_fail_are_counted_by_sender():
    bench = Bench(1)
    digest = pre_prepared(bench, 1)
    for _ in range(3):
        bench.prepare(2, 1, digest, 0, (1,))
    words = only(bench)
    holds(words, "2 (never heard; 3 bad tags in its name)", "3 (never heard)")


def test_a_request_with_a_bad_tag():
    bench = Bench(1)
    assert bench.pre_prepare(0, 1, one(bench, 7, (1,))) == 0
    words = only(bench)
    holds(words, "bad tag for this replica: request 7 of client 4")
    holds(words, "PREPARE from nobody, needs 1; missing 1 (this one), 2")


def test_a_body_that_is_missing():
    bench = Bench(1)
    assert bench.pre_prepare(0, 1, one(bench, 7, (), False)) == 0
    holds(only(bench), "bodies are missing: request 7 of client 4")


def test_a_batch_from_another_than_the_primary():
    bench = Bench(1)
    bench.pre_prepare(2, 1, one(bench, 7))
    holds(only(bench), "not from the primary", "needs 2; missing")


def test_a_time_that_is_not_plausible():
    bench = Bench(1)
    first = bench.batch([bench.request(4, 1, b"\x04x")], True, (5, 0))
    bench.agree(1, first)
    assert bench.pre_prepare(0, 2, bench.batch([bench.request(4, 2, b"\x04x")], True, FAR)) == 0
    words = [line for line in told_by(bench) if "seqno 2" in line]
    holds(words[0], "agreed time is too far from the clock")


def test_a_primary_that_does_not_order():
    bench = Bench(1)
    assert bench.feed(bench.request(4, 9, b"\x04x")) == 0
    bench.now += 400
    words = only(bench)
    holds(words, "request 9 of client 4, waiting for 400 ms: not ordered by the primary, 0")


def test_the_own_pipeline_is_full():
    bench = Bench(0, make_config(PIPELINE=1))
    bench.feed(bench.request(4, 1, b"\x04x"))
    bench.feed(bench.request(3, 1, b"\x04x"))
    lines = told_by(bench)
    holds(lines[0], "seqno 1: PREPARE from nobody, needs 2; missing 1")
    lacks(lines[0], " 0 (")
    holds(lines[1], "request 1 of client 3", "1 batches are open")


def test_the_window_is_full():
    bench = Bench(0)
    for number in range(1, 5):
        bench.feed(bench.request(4, number, b"\x04x"))
        digest = bench.core.slots.digest_at(bench.core.slots.find(number))
        digest = bytes(bench.core.slots.buf[digest : digest + 32])
        for sender in (1, 2):
            bench.prepare(sender, number, digest)
            bench.commit(sender, number, digest)
    bench.checkpoint(1, 2, bench.own_checkpoint(2))
    bench.checkpoint(3, 2, OTHER)
    bench.feed(bench.request(4, 5, b"\x04x"))
    lines = told_by(bench)
    holds(lines[0], "request 5 of client 4", "the window is full, 1 .. 4")
    holds(lines[1], "checkpoint 2 is not stable: CHECKPOINT from 0, 1, needs 3; missing 2")
    holds(lines[1], "another state: 3")
    holds(lines[2], "checkpoint 4 is not stable: CHECKPOINT from 0, needs 3")


def test_behind_and_fetching():
    bench = Bench(1)
    for sender in (0, 2):
        bench.checkpoint(sender, 8, OTHER, 1)
    holds(only(bench), "behind: f + 1 replicas have checkpoint 8, executed here is 0")
    bench.tick(600)
    words = told_by(bench)[0]
    holds(words, "fetching the state of checkpoint 8: asks ", "executes nothing")


def test_too_few_want_the_view():
    bench = Bench(3)
    bench.feed(bench.request(4, 1, b"\x04x"))
    bench.tick(1200)
    lines = told_by(bench)
    holds(lines[0], "view 1 has not begun (primary 1): VIEW-CHANGE from 3, needs 3; missing 0 (")


def test_a_new_primary_is_silent():
    bench = Bench(1)
    join(bench, 2)
    bench.feed(bench.view_change(2, 2))
    lines = told_by(bench)
    holds(
        lines[0], "view 2 has not begun (primary 2): NEW-VIEW is missing from 2 (heard 0 ms ago)"
    )
    holds(lines[1], "view 3 is asked for in ")


def test_a_new_view_names_what_is_not_here():
    bench = Bench(3)
    join(bench, 1)
    members = [bench.view_change(i, 1) for i in (0, 1, 2)]
    members[0] = bench.view_change(0, 1, 0, None, (), ((1, 0, OTHER),))
    bench.feed(bench.new_view(1, members))
    lines = told_by(bench)
    holds(lines[0], "names VIEW-CHANGEs that are not here, of 0")


def test_the_new_primary_waits_for_acks():
    bench = Bench(1)
    members = elect(bench, (0, 2))
    lines = told_by(bench)
    holds(lines[0], "VIEW-CHANGE of 0: ack from nobody, needs 1; missing 2 (", ", 3 (")
    holds(lines[2], "VIEW-CHANGE is missing of 3 (never heard)")
    acknowledge(bench, members[:1])
    lacks(told_by(bench)[0], "VIEW-CHANGE of 0")


def test_the_new_primary_lacks_a_batch():
    bench = Bench(1)
    claim = ((1, 0, OTHER),)
    members = [bench.view_change(i, 1, 0, None, claim, claim) for i in (0, 2, 3)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    holds(told_by(bench)[0], "lacks the batch of seqno 1")


def test_a_named_batch_is_missing():
    bench = Bench(3)
    claim = ((1, 0, OTHER),)
    bench.begin_view(1, (OTHER,), claim, claim)
    holds(only(bench), "seqno 1: its digest is known, its batch is missing")


def test_rejoining():
    bench = wiped()
    holds(told_by(bench)[0], "rejoining", "have said in STATUS where they are")
    told(bench, {0: 4, 1: 4, 3: 4})
    holds(told_by(bench)[0], "casts no vote until checkpoint 8 is stable here (low mark 0)")


def test_the_own_request():
    bench = Device(2)
    assert bench.client.submit(b"\x04x", 2, bench.now)
    bench.now += 12
    words = told_by(bench)[-1]
    holds(words, "own request 1, 12 ms old, sent 1 times: needs f + 1 = 2 equal replies")
    holds(words, "has from nobody", "Busy")


def test_a_stopped_node_says_nothing_else():
    desk = Desk(Bench(1))
    desk.stopped = "OSError: no store"
    assert reasons(desk) == ["stopped by OSError: no store; restart it"]


def test_nothing_after_everything_is_done():
    bench = Bench(1)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    assert Reasons(Desk(bench), bench.now).all() == []
