"""STATUS between views: what is sent to a replica that is not where this one is (PROTOCOL 7)."""

from tests.tinybft.bench import Bench, u32
from tests.tinybft.views import join, pre_prepared, prepared, where
from tinybft import faults, wire

KINDS = (wire.VIEW_CHANGE, wire.VIEW_CHANGE_ACK, wire.NEW_VIEW)


def ask(  # noqa: PLR0913
    bench, sender, view, active=False, round_number=0, settled=0, slots=b"", bad_for=()
):
    """A STATUS of `sender`; returns {type: messages} of what it got for it."""
    bench.tick(3)
    del bench.out[:]
    body = u32(0) + bytes((round_number, len(slots) // 5)) + slots + b"\0\0" + bytes((settled,))
    flags = wire.FLAG_ACTIVE if active else 0
    before = where(bench), bench.progress.low_mark
    fault = bench.feed(bench.message(wire.STATUS, sender, view, 0, body, flags, bad_for))
    assert fault == (faults.MAC if bad_for else 0)
    assert (where(bench), bench.progress.low_mark) == before
    return {kind: bench.sent(kind, sender) for kind in range(1, wire.TYPE_MAX + 1)}


def nothing(answers):
    return not any(answers[kind] for kind in KINDS)


def between():
    """Replica 2 wants view 1, as do 0 and 3; what each of them sent."""
    bench = Bench(2)
    messages = {sender: bench.view_change(sender, 1) for sender in (0, 3)}
    for sender in (0, 3):
        assert bench.feed(messages[sender]) == 0
    messages[2] = bench.sent(wire.VIEW_CHANGE, -1)[0]
    assert where(bench) == (1, False)
    return bench, messages


def installed():
    bench = Bench(2)
    members = [bench.view_change(sender, 1) for sender in (0, 1, 3)]
    for message in members:
        bench.feed(message)
    message = bench.new_view(1, members)
    assert bench.feed(message) == 0
    assert where(bench) == (1, True)
    return bench, message


def test_who_is_in_a_lower_view_gets_the_own_view_change():
    bench, messages = between()
    for active in (True, False):
        answers = ask(bench, 1, 0, active)
        assert answers[wire.VIEW_CHANGE] == [messages[2]]
        assert not answers[wire.NEW_VIEW]


def test_an_active_replica_sends_it_too():
    bench, _ = installed()
    answers = ask(bench, 3, 0, True)
    assert [m[2:4] + m[8:12] for m in answers[wire.VIEW_CHANGE]] == [b"\x02\x00" + u32(1)]


def test_who_is_in_a_higher_view_gets_nothing_of_this_kind():
    bench, _ = between()
    assert nothing(ask(bench, 1, 2))
    bench, _ = installed()
    assert nothing(ask(bench, 1, 2))


def test_a_bad_tag_gets_nothing():
    bench, _ = between()
    assert nothing(ask(bench, 1, 0, bad_for=(2,)))


def test_who_waits_for_the_same_view_gets_what_it_lacks():
    bench, messages = between()
    answers = ask(bench, 1, 1, settled=0b1011)
    assert answers[wire.VIEW_CHANGE] == [messages[2]]
    assert nothing(ask(bench, 1, 1, settled=0b1111))


def test_view_changes_of_others_are_forwarded_in_turn():
    """As they came: the primary's own tag is in them."""
    bench, messages = between()
    forwarded = set()
    for round_number in range(4):
        answers = ask(bench, 1, 1, round_number=round_number, settled=0b0100)
        assert len(answers[wire.VIEW_CHANGE]) < 2, "this replica's turn for one at a time"
        forwarded.update(answers[wire.VIEW_CHANGE])
    assert forwarded == {messages[0], messages[3]}


def test_acks_are_repeated_to_the_new_primary():
    bench, messages = between()
    answers = ask(bench, 1, 1, settled=0b0111)
    assert [m[16:49] for m in answers[wire.VIEW_CHANGE_ACK]] == [
        b"\x03" + bench.digest_of(messages[3])
    ]


def test_nobody_gets_its_own_view_change_back():
    bench, messages = between()
    for round_number in range(4):
        answers = ask(bench, 3, 1, round_number=round_number)
        assert messages[3] not in answers[wire.VIEW_CHANGE]
        assert 3 not in [m[16] for m in answers[wire.VIEW_CHANGE_ACK]]


def test_one_with_a_bad_tag_is_forwarded_but_not_acknowledged():
    """The NEW-VIEW named it, so it is held; whether it is genuine, others must say."""
    bench = Bench(2)
    members = [bench.view_change(sender, 1) for sender in (0, 1)]
    for message in members:
        bench.feed(message)
    bad = bench.view_change(3, 1, bad_for=(2,))
    bench.feed(bench.new_view(1, members + [bad]))
    assert bench.feed(bad) == 0
    seen = set()
    for round_number in range(4):
        answers = ask(bench, 0, 1, round_number=round_number)
        seen.update(answers[wire.VIEW_CHANGE])
        assert 3 not in [m[16] for m in answers[wire.VIEW_CHANGE_ACK]]
    assert bad in seen


def test_who_is_not_active_gets_the_new_view_and_the_word_that_it_is_installed():
    bench, message = installed()
    seen = []
    for round_number in range(4):
        answers = ask(bench, 3, 1, round_number=round_number)
        seen += answers[wire.NEW_VIEW]
        installs = [m for m in answers[wire.VIEW_CHANGE_ACK] if m[16] == 1]
        assert [m[8:12] + m[17:49] for m in installs] == [u32(1) + bench.digest_of(message)]
    assert seen and set(seen) == {message}


def test_the_new_primary_sends_its_new_view_first():
    bench = Bench(1)
    members = [bench.view_change(sender, 1) for sender in (0, 3)]
    for message in members:
        bench.feed(message)
    for message in members:
        bench.ack(2, 1, message[2], bench.digest_of(message))
    announced = bench.sent(wire.NEW_VIEW, -1)
    assert where(bench) == (1, True)
    assert ask(bench, 2, 1)[wire.NEW_VIEW] == announced


def test_who_is_active_gets_nothing_of_this_kind():
    bench, _ = installed()
    for round_number in range(4):
        assert nothing(ask(bench, 3, 1, True, round_number))


def test_the_new_view_is_not_sent_before_it_is_installed():
    bench = Bench(2)
    members = [bench.view_change(sender, 1) for sender in (0, 1)]
    for message in members:
        bench.feed(message)
    bench.feed(bench.new_view(1, members + [bench.view_change(3, 1)]))
    for round_number in range(4):
        answers = ask(bench, 0, 1, round_number=round_number)
        assert not answers[wire.NEW_VIEW]
        assert 1 not in [m[16] for m in answers[wire.VIEW_CHANGE_ACK]]


def test_view_0_has_no_new_view_to_send():
    bench = Bench(2)
    assert nothing(ask(bench, 3, 0))


def wanting(seqno):
    """The slots of a STATUS that lacks the batch of `seqno` and nothing else."""
    return b"\x0f\0\0\0\0" * (seqno - 1) + b"\0\0\0\0\0"


def test_a_new_primary_that_lacks_a_batch_gets_it():
    bench = Bench(2)
    prepared(bench, 1)
    digest = prepared(bench, 2)
    join(bench, 1)
    answers = ask(bench, 1, 1, settled=0b1111, slots=wanting(2))
    sent = answers[wire.PRE_PREPARE]
    assert sent and all(m[2:4] + m[8:16] == b"\x02\x00" + u32(1) + u32(2) for m in sent)
    receiver = Bench(1)
    claim = ((2, 0, digest),)
    for sender in (0, 2, 3):
        receiver.feed(receiver.view_change(sender, 1, p=claim, q=claim))
    for sender, replica in ((0, 2), (2, 3)):
        known = receiver.digest_of(receiver.view_change(replica, 1, p=claim, q=claim))
        receiver.ack(sender, 1, replica, known)
    assert not receiver.sent(wire.NEW_VIEW)
    assert receiver.feed(sent[0]) == 0
    assert receiver.sent(wire.NEW_VIEW)[0][-24 - 32 : -24] == digest


def test_the_own_status_says_that_this_replica_is_not_active():
    bench, _ = between()
    bench.tick(10)
    status = bench.sent(wire.STATUS, -1)[-1]
    assert status[0] == 0x10
    assert status[8:12] == u32(1)
    assert status[-25] == 0b1101, "the VIEW-CHANGEs that are here"


def test_the_new_primary_says_whose_view_change_does_not_count_yet():
    bench = Bench(1)
    members = [bench.view_change(sender, 1) for sender in (0, 3)]
    for message in members:
        bench.feed(message)
    bench.tick(10)
    assert bench.sent(wire.STATUS, -1)[-1][-25] == 0b0010


def test_a_batch_that_prepared_in_an_earlier_view_is_sent_too():
    bench = Bench(3)
    prepared(bench, 1, 1)
    bench.begin_view(1)
    pre_prepared(bench, 1, 2, 1)
    join(bench, 6)
    sent = ask(bench, 2, 6, settled=0b1111, slots=wanting(1))[wire.PRE_PREPARE]
    assert sorted(m[-24 - 4 * 8 - 2 : -24 - 4 * 8] for m in sent) == [b"\x041", b"\x042"]


def test_a_null_is_not_sent_as_a_pre_prepare():
    bench = Bench(2)
    digest = prepared(bench, 2)
    bench.begin_view(1, (bytes(32), digest), ((2, 0, digest),), ((2, 0, digest),))
    seen = []
    for round_number in range(4):
        answers = ask(bench, 3, 1, True, round_number, slots=bytes(10))
        seen += [m[12:16] for m in answers[wire.PRE_PREPARE]]
    assert seen and set(seen) == {u32(2)}


def test_a_null_is_not_sent_to_who_has_left_the_view():
    """Its batches are, by which that replica executes what the others do."""
    bench = Bench(2)
    digest = prepared(bench, 2)
    bench.begin_view(1, (bytes(32), digest), ((2, 0, digest),), ((2, 0, digest),))
    seen = []
    for round_number in range(4):
        answers = ask(bench, 3, 2, False, round_number, slots=bytes(10))
        seen += [m[12:16] for m in answers[wire.PRE_PREPARE]]
    assert seen and set(seen) == {u32(2)}


def test_alone_in_a_higher_view_it_listens_where_f_plus_1_are_active():
    """F69."""
    bench = Bench(2)
    join(bench, 5)
    digest = bytes(range(32))
    ask(bench, 0, 3, True)
    assert bench.commit(0, 1, digest, 3) == faults.STALE_VIEW
    ask(bench, 1, 3, True)
    assert bench.commit(0, 1, digest, 3) == 0
