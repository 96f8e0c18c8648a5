"""Turns on a shared channel: who speaks when, what is not said, what silence means."""

from tests.tinybft.bench import Bench, make_config, u32
from tinybft import wire

STAGGER = 4
REPAIR = 20
CLIENT = 4
OTHER = bytes(range(32))


def on_air(own_id=1, **changed):
    """A replica on a shared channel. With f = 1 the first backup of seqno s is 1 + (2 - s) % 3."""
    changed = {"STAGGER_MS": STAGGER, "REPAIR_MS": REPAIR, "RETRY_MS": 100} | changed
    return Bench(own_id, make_config(**changed))


def first_of(seqno):
    return 1 + (2 - seqno) % 3


def proposed(bench, seqno=1, number=1):
    batch = bench.batch([bench.request(CLIENT, number, b"\x04x")])
    assert bench.pre_prepare(0, seqno, batch) == 0
    return batch


def test_first_backup_says_prepare_at_once():
    bench = on_air(first_of(1))
    proposed(bench)
    assert len(bench.sent(wire.PREPARE, -1)) == 1


def test_who_is_first_changes_with_the_seqno():
    assert sorted(first_of(seqno) for seqno in (1, 2, 3)) == [1, 2, 3]
    for seqno in (1, 2, 3):
        bench = on_air(first_of(seqno))
        proposed(bench, seqno)
        assert len(bench.sent(wire.PREPARE, -1)) == 1


def test_others_wait_for_their_turn():
    """One that was first is silent: they say PREPARE after all."""
    waited = []
    for own_id in {1, 2, 3} - {first_of(1)}:
        bench = on_air(own_id)
        proposed(bench)
        ms = 0
        while not bench.sent(wire.PREPARE, -1):
            bench.tick(1)
            ms += 1
        waited.append(ms)
    assert sorted(waited) == [STAGGER, 2 * STAGGER]


def test_who_is_prepared_before_its_turn_says_commit_alone():
    own_id = first_of(1) % 3 + 1
    bench = on_air(own_id)
    batch = proposed(bench)
    bench.prepare(first_of(1), 1, batch.digest)
    bench.tick(3 * STAGGER)
    assert bench.sent(wire.PREPARE) == []
    assert [m[16:48] for m in bench.sent(wire.COMMIT, -1)] == [batch.digest]


def test_vote_that_waits_counts_here():
    """It is durable already."""
    own_id = first_of(1) % 3 + 1
    bench = on_air(own_id)
    batch = proposed(bench)
    bench.prepare(first_of(1), 1, batch.digest)
    for sender in {1, 2, 3} - {own_id}:
        bench.commit(sender, 1, batch.digest)
    assert bench.progress.last_executed == 1


def test_turns_of_commit_differ():
    """Those whom the first PREPARE made prepared; then the first backup and the primary."""
    waited = {}
    for own_id in range(4):
        bench = on_air(own_id)
        batch = bench.batch([bench.request(CLIENT, 1, b"\x04x")])
        if own_id == 0:
            bench.feed(bench.request(CLIENT, 1, b"\x04x"))
        else:
            bench.pre_prepare(0, 1, batch)
        for sender in {1, 2, 3} - {own_id}:
            bench.prepare(sender, 1, batch.digest)
        ms = 0
        while not bench.sent(wire.COMMIT, -1):
            bench.tick(1)
            ms += 1
            assert ms < 100
        waited[own_id] = ms
    others = {1, 2, 3} - {first_of(1)}
    assert sorted(waited[i] for i in others) == [0, STAGGER]
    assert sorted((waited[0], waited[first_of(1)])) == [0, STAGGER]


def test_vote_of_a_view_that_was_left_is_not_said():
    own_id = first_of(1) % 3 + 1
    bench = on_air(own_id)
    proposed(bench)
    bench.core.view_change.enter(1)
    assert not bench.progress.active
    bench.tick(3 * STAGGER)
    assert bench.sent(wire.PREPARE) == []


def test_next_batch_sends_the_vote_that_waits():
    own_id = 1
    seqno = next(s for s in (1, 2, 3) if first_of(s) != own_id and first_of(s + 1) != own_id)
    bench = on_air(own_id, PIPELINE=4)
    proposed(bench, seqno, 1)
    assert bench.sent(wire.PREPARE) == []
    proposed(bench, seqno + 1, 2)
    assert [m[12:16] for m in bench.sent(wire.PREPARE)] == [u32(seqno)]


# --- checkpoints in COMMITs ---


def test_commit_carries_half_of_the_checkpoint():
    bench = on_air()
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    assert bench.sent(wire.CHECKPOINT) == []
    root = bytearray(32)
    assert bench.core.state.root_into(2, root, 0)
    bench.execute(3, 3)
    bench.tick(2 * STAGGER)
    message = [m for m in bench.sent(wire.COMMIT, -1) if m[12:16] == u32(3)][0]
    assert message[0] & 15 == wire.FLAG_CHECKPOINT and message[48:64] == root[:16]
    assert [m[0] & 15 for m in bench.sent(wire.COMMIT, -1) if m[12:16] != u32(3)] == [0, 0]
    bench.tick(50)
    assert bench.sent(wire.CHECKPOINT, -1) == []


def at_checkpoint(bench):
    """Two batches are executed; the digest of the checkpoint behind them."""
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    root = bytearray(32)
    assert bench.core.state.root_into(2, root, 0)
    return bytes(root)


def attached(bench, sender, seqno, half, view=0, bad_for=()):
    body = OTHER + half
    kind = wire.FLAG_CHECKPOINT
    return bench.feed(bench.message(wire.COMMIT, sender, view, seqno, body, kind, bad_for))


def test_attached_checkpoints_make_it_stable():
    bench = on_air()
    root = at_checkpoint(bench)
    attached(bench, 0, 3, root[:16])
    assert bench.progress.low_mark == 0
    attached(bench, 2, 3, root[:16])
    assert bench.progress.low_mark == 2


def test_attached_checkpoint_counts_once():
    bench = on_air()
    root = at_checkpoint(bench)
    for _ in range(3):
        attached(bench, 2, 3, root[:16])
        bench.checkpoint(2, 2, root)
    assert bench.progress.low_mark == 0


def test_attached_checkpoint_must_match():
    bench = on_air()
    root = at_checkpoint(bench)
    wrong = bytes((root[0] ^ 1,)) + root[1:16]
    for sender in (0, 2, 3):
        attached(bench, sender, 3, wrong)
    assert bench.progress.low_mark == 0 and not bench.core.transfer.running


def test_attached_checkpoint_needs_the_tag_of_its_commit():
    bench = on_air()
    root = at_checkpoint(bench)
    for sender in (0, 2, 3):
        attached(bench, sender, 3, root[:16], bad_for=(1,))
    assert bench.progress.low_mark == 0


def test_first_word_of_a_replica_about_a_checkpoint_counts():
    bench = on_air()
    root = at_checkpoint(bench)
    bench.checkpoint(2, 2, OTHER)
    attached(bench, 2, 3, root[:16])
    attached(bench, 0, 3, root[:16])
    assert bench.progress.low_mark == 0
    attached(bench, 3, 3, root[:16])
    assert bench.progress.low_mark == 2


def test_attached_checkpoints_wait_for_the_own_one():
    bench = on_air()
    other = on_air()
    root = at_checkpoint(other)
    for sender in (0, 2):
        attached(bench, sender, 3, root[:16])
    assert at_checkpoint(bench) == root
    assert bench.progress.low_mark == 2


def test_half_a_digest_begins_no_transfer():
    bench = on_air()
    for sender in (0, 2, 3):
        attached(bench, sender, 3, OTHER[:16])
    at_checkpoint(bench)
    assert bench.progress.low_mark == 0 and not bench.core.transfer.running


def test_checkpoint_is_attached_behind_the_window_too():
    """Who lacks it cannot take the batches that it would bring."""
    bench = on_air(WINDOW=4)
    root = at_checkpoint(bench)
    for seqno in (3, 4):
        bench.execute(seqno, seqno)
    assert bench.core.state.root_into(4, bytearray(32), 0) and bench.progress.low_mark == 0
    fourth = bytearray(32)
    bench.core.state.root_into(4, fourth, 0)
    for sender in (0, 2):
        attached(bench, sender, 5, bytes(fourth[:16]), bad_for=(1,))
    assert bench.progress.low_mark == 0
    for sender in (0, 2):
        attached(bench, sender, 5, bytes(fourth[:16]))
    assert bench.progress.low_mark == 4 and root != fourth


def test_without_a_next_batch_the_checkpoint_is_sent():
    bench = on_air()
    root = at_checkpoint(bench)
    for _ in range(40):
        bench.tick(5)
    assert [m[16:48] for m in bench.sent(wire.CHECKPOINT, -1)] == [root]


# --- silence ---


def test_silence_while_a_batch_is_open_asks():
    bench = on_air()
    bench.execute(1, 1)
    del bench.out[:]
    proposed(bench, 2, 2)
    ms = 0
    while not bench.sent(wire.STATUS):
        bench.tick(1)
        ms += 1
        assert ms <= REPAIR // 2 + 3 * STAGGER
    assert ms >= REPAIR // 2


def test_whoever_speaks_ends_the_silence():
    bench = on_air(REPAIR_MS=60)
    proposed(bench)
    for _ in range(2):
        bench.tick(29)
        bench.feed(b"\x10\x05" + bytes(30))  # even if it says nothing
    assert bench.sent(wire.STATUS) == []


def test_idle_replica_says_nothing_in_silence():
    bench = on_air()
    bench.execute(1, 1)
    del bench.out[:]
    for _ in range(4 * REPAIR):
        bench.tick(1)
    assert bench.sent(wire.STATUS) == []


def test_primary_repeats_a_proposal_that_nobody_answers():
    bench = on_air(own_id=0)
    bench.feed(bench.request(CLIENT, 1, b"\x04x"))
    proposal = bench.sent(wire.PRE_PREPARE, -1)
    for _ in range(REPAIR // 2 + STAGGER):
        bench.tick(1)
    assert bench.sent(wire.PRE_PREPARE, -1) == 2 * proposal
    assert bench.sent(wire.STATUS) == []
    for _ in range(5 * REPAIR):
        bench.tick(1)
    assert len(bench.sent(wire.PRE_PREPARE, -1)) == 2 and bench.sent(wire.STATUS)


def test_primary_repeats_no_proposal_of_which_it_knows_the_digest_alone():
    """After a restart: the batch is written when the PRE-PREPARE has left."""
    bench = on_air(own_id=0)
    bench.feed(bench.request(CLIENT, 1, b"\x04x"))
    slots = bench.core.slots
    base = slots.find(1)
    slots.drop_batch(base)
    slots.buf[slots.batch_at(base) + 6] = 0
    for _ in range(REPAIR // 2 + STAGGER):
        bench.tick(1)
    assert len(bench.sent(wire.PRE_PREPARE)) == 1 and bench.sent(wire.STATUS)


def test_primary_that_was_answered_asks():
    bench = on_air(own_id=0)
    bench.feed(bench.request(CLIENT, 1, b"\x04x"))
    batch = bench.batch([bench.request(CLIENT, 1, b"\x04x")])
    bench.prepare(1, 1, batch.digest)
    for _ in range(REPAIR // 2 + STAGGER):
        bench.tick(1)
    assert len(bench.sent(wire.PRE_PREPARE)) == 1 and len(bench.sent(wire.STATUS)) == 1


class Caller:
    """The own client."""

    repeats = 0
    busy = True
    request = None

    def repeat(self, _now):
        self.repeats += 1

    def on_own_result(self, *_):
        pass


def left_out(batches, **changed):
    """The own request waits while others' are ordered; how often it was repeated."""
    bench = on_air(**changed)
    bench.core.client = Caller()
    bench.replica.on_own_request(bytearray(bench.request(1, 1, b"\x04own")))
    for seqno in range(1, batches + 1):
        bench.execute(seqno, seqno)
    return bench.core.client.repeats


def test_own_request_that_two_batches_left_out_is_repeated_once():
    assert [left_out(batches) for batches in (1, 2, 3, 4)] == [0, 1, 1, 1]


def test_full_batches_leave_out_without_loss():
    assert left_out(4, BATCH_COUNT_MAX=1) == 0
