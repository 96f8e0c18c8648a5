"""What a restart brings back of the state: the image, batches above it, results, request ids."""

from tests.tinybft.bench import Bench, u32
from tests.tinybft.durable import (
    MODES,
    PROTOCOL,
    Device,
    ask,
    every_cut,
    every_moment,
    every_write,
    leave,
)
from tests.tinybft.test_rules_new_view_backup import fetch_all
from tests.tinybft.test_rules_repair import WRONG
from tests.tinybft.views import one, pre_prepared, prepared
from tinybft import faults, requests, wire

LONG = b"\x60long"  # an operation with a reply of 96 bytes


def executed(bench, last, stable):
    for seqno in range(1, last + 1):
        bench.execute(seqno, seqno)
    if stable:
        bench.stabilise(stable)
    return bench


def root(bench, seqno):
    digest = bytearray(32)
    assert bench.core.state.root_into(seqno, digest, 0)
    return bytes(digest)


def mark(bench):
    return bench.progress.low_mark, bench.progress.last_executed


# --- the image and what lies above it ---


def test_image_and_low_mark_come_back():
    for mode in MODES:
        bench = executed(Device(2, mode), 2, 2)
        digest = bench.own_checkpoint(2)
        bench.restart()
        assert mark(bench) == (2, 2)
        assert root(bench, 2) == digest
        assert bench.ran() == []
        ask(bench)
        told = [m for m in bench.sent(wire.CHECKPOINT) if m[12:16] == u32(2)]
        assert told and all(m[16:48] == digest and m[0] & wire.FLAG_STABLE for m in told)


def test_batches_above_the_image_are_executed_again():
    for mode in MODES:
        bench = executed(Device(2, mode), 4, 2)
        ran = bench.ran()
        digest = bench.own_checkpoint(4)
        bench.restart()
        assert bench.ran() == ran[-2:]
        assert mark(bench) == (2, 4)
        assert bench.own_checkpoint(4) == digest
        assert leave(bench)[0] == [(2, root(bench, 2)), (4, digest)]


def test_checkpoint_that_was_told_is_told_again():
    for mode in MODES + (PROTOCOL,):
        bench = executed(Device(2, mode), 2, 0)
        digest = bench.own_checkpoint(2)
        bench.restart(bench.image_of(wire.CHECKPOINT))
        assert mark(bench) == (0, 2)
        ask(bench)
        assert bench.own_checkpoint(2) == digest
        assert leave(bench)[0] == [(0, bench.genesis), (2, digest)]


def test_reply_is_the_same_after_a_restart():
    """`Words` compares what each client was told."""
    for mode in MODES:
        bench = executed(Device(2, mode), 4, 2)
        replies = bench.sent(wire.REPLY)[-2:]
        bench.restart()
        assert bench.sent(wire.REPLY) == replies
        assert bench.feed(bench.request(4, 4, b"\x04x")) == 0
        assert bench.sent(wire.REPLY)[-1] == replies[-1]


def test_second_stable_checkpoint_replaces_the_first():
    for mode in MODES:
        bench = Device(2, mode)
        for seqno in range(1, 9):
            bench.execute(seqno, seqno)
            if seqno % 2 == 0:
                bench.stabilise(seqno)
        digest = root(bench, 8)
        bench.restart()
        assert mark(bench) == (8, 8) and root(bench, 8) == digest
        assert bench.ran() == []
        bench.execute(9, 9)
        assert bench.progress.last_executed == 9


def test_state_is_whole_whatever_moment_the_power_goes():
    """While the low mark moves: the old checkpoint or the new one, and its digest."""
    for mode in MODES:
        bench = executed(Device(2, mode), 4, 2)
        roots = {0: bench.genesis, 2: bench.own_checkpoint(2), 4: bench.own_checkpoint(4)}
        bench.stabilise(4)
        for moments in (every_write, every_cut):
            copy = executed(Device(2, mode), 4, 2)
            copy.stabilise(4)
            for _ in moments(copy):
                low_mark = copy.progress.low_mark
                assert copy.core.durability.trusted_at_boot
                assert root(copy, low_mark) == roots[low_mark]
                assert not copy.core.transfer.running


def test_request_is_not_executed_twice_over_a_restart():
    bench = executed(Device(2), 2, 2)
    bench.restart()
    batch = bench.batch([bench.request(4, 2, b"\x04x")])
    bench.agree(3, batch)
    assert bench.progress.last_executed == 3
    assert bench.ran() == []


def test_agreed_time_does_not_fall_over_a_restart():
    """It is part of the state: what the next batch sees is the same with and without."""
    times = []
    for restarts in (False, True):
        bench = Device(2)
        for seqno in (1, 2):
            batch = bench.batch([bench.request(4, seqno, b"\x04t")], time=(0, 90))
            bench.agree(seqno, batch)
        bench.stabilise(2)
        if restarts:
            bench.restart()
        bench.agree(3, bench.batch([bench.request(4, 3, b"\x04t")], time=(0, 50)))
        times.append((bench.progress.last_executed, [row[3:] for row in bench.service.ran[-1:]]))
    assert times[0] == times[1]


def test_window_reaches_as_far_as_before():
    bench = executed(Device(2), 2, 2)
    bench.restart()
    assert bench.pre_prepare(0, 7, one(bench, 7)) == faults.OUTSIDE_WINDOW
    assert bench.pre_prepare(0, 2, one(bench, 7)) == faults.OUTSIDE_WINDOW
    assert bench.pre_prepare(0, 6, one(bench, 7)) == 0


# --- the state alone is lost ---


def rotten_image():
    bench = executed(Device(2), 2, 2)
    pages = bench.map["pages"]
    for address in range(pages, bench.map["results"], 64):
        bench.store.octets[address] ^= 1
    return bench


def without_image():
    return executed(Device(2, PROTOCOL), 2, 2)


def test_state_that_is_lost_is_fetched_and_votes_go_on():
    for make in (rotten_image, without_image):
        bench = make()
        third = pre_prepared(bench, 3)
        bench.restart()
        assert bench.core.durability.trusted_at_boot
        assert not bench.core.durability.abstains
        assert bench.core.durability.report()["mode"] == "without state"
        assert bench.progress.low_mark == 2
        assert all(m[12:16] == u32(2) for m in bench.sent(wire.FETCH))
        ask(bench)
        assert (u32(3), third) in [(m[12:16], m[16:48]) for m in bench.sent(wire.PREPARE)]
        fetch_all(bench)
        assert bench.core.durability.report()["mode"] == "member"
        for sender in (1, 3):
            bench.prepare(sender, 3, third)
            bench.commit(sender, 3, third)
        assert mark(bench) == (2, 3)


def test_rot_of_the_image_is_counted_and_the_fetched_state_is_kept():
    bench = rotten_image()
    digest = bench.own_checkpoint(2)
    bench.restart()
    assert bench.core.faults.counts[faults.ROTTEN] == 1
    fetch_all(bench)
    bench.execute(3, 3)
    bench.execute(4, 4)
    bench.stabilise(4)
    bench.restart()
    assert mark(bench) == (4, 4) and not bench.core.transfer.running
    assert digest != root(bench, 4) == bench.core.durability.image_digest


def test_batches_above_a_lost_state_wait_for_it():
    bench = without_image()
    bench.execute(3, 3)
    bench.execute(4, 4)
    digest = bench.own_checkpoint(4)
    bench.restart()
    assert mark(bench) == (2, 2) and bench.ran() == []
    fetch_all(bench)
    assert mark(bench) == (2, 4) and len(bench.ran()) == 2
    assert bench.own_checkpoint(4) == digest


def test_batch_that_no_checkpoint_told_of_is_committed_again():
    """Only the votes of others are lost; its PREPARE and COMMIT are said again on request."""
    bench = executed(Device(2), 3, 2)
    bench.restart()
    assert mark(bench) == (2, 2)
    ask(bench)
    digest = [m[16:48] for m in bench.sent(wire.COMMIT) if m[12:16] == u32(3)][0]
    bench.commit(0, 3, digest)
    assert mark(bench) == (2, 2)
    bench.commit(1, 3, digest)
    assert mark(bench) == (2, 3)


# --- state transfer ---


def test_state_that_was_fetched_is_the_image():
    for mode in MODES:
        source = executed(Bench(1), 2, 2)
        digest = source.own_checkpoint(2)
        bench = Device(2, mode)
        for sender in (0, 1, 3):
            bench.checkpoint(sender, 2, digest, wire.FLAG_STABLE)
        bench.core.transfer.start(2, digest, 0)
        fetch_all(bench)
        assert bench.own_checkpoint(2) == digest
        bench.restart(bench.image_of(wire.CHECKPOINT))
        assert mark(bench) == (2, 2)
        assert root(bench, 2) == digest and not bench.core.transfer.running


def test_state_above_the_low_mark_that_was_fetched_is_the_image():
    """Nobody calls it stable: low_mark stays, and the checkpoint that was told is held."""
    digest = executed(Bench(1), 2, 2).own_checkpoint(2)
    bench = Device(2)
    bench.core.transfer.start(2, digest, 0)
    fetch_all(bench)
    assert mark(bench) == (0, 2)
    bench.restart(bench.image_of(wire.CHECKPOINT))
    assert mark(bench) == (0, 2) and root(bench, 2) == digest
    ask(bench)
    assert bench.own_checkpoint(2) == digest


def test_low_mark_that_comes_up_to_the_image_is_kept():
    """The state was there before: nothing but the mark is written."""
    digest = executed(Bench(1), 2, 2).own_checkpoint(2)
    bench = Device(2)
    bench.core.transfer.start(2, digest, 0)
    fetch_all(bench)
    bench.stabilise(2)
    assert mark(bench) == (2, 2)
    bench.restart()
    assert mark(bench) == (2, 2)


def test_power_cut_amid_a_transfer_leaves_no_mixture():
    bench = executed(Device(2), 2, 2)
    digest = bench.own_checkpoint(2)
    third = prepared(bench, 3)
    bench.core.transfer.start(6, WRONG, 0)
    assert bench.core.transfer.running
    bench.restart()
    assert not bench.core.transfer.running
    assert mark(bench) == (2, 2) and root(bench, 2) == digest
    for sender in (1, 3):
        bench.commit(sender, 3, third)
    assert bench.progress.last_executed == 3


# --- results ---


def repeated(bench, number, operation=LONG):
    del bench.out[:]
    bench.tick(bench.config.REPAIR_MS)
    assert bench.feed(bench.request(4, number, operation)) == 0
    return [m for m in bench.sent(wire.REPLY) if m[12:16] == u32(number)][-1]


def test_long_results_survive():
    for mode in MODES:
        bench = Device(2, mode)
        bench.execute(1, 1, LONG)
        bench.execute(2, 2, b"\x04x", 3)
        bench.stabilise(2)
        expected = repeated(bench, 1)
        assert len(expected) == 16 + 96 + 8
        bench.restart()
        assert bench.ran() == []
        assert repeated(bench, 1) == expected
        bench.restart()
        assert repeated(bench, 1) == expected


def test_newer_result_replaces_an_older_one():
    for mode in MODES:
        bench = Device(2, mode)
        for seqno in (1, 2, 3, 4):
            bench.execute(seqno, seqno, LONG)
            if seqno % 2 == 0:
                bench.stabilise(seqno)
        expected = repeated(bench, 4)
        bench.restart()
        assert repeated(bench, 4) == expected and not expected[0] & wire.FLAG_DIGEST


def test_short_result_comes_from_the_table_not_from_an_older_long_one():
    bench = Device(2)
    bench.execute(1, 1, LONG)
    bench.execute(2, 2, LONG)
    bench.stabilise(2)
    bench.execute(3, 3)
    bench.execute(4, 4)
    bench.stabilise(4)
    expected = repeated(bench, 4, b"\x04x")
    bench.restart()
    assert repeated(bench, 4, b"\x04x") == expected
    assert len(expected) == 16 + 4 + 8


def test_result_of_a_batch_above_the_image_is_computed_again():
    bench = Device(2)
    bench.execute(1, 1, LONG)
    bench.execute(2, 2, LONG)
    bench.stabilise(2)
    bench.execute(3, 3, LONG)
    expected = repeated(bench, 3)
    bench.execute(4, 1, b"\x04x", 3)
    bench.restart()
    assert repeated(bench, 3) == expected and not expected[0] & wire.FLAG_DIGEST


def test_result_is_written_once():
    bench = Device(2)
    bench.execute(1, 1, LONG)
    bench.execute(2, 2, b"\x04x", 3)
    bench.stabilise(2)
    bench.restart()
    bench.execute(3, 3, b"\x04x", 3)
    bench.execute(4, 4, b"\x04x", 3)
    bench.stabilise(4)
    end = bench.map["results"]
    assert not [row for row in bench.writes if row[2] >= end]


def test_result_that_was_torn_is_told_by_its_digest():
    """The others have it, or its batch is executed again."""
    bench = Device(2)
    bench.execute(1, 1, LONG)
    bench.execute(2, 2, b"\x04x", 3)
    bench.stabilise(2)
    stride = (bench.store.size - bench.map["results"]) // bench.config.CLIENT_COUNT
    bench.rot("results", 4 * stride + 20)
    bench.restart()
    assert bench.core.durability.trusted_at_boot
    assert repeated(bench, 1)[0] & wire.FLAG_DIGEST


# --- request ids ---


def test_place_of_the_own_request_is_given_up_before_the_next_one_is_written():
    """The others have executed the first; here it waits still when its bytes go, and the next
    one (a read that is not ordered, say) is not kept."""
    for mode in MODES:
        bench = Device(2, mode)
        bench.client.submit(b"\x04first", 6, bench.now)
        first = bench.sent(wire.REQUEST, -1)[0]
        own = bench.core.requests
        assert (
            own.phase(2) == requests.WAITING and bytes(bench.client.request[: len(first)]) == first
        )
        for sender in (0, 1):
            reply = bench.message(wire.REPLY, sender, 0, first[12] | first[13] << 8, b"\1\2\3\4")
            bench.client.on_reply(bytearray(reply), bench.now)
        assert bench.client.done
        bench.client._send_request = lambda first: None
        assert bench.client.submit(b"\x04other", 6, bench.now)
        assert own.phase(2) == requests.NONE and own.open == own.waiting == 0
        batch = bench.batch([first], False)
        assert bench.pre_prepare(0, 1, batch) == 0
        assert bench.core.slots.missing(bench.core.slots.find(1)) == 1
        assert not bench.sent(wire.PREPARE)


def submitted(bench, operation=b"\x04own"):
    assert bench.client.submit(operation, len(operation), bench.now)
    return bench.sent(wire.REQUEST, -1)[-1]


def test_request_ids_rise_over_restarts():
    """`Words` wants it of each message as it leaves; here also that each gets a new id."""
    bench = Device(2)
    ids = []
    for _ in range(4):
        ids.append(submitted(bench)[12:16])
        bench.restart(bench.image_of(wire.REQUEST))
    assert ids == sorted(ids) and len(set(ids)) == 4


def test_request_ids_after_every_moment():
    bench = Device(2)
    for number in range(3):
        submitted(bench)
        bench.client.busy = False
        pre_prepared(bench, number + 1)
    for _ in every_moment(bench):
        submitted(bench)


# --- nothing is done twice ---


def test_restart_writes_nothing_and_tells_nothing_that_is_stable():
    for mode in MODES:
        bench = executed(Device(2, mode), 2, 2)
        bench.restart()
        areas = ("identity", "slots", "stable", "view", "acks", "pages", "results")
        first = min([bench.map[area] for area in areas])
        last = bench.map.get("blocks", bench.map["size"])
        assert not [row for row in bench.writes if first <= row[2] < last]
        assert bench.out == []


def fetch_from(source, bench):
    """The state of checkpoint 2, as `source` has it."""
    for level, mask, kind in ((1, 0, wire.META_DATA), (0, 1, wire.DATA)):
        count = source.core.state.tree.leaf_count if mask else 1
        for index in range(count):
            source.tick(5)
            body = bytes((level, 0, index, 0, mask, 0))
            source.feed(source.message(wire.FETCH, 0, 0, 2, body))
            answer = source.sent(kind, 0)[-1][16:-8]
            if bench.core.transfer.running:
                bench.feed(bench.message(kind, bench.core.transfer._source, 0, 2, answer))
    assert not bench.core.transfer.running


def test_image_that_has_rotted_is_written_whole_again():
    """Also the block that no later batch changes: the second client's part of the table."""
    source = Bench(3)
    bench = Device(2)
    for node in (source, bench):
        node.agree(1, node.batch([node.request(1, 1, b"\x04a")]))
        node.execute(2, 2)
        node.stabilise(2)
    for address in range(bench.map["pages"], bench.map["results"], 8):
        bench.store.octets[address] ^= 1
    bench.restart()
    assert bench.core.transfer.running
    fetch_from(source, bench)
    for seqno in (4, 6):
        bench.execute(seqno - 1, seqno - 1)
        bench.execute(seqno, seqno)
        bench.stabilise(seqno)
        bench.restart()
        assert mark(bench) == (seqno, seqno) and not bench.core.transfer.running


def test_result_that_came_with_a_fetched_state_is_told_by_its_digest():
    """It was never here: nothing is kept in its name."""
    source = Bench(3)
    for seqno in (1, 2):
        source.execute(seqno, seqno, LONG)
    source.stabilise(2)
    bench = Device(2)
    bench.core.transfer.start(2, source.own_checkpoint(2), 0)
    fetch_from(source, bench)
    bench.stabilise(2)
    for _ in range(2):
        assert repeated(bench, 2)[0] & wire.FLAG_DIGEST
        bench.restart()
