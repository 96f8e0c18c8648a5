"""Repair and state transfer: who may ask, what is believed of a fetched state."""

from tests.tinybft.bench import Bench, make_config, u16, u32
from tinybft import faults, wire

WRONG = bytes(range(1, 33))
SENT_BODY = b"\0" * 9  # STATUS of a replica that has nothing: no slots, three empty masks


def executed(count, own_id=1, **changed):
    bench = Bench(own_id, make_config(**changed))
    for seqno in range(1, count + 1):
        bench.execute(seqno, seqno)
    bench.tick(5)
    del bench.out[:]
    return bench


def ask(bench, sender=3, bad_for=()):
    return bench.feed(
        bench.message(wire.STATUS, sender, 0, 0, SENT_BODY, wire.FLAG_ACTIVE, bad_for)
    )


def test_status_is_answered_by_the_own_votes():
    bench = executed(2)
    assert ask(bench) == 0
    for kind in (wire.COMMIT, wire.CHECKPOINT):
        assert bench.sent(kind, 3), wire.TYPE_NAMES[kind]
        assert not bench.sent(kind, -1)
    assert not bench.sent(wire.PREPARE)  # COMMIT says it, too


def test_status_is_answered_at_most_once_in_half_a_repair_time():
    bench = executed(2, REPAIR_MS=10)
    assert ask(bench) == 0
    answered = len(bench.out)
    bench.tick(4)
    assert ask(bench) == faults.RATE_LIMITED
    assert len(bench.out) == answered
    assert ask(bench, 2) == 0
    bench.tick(1)
    assert ask(bench) == 0


def test_who_still_waits_for_the_request_before_asks_sooner():
    """A client that goes on has its reply: what is missing here was lost, it is not late."""
    asked = []
    for request_id in (1, 2):  # the same again; the next one
        bench = Bench(1, make_config(REPAIR_MS=20))
        assert bench.feed(bench.request(4, 1, b"first")) == 0
        bench.tick(2)
        bench.feed(bench.request(4, request_id, b"first"))
        while not bench.sent(wire.STATUS):
            bench.tick(1)
        asked.append(bench.now)
    assert asked[1] <= asked[0] - 8


def test_status_with_a_bad_tag_is_not_answered():
    bench = executed(2)
    assert ask(bench, 3, (1,)) == faults.MAC
    assert bench.out == []


def test_status_changes_neither_view_nor_window():
    bench = executed(2)
    body = u32(2**31) + bytes(5)
    assert bench.feed(bench.message(wire.STATUS, 3, 9, 2**30, body, wire.FLAG_ACTIVE)) == 0
    progress = bench.progress
    assert (progress.view, progress.low_mark, progress.last_executed) == (0, 0, 2)


def test_everybody_is_asked_in_turn_while_others_talk():
    """Each question is another replica's to answer, as long as one is open; who talks meanwhile
    makes it ask sooner, not the same one again."""
    bench = Bench(1)
    bench.feed(bench.message(wire.COMMIT, 2, 0, 1, WRONG))
    for _ in range(400):
        bench.core.status.on_work()
        bench.tick(1)
    rounds = [m[20] for m in bench.sent(wire.STATUS, -1)]
    assert len(rounds) > 20
    assert rounds == [i + rounds[0] for i in range(len(rounds))]


# --- state transfer ---


def fetch(bench, level, index, mask, bad=False, sender=3):
    body = bytes((level, 0)) + u16(index) + u16(mask)
    message = bytearray(bench.message(wire.FETCH, sender, 0, 2, body))
    message[-1] ^= bad
    return bench.feed(bytes(message))


def holder():
    """A replica that has a stable checkpoint 2, and how to ask it."""
    bench = executed(0)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    bench.tick(5)
    return bench


def test_fetch_with_a_bad_tag_is_not_answered():
    bench = holder()
    assert fetch(bench, 1, 0, 0, True) == faults.MAC
    assert not bench.sent(wire.META_DATA)
    assert fetch(bench, 1, 0, 0) == 0
    assert len(bench.sent(wire.META_DATA, 3)) == 1


def test_primary_that_is_asked_for_its_state_lets_it_be_fetched_but_not_for_ever():
    bench = Bench(0, make_config(REPAIR_MS=2))
    bench.tick(200)
    assert fetch(bench, 1, 0, 0, True) == faults.MAC
    assert bench.feed(bench.request(4, 1, b"before")) == 0
    assert bench.sent(wire.PRE_PREPARE, -1), "a forged question holds nobody up"
    bench = Bench(0, make_config(REPAIR_MS=2))
    bench.tick(200)
    began = bench.now
    assert fetch(bench, 1, 0, 0) == 0
    assert bench.feed(bench.request(4, 1, b"then")) == 0
    assert not bench.sent(wire.PRE_PREPARE)
    while not bench.sent(wire.PRE_PREPARE) and bench.now < began + 1000:
        bench.tick(2)
        fetch(bench, 1, 0, 0)
    assert bench.now - began <= 16 * 2 + 2


def test_primary_proposes_again_when_nobody_asks_it_any_more():
    bench = Bench(0, make_config(REPAIR_MS=2))
    bench.tick(200)
    assert fetch(bench, 1, 0, 0) == 0
    assert bench.feed(bench.request(4, 1, b"then")) == 0
    bench.tick(4 * 2 - 1)
    assert not bench.sent(wire.PRE_PREPARE)
    bench.tick(2)
    assert bench.sent(wire.PRE_PREPARE, -1)


def test_who_fetches_a_state_is_not_hastened_by_what_it_hears():
    bench, _, _ = fetcher()
    status = bench.core.status
    due = status.delay
    status.on_evidence()
    assert status.delay == due


def test_fetched_state_is_told_at_once():
    """What is behind it is about to leave the windows of the others."""
    bench, meta_data, blocks = fetcher()
    assert give(bench, wire.META_DATA, meta_data) == 0
    before = len(bench.sent(wire.STATUS, -1))
    for body in blocks:
        if bench.core.transfer.running:
            give(bench, wire.DATA, body)
    assert not bench.core.transfer.running
    assert len(bench.sent(wire.STATUS, -1)) == before + 1


def test_who_does_not_hold_the_state_any_more_lets_ask_for_a_newer_one():
    bench, _, _ = fetcher()
    bench.tick(1)
    del bench.out[:]
    source = bench.core.transfer._source
    gone = bench.message(wire.CHECKPOINT, source, 0, 8, bytes(32), 2)
    assert bench.feed(gone) == 0
    bench.tick(1)
    assert bench.sent(wire.STATUS, -1)


def fetcher():
    """A replica that was told of checkpoint 2 by f + 1 others, and the answers for it."""
    source = holder()
    digest = source.own_checkpoint(2)
    assert fetch(source, 1, 0, 0, sender=3) == 0
    meta_data = source.sent(wire.META_DATA, 3)[0][16:-8]
    blocks = []
    for index in range(source.core.state.tree.leaf_count):
        source.tick(5)
        fetch(source, 0, index, 1)
        blocks.append(source.sent(wire.DATA, 3)[-1][16:-8])
    bench = Bench(1)
    bench.core.transfer.start(2, digest, 0)
    return bench, meta_data, blocks


def give(bench, kind, body, sender=None, bad=False):
    sender = bench.core.transfer._source if sender is None else sender
    message = bytearray(bench.message(kind, sender, 0, 2, body))
    message[-1] ^= bad
    return bench.feed(bytes(message))


def altered(body, at):
    changed = bytearray(body)
    changed[at] ^= 1
    return bytes(changed)


def test_fetched_state_becomes_the_own():
    bench, meta_data, blocks = fetcher()
    assert give(bench, wire.META_DATA, meta_data) == 0
    for body in blocks:
        if bench.core.transfer.running:
            give(bench, wire.DATA, body)
    assert not bench.core.transfer.running
    assert bench.progress.last_executed == 2
    assert bench.core.execution.last_request_id(4) == 2


def test_tree_that_does_not_hash_to_the_agreed_root_is_refused():
    bench, meta_data, _ = fetcher()
    for at in (8, 12, len(meta_data) - 1):
        assert give(bench, wire.META_DATA, altered(meta_data, at)) == faults.TRANSFER
    assert give(bench, wire.META_DATA, meta_data) == 0


def test_block_that_does_not_hash_to_its_digest_is_refused():
    """F27: each byte matters, as do index and last modification."""
    bench, meta_data, blocks = fetcher()
    give(bench, wire.META_DATA, meta_data)
    first = blocks[0]
    for at in (4, 8, len(first) - 1):
        assert give(bench, wire.DATA, altered(first, at)) == faults.TRANSFER
    assert give(bench, wire.DATA, first) == 0


def test_answers_with_a_bad_tag_are_refused():
    bench, meta_data, blocks = fetcher()
    assert give(bench, wire.META_DATA, meta_data, bad=True) == faults.MAC
    give(bench, wire.META_DATA, meta_data)
    assert give(bench, wire.DATA, blocks[0], bad=True) == faults.MAC


def test_answers_that_nobody_asked_for_are_of_no_use():
    bench, meta_data, blocks = fetcher()
    idle = Bench(1)
    for kind, body in ((wire.META_DATA, meta_data), (wire.DATA, blocks[0])):
        assert idle.feed(idle.message(kind, 3, 0, 2, body)) == faults.NOT_NEEDED
    assert give(bench, wire.DATA, blocks[0]) == faults.NOT_NEEDED


def adopted(stable_votes):
    """Checkpoint 6 by transfer; that many peers call it stable."""
    bench = Bench(1, make_config())
    for sender in (0, 2):
        flags = wire.FLAG_STABLE if stable_votes else 0
        stable_votes -= bool(flags)
        bench.checkpoint(sender, 6, WRONG, flags)
    bench.core.state.take_checkpoint(6)
    bench.progress.last_executed = 6
    bench.core.checkpoints.adopt(6)
    return bench.progress.low_mark


def test_transferred_checkpoint_is_stable_only_if_f_plus_1_say_so():
    """Otherwise slots that somebody still needs would be given up."""
    assert adopted(0) == 2
    assert adopted(1) == 2
    assert adopted(2) == 6
