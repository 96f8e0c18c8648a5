"""A NEW-VIEW as backups check and install it (PROTOCOL 6)."""

from tests.tinybft.bench import Bench, make_config, sha256, u32
from tests.tinybft.test_rules_repair import holder
from tests.tinybft.views import NULL, contents, join, one, pre_prepared, prepared, where
from tinybft import faults, wire

OTHER = bytes(range(32))


def of_view(bench, kind, view=1):
    """(seqno, digest) of the votes multicast in the view."""
    messages = [m for m in bench.sent(kind, -1) if m[8:12] == u32(view)]
    return [(int.from_bytes(m[12:16], "little"), m[16:48]) for m in messages]


def wanted(bench, view=1, p=(), q=None, low_mark=0, c=None, senders=None):
    """VIEW-CHANGEs of all others, taken in."""
    q = p if q is None else q
    senders = bench.others() if senders is None else senders
    members = [bench.view_change(i, view, low_mark, c, p, q) for i in senders]
    for message in members:
        assert bench.feed(message) == 0
    assert where(bench) == (view, False)
    return members


def agree_in(bench, view, seqno, digest):
    for sender in bench.others():
        if sender != view % 4:
            bench.prepare(sender, seqno, digest, view)
        bench.commit(sender, seqno, digest, view)


# --- obtaining what V names ---


def test_it_waits_for_the_view_changes_that_v_names():
    bench = Bench(2)
    members = wanted(bench, senders=(0, 1))
    late = bench.view_change(3, 1)
    assert bench.feed(bench.new_view(1, members + [late])) == 0
    assert where(bench) == (1, False)
    bench.tick(10)
    status = bench.sent(wire.STATUS, -1)[-1]
    assert status[-25] & 0b1011 == 0b0011, "the mask says whose is missing"
    assert bench.feed(late) == 0
    assert where(bench) == (1, True)


def test_one_of_the_same_view_with_another_digest_is_not_the_named_one():
    bench = Bench(2)
    members = wanted(bench)
    named = bench.view_change(3, 1, p=((1, 0, OTHER),))
    assert bench.feed(bench.new_view(1, members[:2] + [named])) == 0
    assert where(bench) == (1, False)
    bench.tick(10)
    assert bench.sent(wire.STATUS, -1)[-1][-25] & 0b1011 == 0b0011


def test_the_own_view_change_may_be_named():
    bench = Bench(2)
    members = wanted(bench)
    own = bench.sent(wire.VIEW_CHANGE, -1)[0]
    assert bench.feed(bench.new_view(1, [members[0], own, members[1]])) == 0
    assert where(bench) == (1, True)


# --- installing ---


def test_every_entry_of_x_is_a_pre_prepare():
    bench = Bench(2)
    first = prepared(bench, 1)
    third = pre_prepared(bench, 3)
    claims = ((1, 0, first), (3, 0, third))
    assert bench.feed(bench.new_view(1, wanted(bench, p=claims), (first, NULL, third))) == 0
    assert of_view(bench, wire.PREPARE) == [(1, first), (2, NULL), (3, third)]
    assert bench.progress.last_executed == 0


def test_a_null_advances_the_seqno_and_executes_nothing():
    bench = Bench(2)
    digest = prepared(bench, 2)
    bench.begin_view(1, (NULL, digest), ((2, 0, digest),), ((2, 0, digest),))
    agree_in(bench, 1, 2, digest)
    assert bench.ran() == []
    agree_in(bench, 1, 1, NULL)
    assert bench.progress.last_executed == 2
    assert bench.ran() == [b"\x042"]


def test_what_is_executed_is_voted_for_again_but_not_executed_again():
    bench = Bench(2)
    digest = bench.execute(1, 1).digest
    bench.begin_view(1, (digest,), ((1, 0, digest),), ((1, 0, digest),))
    assert of_view(bench, wire.PREPARE) == [(1, digest)]
    bench.prepare(3, 1, digest, 1)
    assert of_view(bench, wire.COMMIT) == [(1, digest)]
    agree_in(bench, 1, 1, digest)
    assert len(bench.ran()) == 1
    assert bench.progress.last_executed == 1


def test_a_batch_that_is_missing_is_asked_for_and_proven_by_its_digest():
    bench = Bench(2)
    batch = one(bench, 1)
    claim = ((1, 0, batch.digest),)
    bench.begin_view(1, (batch.digest,), claim, claim)
    assert of_view(bench, wire.PREPARE) == []
    bench.tick(10)
    status = bench.sent(wire.STATUS, -1)[-1]
    assert (status[0], status[21], status[22]) == (0x11, 1, 0)
    assert bench.pre_prepare(1, 1, one(bench, 2), 1) == faults.NOT_NEEDED
    assert bench.pre_prepare(3, 1, batch, 1, bad_for=(2,)) == faults.MAC
    assert of_view(bench, wire.PREPARE) == []
    assert bench.pre_prepare(3, 1, batch, 1) == 0
    assert of_view(bench, wire.PREPARE) == [(1, batch.digest)]


def test_requests_of_x_are_beyond_doubt():
    """f + 1 replicas with the batch in Q vouch for it."""
    bench = Bench(2)
    batch = one(bench, 1, (2,))
    assert bench.pre_prepare(0, 1, batch) == 0
    assert bench.sent(wire.PREPARE) == []
    claim = ((1, 0, batch.digest),)
    bench.begin_view(1, (batch.digest,), claim, claim)
    assert of_view(bench, wire.PREPARE) == [(1, batch.digest)]


def test_requests_of_x_that_come_late_are_beyond_doubt_too():
    bench = Bench(2)
    batch = one(bench, 1, (2,))
    claim = ((1, 0, batch.digest),)
    bench.begin_view(1, (batch.digest,), claim, claim)
    assert bench.pre_prepare(1, 1, batch, 1) == 0
    assert of_view(bench, wire.PREPARE) == [(1, batch.digest)]


def test_of_a_batch_without_bodies_only_the_bodies_are_asked_for():
    bench = Bench(2)
    batch = one(bench, 1, inline=False)
    assert bench.pre_prepare(0, 1, batch) == 0
    claim = ((1, 0, batch.digest),)
    bench.begin_view(1, (batch.digest,), claim, claim)
    bench.tick(10)
    assert bench.sent(wire.STATUS, -1)[-1][22:25] == b"\x01\x01\x00"
    assert bench.feed(bench.request(4, 1, b"\x041")) == 0
    assert of_view(bench, wire.PREPARE) == [(1, batch.digest)]


def test_votes_for_what_is_executed_are_asked_for():
    """Others may need this view's certificate, or this replica's vote."""
    bench = Bench(2)
    digest = bench.execute(1, 1).digest
    bench.begin_view(1, (digest,), ((1, 0, digest),), ((1, 0, digest),))
    del bench.out[:]
    bench.tick(20)
    status = bench.sent(wire.STATUS, -1)[0]
    assert (status[21], status[22]) == (1, 3)


def test_votes_that_come_before_the_batch_count():
    bench = Bench(2)
    batch = one(bench, 1)
    claim = ((1, 0, batch.digest),)
    bench.begin_view(1, (batch.digest,), claim, claim)
    agree_in(bench, 1, 1, batch.digest)
    assert bench.ran() == []
    bench.pre_prepare(3, 1, batch, 1)
    assert bench.ran() == [b"\x041"]


def test_the_primary_cannot_replace_an_entry_of_x():
    bench = Bench(2)
    digest = prepared(bench, 2)
    bench.begin_view(1, (NULL, digest), ((2, 0, digest),), ((2, 0, digest),))
    del bench.out[:]
    for seqno in (1, 2):
        assert bench.pre_prepare(1, seqno, one(bench, 7), 1) == faults.NOT_NEEDED
    assert bench.out == []


def test_a_backup_takes_part_behind_x():
    bench = Bench(2)
    digest = prepared(bench, 1)
    bench.begin_view(1, (digest,), ((1, 0, digest),), ((1, 0, digest),))
    second = pre_prepared(bench, 2, view=1)
    assert of_view(bench, wire.PREPARE) == [(1, digest), (2, second)]


def test_what_x_does_not_name_is_proposed_anew():
    bench = Bench(2)
    pre_prepared(bench, 1)
    bench.begin_view(1)
    assert of_view(bench, wire.PREPARE) == []
    digest = pre_prepared(bench, 1, 5, 1)
    assert of_view(bench, wire.PREPARE) == [(1, digest)]


def test_nothing_is_ordered_at_or_below_the_checkpoint():
    bench = Bench(2)
    c = ((0, bench.genesis), (2, OTHER))
    bench.begin_view(1, c=c, checkpoint=(2, OTHER))
    for seqno in (1, 2):
        assert bench.pre_prepare(1, seqno, one(bench, seqno), 1) == faults.OUTSIDE_WINDOW


# --- a primary that is faulty ---


def gives_up(bench, message):
    """The NEW-VIEW is wrong for sure: next view, at once."""
    view = bench.progress.view
    assert bench.feed(message) == faults.NEW_VIEW
    assert where(bench) == (view + 1, False)
    assert bench.sent(wire.VIEW_CHANGE, -1)[-1][8:12] == u32(view + 1)
    assert of_view(bench, wire.PREPARE) == []


def test_x_that_drops_what_prepared():
    """F33."""
    bench = Bench(2)
    digest = prepared(bench, 1)
    gives_up(bench, bench.new_view(1, wanted(bench, p=((1, 0, digest),))))


def test_x_that_changes_a_digest():
    bench = Bench(2)
    digest = prepared(bench, 1)
    gives_up(bench, bench.new_view(1, wanted(bench, p=((1, 0, digest),)), (OTHER,)))


def test_x_that_puts_null_for_what_prepared():
    bench = Bench(2)
    digest = prepared(bench, 2)
    gives_up(bench, bench.new_view(1, wanted(bench, p=((2, 0, digest),)), (NULL, NULL)))


def test_x_that_invents_a_batch():
    bench = Bench(2)
    gives_up(bench, bench.new_view(1, wanted(bench), (OTHER,)))


def test_x_that_invents_a_batch_behind_what_prepared():
    bench = Bench(2)
    digest = prepared(bench, 1)
    gives_up(bench, bench.new_view(1, wanted(bench, p=((1, 0, digest),)), (digest, OTHER)))


def test_x_that_swaps_two_batches():
    bench = Bench(2)
    claims = ((1, 0, prepared(bench, 1)), (2, 0, prepared(bench, 2)))
    x = (claims[1][2], claims[0][2])
    gives_up(bench, bench.new_view(1, wanted(bench, p=claims), x))


def test_x_behind_a_checkpoint_that_nobody_has():
    bench = Bench(2)
    members = wanted(bench)
    gives_up(bench, bench.new_view(1, members, (), (2, bench.genesis)))


def test_x_behind_a_checkpoint_with_another_digest():
    bench = Bench(2)
    gives_up(bench, bench.new_view(1, wanted(bench), (), (0, OTHER)))


def test_x_behind_an_older_checkpoint_than_possible():
    bench = Bench(2)
    c = ((0, bench.genesis), (2, OTHER))
    gives_up(bench, bench.new_view(1, wanted(bench, c=c)))


def test_a_claim_of_f_does_not_make_x_wrong():
    """P of one replica without f + 1 in Q: null is right, the batch is not."""
    claim = ((1, 0, OTHER),)
    for x, right in (((), True), ((OTHER,), False)):
        bench = Bench(2)
        members = wanted(bench, senders=(0, 1))
        members.append(bench.view_change(3, 1, p=claim, q=claim))
        assert bench.feed(members[2]) == 0
        members.append(bench.sent(wire.VIEW_CHANGE, -1)[0])
        bench.feed(bench.new_view(1, members, x))
        assert where(bench) == ((1, True) if right else (2, False))


def judged(x, right, claims, with_own=False, bench=None):
    """View 5 over claims (P, Q) of 0, 1 and 3."""
    bench = bench or Bench(2)
    members = []
    for i, sender in enumerate((0, 1, 3)):
        members.append(bench.view_change(sender, 5, p=claims[i][0], q=claims[i][1]))
        assert bench.feed(members[-1]) == 0
    if with_own:
        members.append(bench.sent(wire.VIEW_CHANGE, -1)[-1])
    bench.feed(bench.new_view(5, members, x))
    assert where(bench) == ((5, True) if right else (6, False))


OLD, NEW = sha256(b"old"), sha256(b"new")
BOTH = ((1, 0, OLD), (1, 2, NEW))


def test_a_later_p_excludes_an_earlier_one():
    """A1: 2f + 1 without a later P; f + 1 are not enough."""
    claims = ((((1, 2, NEW),), BOTH), ((), BOTH), (((1, 0, OLD),), BOTH))
    judged((NEW,), True, claims)
    judged((OLD,), False, claims)


def test_p_of_the_same_view_with_another_digest_excludes():
    q = ((1, 0, OLD), (1, 0, NEW))
    claims = ((((1, 0, OLD),), q), (((1, 0, NEW),), q), ((), q))
    judged((OLD,), False, claims)
    judged((NEW,), False, claims)
    judged((OLD,), True, claims, True)


def test_q_of_a_later_view_is_support():
    claims = (((), ((1, 2, OLD),)), ((), ()), (((1, 0, OLD),), ((1, 0, OLD),)))
    judged((OLD,), True, claims)


def test_q_of_another_digest_is_no_support():
    claims = (((), ((1, 0, NEW),)), ((), ()), (((1, 0, OLD),), ((1, 0, OLD),)))
    judged((OLD,), False, claims)
    judged((), True, claims, True)


def at_2():
    """Low mark 2; the others are at 0: nothing that it does not say of seqno 1 means a thing."""
    bench, _ = executed_two()
    bench.stabilise(2)
    return bench


def test_who_is_beyond_a_seqno_does_not_say_that_no_later_p_exists():
    claims = ((((1, 0, OLD),), BOTH[:1]), ((), BOTH[:1]), (((1, 2, NEW),), ()))
    judged((OLD,), False, claims, True, at_2())


def test_who_is_beyond_a_seqno_does_not_say_that_nothing_prepared():
    claims = ((((1, 0, OLD),), ()), ((), ()), ((), ()))
    judged((), False, claims, True, at_2())
    judged((), True, claims, True)


def test_only_v_is_asked_not_everything_that_is_here():
    """The own P is not in V: the decision is over exactly V."""
    bench = Bench(2)
    prepared(bench, 1)
    assert bench.feed(bench.new_view(1, wanted(bench))) == 0
    assert where(bench) == (1, True)


def test_a_wrong_new_view_that_is_found_out_later():
    bench = Bench(2)
    members = wanted(bench, senders=(0, 1))
    late = bench.view_change(3, 1)
    assert bench.feed(bench.new_view(1, members + [late], (OTHER,))) == 0
    gives_up(bench, late)


def refused(bench, fault, message):
    before = bytes(bench.memory.event), where(bench), len(bench.out)
    assert bench.feed(message) == fault
    assert (bytes(bench.memory.event), where(bench), len(bench.out)) == before


def test_v_below_2f_plus_1():
    """F34."""
    bench = Bench(2)
    members = wanted(bench)
    refused(bench, faults.FIELD, bench.new_view(1, members[:2]))


def test_v_with_duplicates():
    bench = Bench(2)
    members = wanted(bench)
    refused(bench, faults.FIELD, bench.new_view(1, members[:2] + [members[0]]))
    refused(bench, faults.FIELD, bench.new_view(1, members + [members[0]]))


def test_v_with_unknown_replicas():
    bench = Bench(2)
    members = wanted(bench)
    stranger = members[2][:2] + b"\x04" + members[2][3:]
    body = b"".join([m[2:3] + bench.digest_of(m) for m in members[:2]]) + b"\x04" + OTHER
    assert stranger[2] == 4
    message = bench.message(wire.NEW_VIEW, 1, 1, 0, b"\x03\x00" + bench.genesis + body)
    refused(bench, faults.FIELD, message)


def test_view_0_begins_without_a_new_view():
    bench = Bench(2)
    members = [bench.view_change(i, 1) for i in (0, 1, 3)]
    refused(bench, faults.NOT_NEEDED, bench.new_view(0, members))


def test_flags_and_checkpoint_of_a_new_view():
    bench = Bench(2)
    members = wanted(bench)
    refused(bench, faults.FIELD, bench.new_view(1, members, flags=1))
    refused(bench, faults.FIELD, bench.new_view(1, members, (), (1, OTHER)))


def test_new_view_of_somebody_else():
    bench = Bench(2)
    members = wanted(bench)
    for sender in (0, 3):
        refused(bench, faults.SENDER, bench.new_view(1, members, sender=sender))


def test_new_view_of_other_views():
    bench = Bench(2)
    members = wanted(bench)
    for view in (0, 3, 5):
        refused(bench, faults.STALE_VIEW, bench.new_view(view, members))


def test_new_view_with_a_bad_tag():
    bench = Bench(2)
    members = wanted(bench)
    refused(bench, faults.MAC, bench.new_view(1, members, bad_for=(2,)))


def test_the_first_new_view_counts():
    bench = Bench(2)
    members = wanted(bench, senders=(0, 1))
    late = bench.view_change(3, 1)
    assert bench.feed(bench.new_view(1, members + [late])) == 0
    refused(bench, faults.NOT_NEEDED, bench.new_view(1, members + [late], (OTHER,)))
    assert bench.feed(late) == 0
    assert where(bench) == (1, True)
    refused(bench, faults.NOT_NEEDED, bench.new_view(1, members + [late]))


# --- a NEW-VIEW that others vouch for ---


def late_comer(bad_for=()):
    """f = 2. In view 1 by itself; has the NEW-VIEW, and no VIEW-CHANGE that it names."""
    bench = Bench(6, make_config(FAULT_COUNT=2, CLIENT_COUNT=8, REQUEST_MS=50, STATUS_MS=10))
    bench.feed(bench.request(7, 1, b"\x04x"))
    bench.tick(60)
    assert where(bench) == (1, False)
    members = [bench.view_change(i, 1) for i in (0, 1, 2, 3, 4)]
    return bench, bench.new_view(1, members, bad_for=bad_for)


def test_f_plus_1_who_installed_it_are_enough():
    bench, message = late_comer()
    assert bench.feed(message) == 0
    known = bench.digest_of(message)
    for sender in (0, 1):
        assert bench.ack(sender, 1, 1, known) == 0
        assert where(bench) == (1, False)
    assert bench.ack(1, 1, 1, known) == faults.NOT_NEEDED
    assert bench.ack(2, 1, 1, OTHER) == 0
    assert bench.ack(3, 1, 1, known, bad_for=(6,)) == faults.MAC
    assert bench.ack(3, 2, 1, known) == faults.STALE_VIEW
    assert where(bench) == (1, False)
    assert bench.ack(4, 1, 1, known) == 0
    assert where(bench) == (1, True)


def test_f_plus_1_who_installed_it_replace_its_tag():
    bench, message = late_comer((6,))
    known = bench.digest_of(message)
    for sender in (0, 2):
        assert bench.ack(sender, 1, 1, known) == 0
    refused(bench, faults.MAC, message)
    assert bench.ack(5, 1, 1, known) == 0
    assert bench.feed(message) == 0
    assert where(bench) == (1, True)


def test_who_installed_another_view_does_not_vouch_for_this_one():
    bench, message = late_comer()
    known = bench.digest_of(message)
    for sender in (0, 2, 3):
        bench.ack(sender, 1, 1, OTHER)
    for sender in (2, 3, 4):
        bench.feed(bench.view_change(sender, 8))
    assert where(bench) == (8, False)
    later = bench.new_view(8, [bench.view_change(i, 8) for i in (0, 1, 2, 3, 5)])
    assert bench.feed(later) == 0
    assert where(bench) == (8, False)
    assert bench.ack(0, 8, 1, known) == 0
    assert where(bench) == (8, False)


def test_an_installed_new_view_awaits_nothing():
    bench, message = late_comer()
    bench.feed(message)
    for sender in (0, 2, 3):
        bench.ack(sender, 1, 1, bench.digest_of(message))
    assert where(bench) == (1, True)
    refused(bench, faults.MAC, bench.view_change(4, 1, bad_for=(6,)))


# --- the checkpoint and the window ---


def executed_two(own_id=2):
    """Checkpoint 2 is taken here and not stable."""
    bench = Bench(own_id)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    return bench, bench.own_checkpoint(2)


def install(bench, changes, checkpoint, x=()):
    """A NEW-VIEW over VIEW-CHANGEs of 0, 1 and 3: (low mark, C, P and Q) each."""
    members = []
    for i, sender in enumerate((0, 1, 3)):
        low_mark, c, claims = changes[i]
        members.append(bench.view_change(sender, 1, low_mark, c, claims, claims))
        assert bench.feed(members[-1]) == 0
    fault = bench.feed(bench.new_view(1, members, x, checkpoint))
    assert where(bench) == (1, True), fault


def test_f_plus_1_checkpoints_do_not_move_the_low_mark():
    bench, root = executed_two()
    both = ((0, bench.genesis), (2, root))
    alone = (0, both[:1], ())
    install(bench, ((0, both, ()), (0, both, ()), alone), (2, root))
    assert bench.progress.low_mark == 0


def test_f_plus_1_low_marks_move_it():
    bench, root = executed_two()
    stable = (2, ((2, root),), ())
    install(bench, (stable, stable, (0, ((0, bench.genesis),), ())), (2, root))
    assert bench.progress.low_mark == 2


def test_f_low_marks_do_not_move_it():
    bench, root = executed_two()
    both = (0, ((0, bench.genesis), (2, root)), ())
    install(bench, ((2, ((2, root),), ()), both, (0, ((0, bench.genesis),), ())), (2, root))
    assert bench.progress.low_mark == 0


def test_2f_plus_1_checkpoints_move_it():
    bench, root = executed_two()
    both = (0, ((0, bench.genesis), (2, root)), ())
    install(bench, (both, both, both), (2, root))
    assert bench.progress.low_mark == 2


def test_the_low_mark_does_not_move_beyond_the_chosen_checkpoint():
    """2f + 1 have checkpoint 4, but with digests of which none has f + 1."""
    bench, root = executed_two()
    for seqno in (3, 4):
        bench.execute(seqno, seqno)
    changes = []
    for i in range(3):
        changes.append((0, ((0, bench.genesis), (2, root), (4, bytes((i + 1,)) * 32)), ()))
    install(bench, changes, (2, root))
    assert bench.progress.low_mark == 2


def test_nothing_above_the_own_low_mark_is_given_up():
    """X starts behind a checkpoint that is not stable; a later view may ask for what lies
    below it."""
    bench, root = executed_two()
    both = ((0, bench.genesis), (2, root))
    install(bench, ((0, both, ()), (0, both, ()), (0, both[:1], ())), (2, root))
    del bench.out[:]
    c, p, q = join(bench, 3)
    assert c == list(both)
    assert [row[:2] for row in p] == [row[:2] for row in q] == [(1, 0), (2, 0)]
    members = wanted(bench, 5, p, q, senders=(0, 1, 3))
    assert bench.feed(bench.new_view(5, members, [row[2] for row in p])) == 0
    assert of_view(bench, wire.PREPARE, 5) == [(row[0], row[2]) for row in p]


def test_entries_below_the_own_low_mark_are_of_no_use():
    """V starts at 0, this replica is at 2 already: place 1 of the ring serves seqno 5."""
    bench = Bench(2)
    digests = [bench.execute(seqno, seqno).digest for seqno in (1, 2)]
    bench.stabilise(2)
    fifth = pre_prepared(bench, 5)
    third = prepared(bench, 3)
    claims = [(1, 0, digests[0]), (2, 0, digests[1]), (3, 0, third)]
    bench.begin_view(1, [row[2] for row in claims], claims, claims)
    assert of_view(bench, wire.PREPARE) == [(3, third)]
    assert join(bench, 3)[2] == [(3, 1, third), (5, 0, fifth)]


def test_a_batch_that_prepared_survives_a_view_that_chose_another():
    bench = Bench(3)
    old = prepared(bench, 1, 1)
    bench.begin_view(1)
    pre_prepared(bench, 1, 2, 1)
    claim = ((1, 0, old),)
    bench.begin_view(6, (old,), claim, claim)
    assert of_view(bench, wire.PREPARE, 6) == [(1, old)]


def test_a_replica_behind_the_checkpoint_fetches_the_state():
    bench = Bench(2)
    c = ((0, bench.genesis), (2, OTHER))
    bench.begin_view(1, c=c, checkpoint=(2, OTHER))
    sent = bench.sent(wire.FETCH)
    assert sent and all(m[12:16] == u32(2) for m in sent)
    assert bench.core.transfer.running


def test_a_replica_that_has_the_checkpoint_fetches_nothing():
    bench, root = executed_two()
    both = ((0, bench.genesis), (2, root))
    bench.begin_view(1, c=both, checkpoint=(2, root))
    assert not bench.sent(wire.FETCH)


def fetch_all(bench):
    """The state of checkpoint 2, as another replica has it."""
    source = holder()
    for level, mask, kind in ((1, 0, wire.META_DATA), (0, 1, wire.DATA)):
        count = source.core.state.tree.leaf_count if mask else 1
        for index in range(count):
            source.tick(5)
            body = bytes((level, 0, index, 0, mask, 0))
            source.feed(source.message(wire.FETCH, 3, 0, 2, body))
            answer = source.sent(kind, 3)[-1][16:-8]
            if bench.core.transfer.running:
                bench.feed(bench.message(kind, bench.core.transfer._source, 0, 2, answer))
    assert not bench.core.transfer.running


def test_entries_beyond_the_own_window_wait_until_it_moves():
    """This replica executed nothing; the others are at checkpoint 2 and X reaches to 5."""
    root = holder().own_checkpoint(2)
    bench = Bench(2)
    batches = {seqno: one(bench, seqno) for seqno in (3, 4, 5)}
    claims = [(seqno, 0, batches[seqno].digest) for seqno in (3, 4, 5)]
    changes = [(2, ((2, root),), claims)] * 3
    install(bench, changes, (2, root), [row[2] for row in claims])
    assert bench.pre_prepare(1, 3, batches[3], 1) == 0
    assert bench.pre_prepare(1, 5, batches[5], 1) == faults.OUTSIDE_WINDOW
    fetch_all(bench)
    assert (bench.progress.low_mark, bench.progress.last_executed) == (2, 2)
    assert bench.pre_prepare(3, 5, batches[5], 1) == 0
    assert of_view(bench, wire.PREPARE) == [(3, claims[0][2]), (5, claims[2][2])]


def test_digests_of_later_views_are_claimed():
    """X was pre-prepared in view 1: Q says so in the next VIEW-CHANGE."""
    bench = Bench(2)
    batch = one(bench, 1)
    claim = ((1, 0, batch.digest),)
    bench.begin_view(1, (batch.digest,), claim, claim)
    assert join(bench, 3)[2] == []
    bench.begin_view(5, (batch.digest,), claim, claim)
    bench.pre_prepare(3, 1, batch, 5)
    assert join(bench, 7)[2] == [(1, 5, batch.digest)]
    assert contents(bench.sent(wire.VIEW_CHANGE, -1)[-1])[1] == []


def test_the_result_does_not_depend_on_the_order_of_the_votes():
    for order in ((0, 1, 3), (3, 1, 0), (1, 3, 0)):
        bench = Bench(2)
        digest = prepared(bench, 1)
        claims = {0: ((1, 0, digest),), 1: ((1, 0, digest),), 3: ((2, 0, sha256(b"x")),)}
        members = [bench.view_change(i, 1, p=claims[i], q=claims[i]) for i in order]
        for message in members:
            bench.feed(message)
        members.append(bench.sent(wire.VIEW_CHANGE, -1)[0])
        bench.feed(bench.new_view(1, members, (digest,)))
        assert where(bench) == (1, True), order
