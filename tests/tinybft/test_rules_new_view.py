"""A NEW-VIEW as its primary makes it (PROTOCOL 6)."""

from tests.tinybft.bench import Bench, make_config, sha256, u16, u32
from tests.tinybft.views import (
    NULL,
    acknowledge,
    announced,
    elect,
    one,
    pre_prepared,
    prepared,
    where,
)
from tinybft import faults, wire

OTHER = bytes(range(32))


def parts(message):
    """(checkpoint, V, X) of a NEW-VIEW."""
    v_count, x_count = message[16:18]
    checkpoint = (int.from_bytes(message[12:16], "little"), message[18:50])
    at = 50
    members = []
    for _ in range(v_count):
        members.append((message[at], message[at + 1 : at + 33]))
        at += 33
    x = [message[at + 32 * i : at + 32 * i + 32] for i in range(x_count)]
    assert len(message) == at + 32 * x_count + 3 * 8
    return checkpoint, members, x


def sent(bench):
    assert len(bench.sent(wire.NEW_VIEW, -1)) == 1
    return parts(bench.sent(wire.NEW_VIEW, -1)[0])


def lead(bench, claims, low_mark=0, c=None, q=None, senders=(0, 2, 3)):
    """All the others claim P, and Q, and everybody acknowledges it."""
    q = claims if q is None else q
    members = [bench.view_change(i, 1, low_mark, c, claims, q) for i in senders]
    for message in members:
        assert bench.feed(message) == 0
    acknowledge(bench, members)
    return members


def of_view_1(messages):
    return [m[12:48] for m in messages if m[8:12] == u32(1)]


# --- V ---


def test_layout_of_a_new_view():
    bench = Bench(1)
    members = elect(bench, (0, 3))
    acknowledge(bench, members)
    message = bench.sent(wire.NEW_VIEW, -1)[0]
    own = bench.sent(wire.VIEW_CHANGE, -1)[0]
    total = 16 + 34 + 3 * 33 + 24
    assert message[:16] == b"\x10\x09\x01\x00\x01\x00" + u16(total) + u32(1) + u32(0)
    assert message[16:50] == b"\x03\x00" + bench.genesis
    body = b""
    for member in (members[0], own, members[1]):
        body += member[2:3] + bench.digest_of(member)
    assert message[50:-24] == body
    assert where(bench) == (1, True)


def test_only_what_counts_is_in_v():
    """2f + 1 of f = 2 are announced at once; the others came too late to be named."""
    bench = Bench(1, make_config(FAULT_COUNT=2, CLIENT_COUNT=8))
    members = elect(bench, (0, 2, 3, 4, 5))
    acknowledge(bench, members[1:])
    message = bench.sent(wire.NEW_VIEW, -1)[0]
    assert message[16] == 5
    assert [message[50 + 33 * i] for i in range(5)] == [1, 2, 3, 4, 5]


def test_it_waits_for_2f_plus_1():
    bench = Bench(1)
    members = elect(bench)
    acknowledge(bench, members[:1])
    assert not announced(bench)
    assert where(bench) == (1, False)


def test_nothing_is_announced_in_the_name_of_another():
    bench = Bench(2)
    members = elect(bench, (0, 1, 3))
    acknowledge(bench, members)
    assert not announced(bench)


# --- X ---


def test_what_prepared_is_chosen():
    """The own claim and that of one more; of the third nothing is known."""
    bench = Bench(1)
    digest = prepared(bench, 1)
    members = [
        bench.view_change(0, 1, q=((1, 0, digest),)),
        bench.view_change(3, 1),
    ]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert sent(bench)[2] == [digest]


def test_what_did_not_prepare_is_null_and_trailing_nulls_are_cut_off():
    bench = Bench(1)
    pre_prepared(bench, 1)
    second = prepared(bench, 2)
    pre_prepared(bench, 3)
    claim = ((2, 0, second),)
    lead(bench, claim)
    assert sent(bench)[2] == [NULL, second]


def test_nothing_prepared_nothing_named():
    bench = Bench(1)
    acknowledge(bench, elect(bench))
    assert sent(bench)[2] == []


def test_a_p_without_f_plus_1_q_is_not_chosen():
    """A2. The others permit null."""
    bench = Bench(1)
    members = [bench.view_change(0, 1, p=((1, 0, OTHER),), q=((1, 0, OTHER),))]
    members += [bench.view_change(i, 1) for i in (2, 3)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert sent(bench)[2] == []


def test_q_of_an_earlier_view_is_no_support():
    """A2 asks for Q of the claim's view or later."""
    bench = Bench(1)
    digest = pre_prepared(bench, 1)
    late = ((1, 3, digest),)
    members = [bench.view_change(0, 5, p=late, q=late)]
    members += [bench.view_change(i, 5) for i in (2, 3)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert sent(bench)[2] == []


def test_the_later_p_wins():
    """A1: two contradicting claims, each with support in Q."""
    bench = Bench(1)
    old = prepared(bench, 1, 1)
    bench.begin_view(2)
    new = pre_prepared(bench, 1, 2, 2)
    q = ((1, 0, old), (1, 2, new))
    members = [
        bench.view_change(0, 5, p=((1, 2, new),), q=q),
        bench.view_change(2, 5, p=((1, 2, new),), q=q),
        bench.view_change(3, 5, p=((1, 0, old),), q=q),
    ]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert [parts(m)[2] for m in bench.sent(wire.NEW_VIEW)] == [[new]]


def test_neither_choice_permitted_it_waits_for_more():
    """f + 1 say it prepared, nobody supports the other, no 2f + 1 know nothing."""
    bench = Bench(1)
    claims = (((1, 0, OTHER),), ((1, 0, sha256(b"x")),))
    members = [bench.view_change(i, 1, p=claims[i // 2], q=claims[i // 2]) for i in (0, 2)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert not announced(bench)
    acknowledge(bench, elect(bench, (3,)))
    assert not announced(bench)


def test_what_lies_below_a_low_mark_is_not_judged_by_it():
    """A replica whose low mark is at the seqno does not say that nothing prepared there."""
    bench = Bench(1)
    digests = [bench.execute(seqno, seqno).digest for seqno in (1, 2, 3)]
    first = bench.own_checkpoint(2)
    claims = ((3, 0, digests[2]),)
    lead(bench, claims, 2, ((2, first),))
    checkpoint, _, x = sent(bench)
    assert checkpoint == (2, first)
    assert x == [digests[2]]


# --- the checkpoint ---


def test_the_highest_checkpoint_of_f_plus_1_is_chosen():
    bench = Bench(1)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    c = ((0, bench.genesis), (2, bench.own_checkpoint(2)))
    members = [bench.view_change(0, 1, 0, c), bench.view_change(2, 1)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert sent(bench)[0] == c[1]


def test_a_checkpoint_of_f_is_not_chosen():
    bench = Bench(1)
    members = [
        bench.view_change(0, 1, 0, ((0, bench.genesis), (4, OTHER))),
        bench.view_change(2, 1, 0, ((0, bench.genesis), (4, sha256(b"x")))),
    ]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert sent(bench)[0] == (0, bench.genesis)


def test_a_checkpoint_below_too_many_low_marks_is_not_chosen():
    """2f + 1 must have their low mark at or below it; until then it waits."""
    bench = Bench(1)
    members = [bench.view_change(0, 1, 2, ((2, OTHER),)), bench.view_change(2, 1)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert not announced(bench)
    acknowledge(bench, elect(bench, (3,)))
    assert sent(bench)[0] == (0, bench.genesis)


# --- A3: the batch ---


def without_the_batch(inline=True):
    """f + 1 claim a batch that the new primary never saw."""
    bench = Bench(1)
    batch = one(bench, 1, inline=inline)
    lead(bench, ((1, 0, batch.digest),))
    assert not announced(bench)
    return bench, batch


def slot_states(bench):
    """The state bytes in the newest STATUS."""
    status = bench.sent(wire.STATUS, -1)[-1]
    return [status[22 + 5 * i] for i in range(status[21])]


def test_a_batch_that_is_missing_is_asked_for():
    bench, _ = without_the_batch()
    bench.tick(10)
    status = bench.sent(wire.STATUS, -1)[-1]
    assert status[0] == 0x10, "not active"
    assert slot_states(bench) == [0]


def test_what_is_not_missing_is_not_asked_for():
    bench = Bench(1)
    first = prepared(bench, 1)
    batch = one(bench, 2)
    lead(bench, ((1, 0, first), (2, 0, batch.digest)))
    bench.tick(10)
    states = slot_states(bench)
    assert states[0] & 1 and states[1] == 0


def test_the_batch_is_taken_from_any_replica():
    bench, batch = without_the_batch()
    assert bench.pre_prepare(3, 1, batch, 1) == 0
    assert sent(bench)[2] == [batch.digest]


def test_the_batch_is_proven_by_its_digest():
    bench, batch = without_the_batch()
    assert bench.pre_prepare(3, 1, one(bench, 2), 1) == faults.NOT_NEEDED
    assert not announced(bench)
    assert bench.pre_prepare(3, 1, batch, 1, bad_for=(1,)) == faults.MAC
    assert not announced(bench)
    assert bench.pre_prepare(0, 1, batch, 1) == 0
    assert announced(bench)


def test_the_bodies_of_the_batch_are_needed_too():
    bench, batch = without_the_batch(False)
    assert bench.pre_prepare(3, 1, batch, 1) == 0
    assert not announced(bench)
    bench.tick(10)
    status = bench.sent(wire.STATUS, -1)[-1]
    assert status[22:25] == b"\x01\x01\x00"
    body = bench.request(4, 1, b"\x041")
    assert bench.feed(body) == 0
    assert sent(bench)[2] == [batch.digest]


def test_a_batch_behind_the_window_brings_the_checkpoint_that_was_chosen():
    """f + 1 list checkpoint 4 and have prepared 5 behind it: a batch that the window (W = 4) of a
    new primary that executed nothing does not reach. It fetches that checkpoint."""
    bench = Bench(1)
    claims = ((5, 0, one(bench, 5).digest),)
    lead(bench, claims, 4, ((4, OTHER),), senders=(0, 2))
    transfer = bench.core.transfer
    assert not announced(bench) and transfer.running
    fetches = [m for m in bench.sent(wire.FETCH) if m[12:16] == u32(4)]
    assert fetches


def test_the_window_moves_to_what_the_view_changes_prove_stable():
    bench = Bench(1)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    digest = bench.own_checkpoint(2)
    batch = one(bench, 6)
    lead(bench, ((6, 0, batch.digest),), 2, ((2, digest),), senders=(0, 2))
    assert not announced(bench) and bench.core.progress.low_mark == 2
    bench.tick(10)
    assert bench.pre_prepare(0, 6, batch, 1) == 0


def test_a_batch_of_an_earlier_view_is_at_hand():
    """It prepared in view 0; in view 1 its slot served another one."""
    bench = Bench(3)
    old = prepared(bench, 1, 1)
    bench.begin_view(1)
    pre_prepared(bench, 1, 2, 1)
    members = [bench.view_change(i, 7, p=((1, 0, old),), q=((1, 0, old),)) for i in (0, 1, 2)]
    for message in members:
        assert bench.feed(message) == 0
    acknowledge(bench, members)
    assert sent(bench)[2] == [old]


# --- afterwards ---


def test_the_new_primary_sends_no_prepare_and_takes_those_of_others():
    bench = Bench(1)
    digest = prepared(bench, 1)
    lead(bench, ((1, 0, digest),))
    del bench.out[:]
    for sender in (0, 2):
        bench.prepare(sender, 1, digest, 1)
    assert of_view_1(bench.sent(wire.PREPARE)) == []
    assert of_view_1(bench.sent(wire.COMMIT)) == [u32(1) + digest]


def test_proposals_go_on_behind_x():
    bench = Bench(1)
    digest = prepared(bench, 2)
    lead(bench, ((2, 0, digest),))
    bench.feed(bench.request(4, 9, b"\x04new"))
    assert [m[8:16] for m in bench.sent(wire.PRE_PREPARE, -1)] == []  # pipeline: 2 are open
    for seqno, named in ((1, NULL), (2, digest)):
        for sender in (0, 2):
            bench.prepare(sender, seqno, named, 1)
            bench.commit(sender, seqno, named, 1)
    assert [m[8:16] for m in bench.sent(wire.PRE_PREPARE, -1)] == [u32(1) + u32(3)]


def test_a_proposal_behind_x_is_not_older_than_x():
    """The clock of this primary stands: it executed nothing; the batch before is of 3 s."""
    bench = Bench(1, make_config(PIPELINE=2))
    batch = bench.batch([bench.request(4, 1, b"\x041")], time=(3, 7))
    assert bench.pre_prepare(0, 1, batch) == 0
    for sender in (2, 3):
        bench.prepare(sender, 1, batch.digest)
    lead(bench, ((1, 0, batch.digest),))
    bench.feed(bench.request(3, 9, b"\x04new"))
    proposed = bench.sent(wire.PRE_PREPARE, -1)[0]
    assert proposed[12:16] == u32(2) and proposed[16:22] == u32(3) + u16(7)


def test_proposals_go_on_behind_the_checkpoint_and_what_is_executed():
    bench = Bench(1)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    c = ((0, bench.genesis), (2, bench.own_checkpoint(2)))
    members = [bench.view_change(i, 1, 0, c) for i in (0, 3)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    bench.feed(bench.request(4, 9, b"\x04new"))
    assert [m[8:16] for m in bench.sent(wire.PRE_PREPARE, -1)] == [u32(1) + u32(3)]


def test_what_x_names_is_not_proposed_again():
    bench = Bench(1)
    assert bench.feed(bench.request(4, 1, b"\x041")) == 0
    digest = prepared(bench, 1)
    lead(bench, ((1, 0, digest),))
    assert sent(bench)[2] == [digest]
    assert bench.sent(wire.PRE_PREPARE) == []


def test_a_batch_that_was_wanted_in_vain_leaves_no_trace():
    """It was permitted, and missing; then null was permitted too."""
    bench = Bench(1)
    claim = ((1, 0, OTHER),)
    members = [bench.view_change(0, 1, p=claim, q=claim), bench.view_change(2, 1, q=claim)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    assert not announced(bench)
    acknowledge(bench, elect(bench, (3,)))
    assert sent(bench)[2] == []
    request = bench.request(4, 1, b"\x04x")
    bench.feed(request)
    digest = bench.batch([request]).digest
    assert bench.pre_prepare(3, 1, one(bench, 7), 1) == faults.NOT_NEEDED
    for sender in (0, 2):
        bench.prepare(sender, 1, digest, 1)
        bench.commit(sender, 1, digest, 1)
    assert bench.ran() == [b"\x04x"]
