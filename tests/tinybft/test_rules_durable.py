"""Durable before sent: from the memory as it was when a message left, nothing contradicts it."""

from tests.tinybft.bench import u32
from tests.tinybft.durable import (
    MODES,
    OTHER,
    Device,
    ask,
    every_cut,
    every_moment,
    every_write,
    leave,
    tempt,
)
from tests.tinybft.test_rules_new_view_backup import agree_in, of_view, wanted
from tests.tinybft.views import NULL, acknowledge, elect, join, one, pre_prepared, prepared, where
from tinybft import faults, wire
from tinybft.layout import SLOT_HEADER_LENGTH

# --- all of it: every message of a story, every temptation ---


def normal_case(bench):
    """Batches of every phase, two checkpoints, of which one is stable."""
    for seqno in (1, 2, 3, 4):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    prepared(bench, 5)
    if bench.own_id:
        pre_prepared(bench, 6)


def as_primary(bench):
    for number in (1, 2, 3, 4):
        assert bench.feed(bench.request(4, number, b"\x04%d" % number)) == 0
        digest = one(bench, number).digest
        for sender in (1, 2) if number < 4 else ():
            bench.prepare(sender, number, digest)
        for sender in (1, 2) if number < 3 else ():
            bench.commit(sender, number, digest)


def two_views(bench):
    """View 1 begins over what was prepared in view 0; batches of view 1; view 2 is asked for."""
    first = bench.execute(1, 1).digest
    second = prepared(bench, 2)
    third = pre_prepared(bench, 3)
    p = ((1, 0, first), (2, 0, second))
    bench.begin_view(1, (first, second), p, p + ((3, 0, third),))
    for seqno, digest in ((1, first), (2, second)):
        agree_in(bench, 1, seqno, digest)
    prepared(bench, 3, 7, 1)
    join(bench, 2)


def as_new_primary(bench):
    """Own id 1."""
    first = prepared(bench, 1)
    claim = ((1, 0, first),)
    members = [bench.view_change(sender, 1, p=claim, q=claim) for sender in (0, 2, 3)]
    for message in members:
        assert bench.feed(message) == 0
    acknowledge(bench, members)
    assert where(bench) == (1, True)
    bench.feed(bench.request(4, 2, b"\x042"))
    for sender in (2, 3):
        bench.prepare(sender, 1, first, 1)
        bench.prepare(sender, 2, one(bench, 2).digest, 1)


def agreed_again(bench):
    """What is executed, and its checkpoint told, is agreed once more in view 1."""
    claims = [(seqno, 0, bench.execute(seqno, seqno).digest) for seqno in (1, 2, 3)]
    digests = [row[2] for row in claims]
    bench.begin_view(1, digests, claims, claims)
    for seqno in (1, 2):
        agree_in(bench, 1, seqno, digests[seqno - 1])


STORIES = (
    (2, normal_case),
    (0, as_primary),
    (3, two_views),
    (2, agreed_again),
    (1, as_new_primary),
)


def test_no_message_is_contradicted_after_a_restart():
    for mode in MODES:
        for own_id, story in STORIES:
            bench = Device(own_id, mode)
            story(bench)
            kinds = {message[1] for _, message in bench.out}
            for i in every_moment(bench):
                assert bench.core.durability.trusted_at_boot, i
                tempt(bench)
            assert len(kinds) > 3


def test_nothing_is_contradicted_when_power_goes_between_two_writes():
    for own_id, story in STORIES:
        bench = Device(own_id)
        story(bench)
        for _ in every_write(bench):
            assert bench.core.durability.trusted_at_boot
            tempt(bench)


def test_nothing_is_contradicted_when_power_goes_within_a_write():
    for own_id, story in STORIES:
        bench = Device(own_id)
        story(bench)
        for _ in every_cut(bench):
            assert bench.core.durability.trusted_at_boot
            tempt(bench)


def test_no_message_is_contradicted_after_two_restarts():
    for own_id, story in STORIES:
        bench = Device(own_id)
        story(bench)
        for _ in every_moment(bench):
            bench.tick(3)
            bench.restart()
            tempt(bench)


# --- votes ---


def votes(bench, kind, view=0):
    """{(seqno, digest)} of the votes of a view that were sent since the restart."""
    found = set()
    for _, m in bench.out:
        if m[1] == kind and m[8:12] == u32(view):
            found.add((int.from_bytes(m[12:16], "little"), m[16:48]))
    return found


def test_prepare_is_said_again_and_no_other():
    for mode in MODES:
        bench = Device(2, mode)
        digest = pre_prepared(bench, 1)
        bench.restart()
        assert bench.pre_prepare(0, 1, one(bench, 7)) == faults.NOT_NEEDED
        ask(bench)
        assert votes(bench, wire.PREPARE) == {(1, digest)}
        assert votes(bench, wire.COMMIT) == set()


def test_digest_binds_where_the_batch_was_not_written_yet():
    """Power went as PREPARE left: anybody may bring the batch, nobody another one."""
    for mode in MODES:
        bench = Device(2, mode)
        digest = pre_prepared(bench, 1)
        bench.restart(bench.image_of(wire.PREPARE))
        assert bench.core.durability.trusted_at_boot
        for sender in (0, 3):
            assert bench.pre_prepare(sender, 1, one(bench, 7)) != 0
        ask(bench)
        assert votes(bench, wire.PREPARE) == set()
        bench.prepare(3, 1, digest)
        assert votes(bench, wire.COMMIT) == set(), "COMMIT says that the batch is here"
        assert bench.pre_prepare(3, 1, one(bench, 1)) == 0
        assert votes(bench, wire.PREPARE) == votes(bench, wire.COMMIT) == {(1, digest)}
        bench.restart(bench.image_of(wire.COMMIT))
        assert leave(bench)[1] == [(1, 0, digest)]


def test_batch_that_was_not_written_yet_is_asked_for():
    bench = Device(2)
    pre_prepared(bench, 1)
    bench.restart(bench.image_of(wire.PREPARE))
    bench.tick(bench.config.STATUS_MS + 1)
    status = bench.sent(wire.STATUS, -1)[0]
    assert (status[21], status[22]) == (1, 0)


def test_batch_that_was_not_written_yet_is_in_q():
    for mode in MODES:
        bench = Device(2, mode)
        digest = pre_prepared(bench, 1)
        bench.restart(bench.image_of(wire.PREPARE))
        assert leave(bench)[1:] == ([], [(1, 0, digest)])
        bench.restart()
        assert leave(bench)[1:] == ([], [(1, 0, digest)])


def test_own_proposal_whose_batch_was_not_written_yet_is_no_other():
    for mode in MODES:
        bench = Device(0, mode)
        request = bench.request(4, 1, b"\x041")
        bench.feed(request)
        batch = bench.batch([request])
        bench.restart(bench.image_of(wire.PRE_PREPARE))
        bench.feed(bench.request(3, 1, b"\x04other"))
        bench.tick(2)
        ask(bench)
        assert not [m for m in bench.sent(wire.PRE_PREPARE) if m[12:16] == u32(1)]
        assert bench.pre_prepare(2, 1, batch) == 0
        for sender in (1, 2):
            bench.prepare(sender, 1, batch.digest)
        assert votes(bench, wire.COMMIT) == {(1, batch.digest)}
        assert leave(bench)[1] == [(1, 0, batch.digest)]


def test_batch_is_there_before_commit_leaves():
    """The one that P names must be given to who asks for it: one in the store is enough."""
    for mode in MODES:
        bench = Device(2, mode)
        batch = one(bench, 1)
        assert prepared(bench, 1) == batch.digest
        bench.restart(bench.image_of(wire.COMMIT))
        for sender in (0, 1, 3):
            bench.commit(sender, 1, batch.digest)
        assert bench.ran() == [b"\x041"]


def test_what_was_accepted_is_in_q_and_what_prepared_is_in_p():
    for mode in MODES:
        bench = Device(2, mode)
        first = pre_prepared(bench, 1)
        image = bench.image_of(wire.PREPARE)
        bench.restart(image)
        assert leave(bench)[1:] == ([], [(1, 0, first)])
        bench = Device(2, mode)
        assert prepared(bench, 1) == first
        image = bench.image_of(wire.COMMIT)
        bench.restart(image)
        ask(bench)
        assert votes(bench, wire.COMMIT) == {(1, first)}
        assert leave(bench)[1:] == ([(1, 0, first)], [(1, 0, first)])


def test_prepare_is_counted_once_after_a_restart():
    """The own one is among the 2f: one more prepares, the primary's never does."""
    bench = Device(2)
    digest = pre_prepared(bench, 1)
    bench.restart()
    assert bench.prepare(0, 1, digest) == faults.SENDER
    assert not bench.sent(wire.COMMIT)
    bench.prepare(3, 1, digest)
    assert votes(bench, wire.COMMIT) == {(1, digest)}


def test_commit_is_counted_once_after_a_restart():
    bench = Device(2)
    digest = prepared(bench, 1)
    bench.restart()
    bench.commit(0, 1, digest)
    assert bench.ran() == []
    bench.commit(3, 1, digest)
    assert bench.ran() == [b"\x041"]
    assert not bench.sent(wire.COMMIT, -1), "it was said"


def test_proposal_is_said_again_and_no_other():
    for mode in MODES:
        bench = Device(0, mode)
        request = bench.request(4, 1, b"\x041")
        bench.feed(request)
        batch = bench.batch([request])
        bench.restart()
        bench.feed(bench.request(3, 1, b"\x04other"))
        bench.feed(bench.request(4, 2, b"\x04other"))
        bench.tick(2)
        ask(bench)
        first = [m for m in bench.sent(wire.PRE_PREPARE) if m[12:16] == u32(1)]
        assert first and all(request in m for m in first)
        for sender in (1, 2):
            bench.prepare(sender, 1, batch.digest)
        assert votes(bench, wire.COMMIT) == {(1, batch.digest)}
        assert leave(bench)[1] == [(1, 0, batch.digest)]


def test_next_proposal_gets_the_next_seqno():
    bench = Device(0)
    for number in (1, 2):
        bench.feed(bench.request(4 - number, number, b"\x04%d" % number))
    bench.restart()
    bench.feed(bench.request(4, 1, b"\x04new"))
    bench.tick(1)
    fresh = bench.sent(wire.PRE_PREPARE, -1)
    assert [m[12:16] for m in fresh if b"\x04new" in m] in ([], [u32(3)])
    for m in bench.sent(wire.PRE_PREPARE):
        assert (b"\x04new" in m) == (m[12:16] == u32(3))


def test_bodies_are_there_for_who_lacks_them():
    """Batches by digest: whoever asks for the body gets it after the restart."""
    for mode in MODES:
        bench = Device(2, mode)
        bench.feed(bench.request(4, 1, b"\x041"))
        batch = one(bench, 1, inline=False)
        assert bench.pre_prepare(0, 1, batch) == 0
        bench.restart()
        for sender in (1, 3):
            bench.prepare(sender, 1, batch.digest)
            bench.commit(sender, 1, batch.digest)
        assert bench.ran() == [b"\x041"]


def test_votes_of_others_count_anew():
    bench = Device(2)
    digest = pre_prepared(bench, 1)
    bench.commit(0, 1, digest)
    bench.commit(1, 1, digest)
    bench.restart()
    bench.prepare(3, 1, digest)
    assert bench.ran() == []
    bench.commit(0, 1, digest)
    bench.commit(1, 1, digest)
    assert bench.ran() == [b"\x041"]


def test_slot_serves_the_seqno_one_window_later():
    for mode in MODES:
        bench = Device(2, mode)
        for seqno in (1, 2, 3, 4):
            bench.execute(seqno, seqno)
        bench.stabilise(4)
        fifth = prepared(bench, 5)
        sixth = pre_prepared(bench, 6)
        bench.restart()
        assert bench.progress.low_mark == 4
        ask(bench)
        assert votes(bench, wire.COMMIT) == {(5, fifth)}
        assert votes(bench, wire.PREPARE) == {(6, sixth)}
        assert leave(bench)[1:] == ([(5, 0, fifth)], [(5, 0, fifth), (6, 0, sixth)])


def test_slot_that_is_stable_is_no_claim_after_a_restart():
    bench = Device(2)
    bench.execute(1, 1)
    bench.execute(2, 2)
    bench.stabilise(2)
    bench.restart()
    assert leave(bench)[1:] == ([], [])


# --- batches that others committed ---


def overruled(mode):
    """The primary proposed one batch here, the others committed another one."""
    bench = Device(2, mode)
    bench.execute(1, 1)
    said = pre_prepared(bench, 2, 2)
    other = one(bench, 7)
    for sender in (0, 1, 3):
        bench.commit(sender, 2, other.digest)
    bench.words.overruled = (2,)
    bench.pre_prepare(1, 2, other)
    assert bench.progress.last_executed == 2
    return bench, said, other


def test_batch_that_others_committed_is_executed_again_and_not_voted_for():
    for mode in MODES:
        bench, said, other = overruled(mode)
        digest = bench.own_checkpoint(2)
        bench.restart(bench.image_of(wire.CHECKPOINT))
        assert bench.progress.last_executed == 2
        assert bench.own_checkpoint(2) == digest
        bench.pre_prepare(0, 2, other)
        for sender in (1, 3):
            bench.prepare(sender, 2, other.digest)
        ask(bench)
        voted = votes(bench, wire.PREPARE) | votes(bench, wire.COMMIT)
        assert (2, other.digest) not in voted and (2, said) not in votes(bench, wire.COMMIT)


def test_batch_learned_between_views_is_executed_again():
    """This replica left view 0; the others committed there."""
    for mode in MODES:
        bench = Device(2, mode)
        first = bench.execute(1, 1).digest
        batch = one(bench, 2)
        join(bench, 1)
        for sender in (0, 1, 3):
            bench.commit(sender, 2, batch.digest)
        bench.pre_prepare(0, 2, batch)
        digest = bench.own_checkpoint(2)
        bench.restart(bench.image_of(wire.CHECKPOINT))
        assert where(bench) == (1, False)
        assert bench.progress.last_executed == 2
        assert bench.own_checkpoint(2) == digest
        ask(bench)
        assert votes(bench, wire.PREPARE) == votes(bench, wire.COMMIT) == set()
        assert leave(bench)[1] == [(1, 0, first)]


def test_overruled_batch_at_every_write():
    """Whichever write was the last one before the power went, or was under way."""
    for mode in MODES:
        for moments in (every_write, every_cut):
            bench, _, _ = overruled(mode)
            for _ in moments(bench):
                tempt(bench)


# --- views ---


def test_view_change_is_sent_again_byte_by_byte():
    for mode in MODES:
        bench = Device(2, mode)
        prepared(bench, 1)
        join(bench, 1)
        message = bench.sent(wire.VIEW_CHANGE, -1)[0]
        bench.restart(bench.image_of(wire.VIEW_CHANGE))
        assert where(bench) == (1, False)
        ask(bench)
        again = [m for m in bench.sent(wire.VIEW_CHANGE) if m[2] == 2]
        assert again and all(m == message for m in again)


def test_view_that_was_left_is_left_after_a_restart():
    bench = Device(2)
    join(bench, 1)
    bench.restart()
    batch = one(bench, 1)
    bench.pre_prepare(0, 1, batch)
    for sender in (1, 3):
        bench.prepare(sender, 1, batch.digest)
    ask(bench)
    assert not bench.sent(wire.PREPARE) and not bench.sent(wire.COMMIT)
    assert where(bench) == (1, False)


def test_commits_of_the_view_left_commit_after_a_restart():
    """What this replica prepared there, the others committed without it."""
    bench = Device(2)
    digest = prepared(bench, 1)
    join(bench, 1)
    bench.restart()
    for sender in (0, 1, 3):
        bench.commit(sender, 1, digest)
    assert bench.ran() == [b"\x041"]
    assert not bench.sent(wire.COMMIT)


def test_p_and_q_of_all_views_outlive_a_restart():
    bench = Device(3)
    first = prepared(bench, 1, 1)
    bench.begin_view(1)
    second = pre_prepared(bench, 1, 2, 1)
    bench.restart()
    claims = leave(bench)
    assert claims[1:] == ([(1, 0, first)], sorted([(1, 0, first), (1, 1, second)]))
    bench.restart()
    assert leave(bench)[1:] == claims[1:]


def test_batch_that_p_names_is_held_after_a_restart():
    """The slot serves another batch since; the batch that prepared is in the second ring."""
    for mode in MODES:
        bench = Device(3, mode)
        first = prepared(bench, 1, 1)
        bench.begin_view(1)
        pre_prepared(bench, 1, 2, 1)
        bench.restart()
        claim = ((1, 0, first),)
        bench.begin_view(6, (first,), claim, claim)
        assert of_view(bench, wire.PREPARE, 6) == [(1, first)]


def test_votes_of_an_earlier_view_do_not_count_after_a_restart():
    for mode in MODES:
        bench = Device(3, mode)
        digest = prepared(bench, 1)
        claim = ((1, 0, digest),)
        bench.begin_view(1, (digest,), claim, claim)
        bench.restart(bench.image_of(wire.PREPARE))
        ask(bench)
        assert votes(bench, wire.PREPARE, 1) == {(1, digest)}
        assert not bench.sent(wire.COMMIT)
        bench.prepare(0, 1, digest, 1)
        assert votes(bench, wire.COMMIT, 1) == {(1, digest)}
        bench.restart()
        assert leave(bench)[1:] == ([(1, 1, digest)], [(1, 1, digest)])


def test_slot_holds_another_batch_in_the_new_view():
    for mode in MODES:
        bench = Device(3, mode)
        first = pre_prepared(bench, 1, 1)
        bench.begin_view(1)
        second = pre_prepared(bench, 1, 2, 1)
        image = bench.image_of(wire.PREPARE)
        bench.restart()
        assert where(bench) == (1, True)
        ask(bench)
        assert votes(bench, wire.PREPARE, 1) == {(1, second)}
        assert bench.pre_prepare(1, 1, one(bench, 1), 1) == faults.NOT_NEEDED
        assert leave(bench)[2] == [(1, 0, first), (1, 1, second)]
        bench.words.view = 0  # it left no view yet
        bench.words.view_changes = {}
        bench.restart(image)
        assert bench.pre_prepare(1, 1, one(bench, 1), 1) != 0
        assert leave(bench)[2] == [(1, 0, first), (1, 1, second)]


def test_batch_that_was_not_selected_may_be_replaced_after_a_restart():
    bench = Device(3)
    pre_prepared(bench, 1, 1)
    bench.begin_view(1)
    second = pre_prepared(bench, 2, 2, 1)
    bench.restart()
    third = pre_prepared(bench, 1, 3, 1)
    assert votes(bench, wire.PREPARE, 1) == {(1, third)}
    ask(bench)
    assert votes(bench, wire.PREPARE, 1) == {(1, third), (2, second)}


def test_null_of_a_new_view():
    for mode in MODES:
        bench = Device(2, mode)
        second = prepared(bench, 2)
        claim = ((2, 0, second),)
        bench.begin_view(1, (NULL, second), claim, claim)
        bench.prepare(3, 1, NULL, 1)
        assert votes(bench, wire.COMMIT, 1) == {(1, NULL)}
        bench.restart(bench.image_of(wire.COMMIT))
        assert bench.pre_prepare(1, 1, one(bench, 7), 1) == faults.NOT_NEEDED
        ask(bench)
        assert votes(bench, wire.PREPARE, 1) == {(2, second)}
        assert votes(bench, wire.COMMIT, 1) == {(1, NULL)}
        agree_in(bench, 1, 1, NULL)
        agree_in(bench, 1, 2, second)
        assert bench.ran() == [b"\x042"]
        digest = bench.own_checkpoint(2)
        bench.restart()
        assert bench.progress.last_executed == 2 and bench.own_checkpoint(2) == digest
        p = [(1, 1, NULL), (2, 1, second)]
        assert leave(bench)[1] == p


def test_what_a_new_view_names_is_voted_for_after_a_restart():
    """Power went after the first vote in the new view: the others are said now."""
    bench = Device(2, PIPELINE=3)
    digests = [prepared(bench, seqno) for seqno in (1, 2, 3)]
    claims = [(seqno, 0, digests[seqno - 1]) for seqno in (1, 2, 3)]
    bench.begin_view(1, digests, claims, claims)
    first = [i for i in range(len(bench.out)) if bench.out[i][1][8:12] == u32(1)]
    first = [i for i in first if bench.out[i][1][1] == wire.PREPARE][0]
    bench.restart(bench.images[first])
    assert of_view(bench, wire.PREPARE) == [(2, digests[1]), (3, digests[2])]
    ask(bench)
    assert votes(bench, wire.PREPARE, 1) == set([(i, digests[i - 1]) for i in (1, 2, 3)])


def test_batch_that_was_executed_and_is_not_any_more_is_not_given_up():
    """Up to K - 1 batches are executed again only when they are committed again. The second ring
    has no place for them, so that a late pre-prepare must not have theirs in the first one."""
    bench = Device(2, WINDOW=8)
    for seqno in (1, 2, 3):
        bench.execute(seqno, seqno)
    digests = [prepared(bench, seqno) for seqno in (4, 5)]
    held = bench.core.slots.find(3)
    digest_at = bench.core.slots.digest_at(held)
    third = bytes(bench.core.slots.buf[digest_at : digest_at + 32])
    bench.restart()
    assert bench.progress.last_executed == 2
    join(bench, 1)
    for seqno, number in ((3, 77), (4, 78), (5, 79)):
        assert bench.pre_prepare(0, seqno, one(bench, number), 0) == faults.NOT_NEEDED
        assert bench.pre_prepare(3, seqno, one(bench, number + 3), 0) == faults.NOT_NEEDED
    for seqno, digest in zip((3, 4, 5), [third] + digests):  # noqa: B905 - MicroPython
        assert bench.core.slots.find_batch(seqno, digest, 0) >= 0


def test_new_view_is_handed_on_after_a_restart():
    for mode in MODES:
        bench = Device(2, mode)
        members = wanted(bench)
        message = bench.new_view(1, members)
        assert bench.feed(message) == 0
        pre_prepared(bench, 1, 1, 1)
        bench.restart(bench.image_of(wire.PREPARE))
        for sender in (0, 3):
            bench.status(sender, 1, False, turn=1)
        assert message in bench.sent(wire.NEW_VIEW)
        acks = bench.sent(wire.VIEW_CHANGE_ACK)
        assert acks and acks[0][16:49] == b"\x01" + bench.digest_of(message)


def test_entries_of_a_new_view_cannot_be_replaced_after_a_restart():
    bench = Device(2)
    digest = prepared(bench, 2)
    claim = ((2, 0, digest),)
    bench.begin_view(1, (NULL, digest), claim, claim)
    bench.restart()
    for seqno in (1, 2):
        assert bench.pre_prepare(1, seqno, one(bench, 7), 1) == faults.NOT_NEEDED


def test_another_view_change_of_the_same_view_is_not_confirmed():
    for mode in MODES:
        bench = Device(2, mode)
        join(bench, 5)
        first = bench.view_change(3, 5)
        bench.feed(first)
        assert [m[16:49] for m in bench.sent(wire.VIEW_CHANGE_ACK)][-1][0] == 3
        named = bench.digest_of(bench.view_change(3, 5))
        bench.restart()
        other = bench.view_change(3, 5, q=((1, 0, OTHER),))
        assert bench.feed(other) == 0
        ask(bench)
        assert not [m for m in bench.sent(wire.VIEW_CHANGE_ACK) if m[16] == 3]
        bench.restart()
        assert bench.feed(first) == 0
        acks = [m[17:49] for m in bench.sent(wire.VIEW_CHANGE_ACK, -1) if m[16] == 3]
        assert acks == [named]


def test_acks_of_a_later_view_are_free():
    bench = Device(2)
    join(bench, 5)
    bench.feed(bench.view_change(3, 5))
    bench.restart()
    join(bench, 9)
    digest = bench.digest_of(bench.view_change(3, 9))
    assert digest in [m[17:49] for m in bench.sent(wire.VIEW_CHANGE_ACK, -1)]
    bench.restart()
    ask(bench)
    bench.feed(bench.view_change(3, 9))
    assert digest in [m[17:49] for m in bench.sent(wire.VIEW_CHANGE_ACK, -1)]


def test_new_primary_says_no_other_new_view():
    for mode in MODES:
        bench = Device(1, mode)
        acknowledge(bench, elect(bench))
        message = bench.sent(wire.NEW_VIEW, -1)[0]
        bench.restart(bench.image_of(wire.NEW_VIEW))
        assert where(bench) == (1, True)
        for sender in (0, 2, 3):
            bench.status(sender, 1, False)
        again = bench.sent(wire.NEW_VIEW)
        assert again and all(m[:-24] == message[:-24] for m in again)


def test_view_that_was_asked_for_is_not_fallen_back_from():
    bench = Device(2)
    join(bench, 5)
    bench.restart()
    for sender in (0, 1, 3):
        bench.feed(bench.view_change(sender, 1))
    assert where(bench) == (5, False)
    assert [m for m in bench.sent(wire.VIEW_CHANGE) if m[2] == 2] == []


def test_timer_of_the_next_view_runs_after_a_restart():
    bench = Device(2)
    join(bench, 1)
    bench.restart()
    for sender in (0, 3):
        bench.feed(bench.view_change(sender, 1))
    bench.tick(3 * bench.config.VIEW_CHANGE_MS)
    assert where(bench) == (2, False)


# --- batches that came back without what was written behind their digest ---


def test_named_batch_that_others_commit_between_views_is_written_before_its_checkpoint():
    for mode in MODES:
        bench = Device(2, mode)
        bench.execute(1, 1)
        batch = one(bench, 2)
        assert pre_prepared(bench, 2) == batch.digest
        bench.restart(bench.image_of(wire.PREPARE))
        for sender in (0, 1):
            bench.commit(sender, 1, bench.batch([bench.request(4, 1, b"\x04x")]).digest)
        join(bench, 1)
        for sender in (0, 1, 3):
            bench.commit(sender, 2, batch.digest)
        assert bench.pre_prepare(3, 2, batch) == 0
        digest = bench.own_checkpoint(2)
        bench.restart(bench.image_of(wire.CHECKPOINT))
        assert bench.progress.last_executed == 2 and bench.own_checkpoint(2) == digest


def test_named_batch_is_no_claim_of_a_view_in_which_nothing_was_said_of_it():
    bench = Device(2)
    digest = pre_prepared(bench, 1)
    bench.restart(bench.image_of(wire.PREPARE))
    claim = ((1, 0, digest),)
    bench.begin_view(1, (digest,), claim, claim)
    assert of_view(bench, wire.PREPARE) == []
    assert leave(bench)[1:] == ([], [(1, 0, digest)])


def test_batch_that_others_committed_is_no_claim():
    """This replica said nothing of it that a view change could count."""
    bench, said, other = overruled(MODES[0])
    for restarts in (False, True):
        if restarts:
            bench.restart()
        assert (2, other.digest) not in [(row[0], row[2]) for row in leave(bench)[2]]


def test_header_is_written_once():
    bench = Device(2)
    digest = pre_prepared(bench, 1)
    bench.restart(bench.image_of(wire.PREPARE))
    assert bench.pre_prepare(0, 1, one(bench, 1)) == 0
    bench.prepare(3, 1, digest)
    assert votes(bench, wire.COMMIT) == {(1, digest)}
    assert [len(row[3]) for row in bench.writes].count(51) == 0, "only the batch and a flag"


def test_primary_does_not_count_itself_as_a_backup_after_a_restart():
    bench = Device(0)
    request = bench.request(4, 1, b"\x041")
    bench.feed(request)
    digest = bench.batch([request]).digest
    bench.restart()
    bench.prepare(1, 1, digest)
    assert not bench.sent(wire.COMMIT)
    bench.prepare(2, 1, digest)
    assert votes(bench, wire.COMMIT) == {(1, digest)}


def test_batch_is_written_once():
    bench = Device(2)
    digest = pre_prepared(bench, 1)
    bench.restart()
    bench.prepare(3, 1, digest)
    assert votes(bench, wire.COMMIT) == {(1, digest)}
    assert [len(row[3]) for row in bench.writes] == [1], "the flag"


def test_commits_of_a_later_view_that_was_left_commit_after_a_restart():
    bench = Device(3)
    bench.begin_view(1)
    digest = prepared(bench, 1, 1, 1)
    join(bench, 2)
    bench.restart()
    for sender in (0, 1):
        assert bench.commit(sender, 1, digest, 1) == 0
    assert bench.ran() == [b"\x041"]


def test_batch_of_p_that_was_lost_is_kept_again_when_it_prepares_again():
    bench = Device(3)
    digest = prepared(bench, 1)
    claim = ((1, 0, digest),)
    bench.begin_view(1, (digest,), claim, claim)
    stride = (bench.map["stable"] - bench.map["slots"]) // bench.config.SLOT_COUNT
    bench.rot("slots", (bench.config.WINDOW + 1) * stride + SLOT_HEADER_LENGTH + 8 + 12)
    bench.restart()
    bench.prepare(2, 1, digest, 1)
    bench.begin_view(4)
    pre_prepared(bench, 1, 2, 4)
    bench.restart()
    claim = ((1, 1, digest),)
    bench.begin_view(8, (digest,), claim, claim)
    assert of_view(bench, wire.PREPARE, 8) == [(1, digest)]


# --- a view that began behind a checkpoint ---


def test_nothing_is_ordered_at_or_below_the_checkpoint_of_the_view_after_a_restart():
    bench = Device(2)
    bench.begin_view(1, c=((0, bench.genesis), (2, OTHER)), checkpoint=(2, OTHER))
    bench.restart()
    for seqno in (1, 2):
        batch = one(bench, seqno)
        assert bench.pre_prepare(1, seqno, batch, 1) == faults.OUTSIDE_WINDOW
