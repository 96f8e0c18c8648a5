"""VIEW-CHANGE-ACKs: who acknowledges what, and which VIEW-CHANGEs are believed (PROTOCOL 6)."""

from tests.tinybft.bench import Bench, make_config, u16, u32
from tests.tinybft.views import acknowledge, announced, elect, join, where
from tinybft import faults, wire

OTHER = bytes(range(32))


def seven(own_id=1):
    return Bench(own_id, make_config(FAULT_COUNT=2, CLIENT_COUNT=8, VIEW_CHANGE_MS=200))


def acks(bench, target=-1):
    """(view, replica, digest) of the acks sent."""
    sent = bench.sent(wire.VIEW_CHANGE_ACK, target)
    return [(int.from_bytes(m[8:12], "little"), m[16], m[17:49]) for m in sent]


def test_layout_of_an_ack():
    bench = Bench(2)
    message = bench.view_change(3, 1)
    bench.feed(message)
    bench.feed(bench.view_change(0, 1))
    sent = bench.sent(wire.VIEW_CHANGE_ACK)[1]
    total = 16 + 33 + 24
    assert sent[:16] == b"\x10\x08\x02\x00\x01\x00" + u16(total) + u32(1) + u32(0)
    assert sent[16:-24] == b"\x03" + bench.digest_of(message)


def test_acks_name_those_that_came_before_too():
    bench = Bench(2)
    messages = [bench.view_change(sender, 1) for sender in (0, 3)]
    bench.feed(messages[0])
    assert acks(bench) == []
    bench.feed(messages[1])
    assert acks(bench) == [(1, m[2], bench.digest_of(m)) for m in messages]


def test_acks_of_those_that_come_later():
    bench = Bench(6, make_config(FAULT_COUNT=2, CLIENT_COUNT=8))
    for sender in (0, 2, 3):
        bench.feed(bench.view_change(sender, 1))
    late = bench.view_change(4, 1)
    bench.feed(late)
    assert acks(bench)[-1] == (1, 4, bench.digest_of(late))
    assert len(acks(bench)) == 4


def test_neither_the_own_nor_the_primarys_is_acknowledged():
    bench = Bench(2)
    join(bench, 1)
    bench.feed(bench.view_change(1, 1))
    assert sorted(row[1] for row in acks(bench)) == [0, 3]


def test_the_new_primary_acknowledges_nothing():
    bench = Bench(1)
    join(bench, 1)
    bench.feed(bench.view_change(2, 1))
    assert acks(bench) == []


def test_those_of_other_views_are_not_acknowledged():
    bench = Bench(2)
    bench.feed(bench.view_change(3, 2))
    bench.feed(bench.view_change(0, 1))
    assert acks(bench) == [(1, 0, bench.digest_of(bench.view_change(0, 1)))]
    bench.feed(bench.view_change(3, 6))
    assert acks(bench) == [(1, 0, bench.digest_of(bench.view_change(0, 1)))]
    assert where(bench) == (1, False)


def test_a_view_change_without_acks_does_not_count():
    bench = Bench(1)
    members = elect(bench)
    assert not announced(bench)
    acknowledge(bench, members[:1])
    assert not announced(bench)
    acknowledge(bench, members[1:2])
    assert announced(bench)


def one_ack_short():
    """f = 2: the own VIEW-CHANGE and three others count, that of 5 has 2f - 2 acks."""
    bench = seven()
    members = elect(bench, (2, 3, 4, 5))
    acknowledge(bench, members[:3])
    last = members[3]
    for sender in (0, 2):
        assert bench.ack(sender, 1, 5, bench.digest_of(last)) == 0
    assert not announced(bench)
    return bench, bench.digest_of(last)


def test_2f_minus_1_acks_of_third_parties():
    bench, known = one_ack_short()
    assert bench.ack(6, 1, 5, known) == 0
    assert announced(bench)


def not_an_ack(fault, sender, view, replica, changed=0, bad_for=()):
    bench, known = one_ack_short()
    altered = bytes((known[0] ^ changed,)) + known[1:]
    assert bench.ack(sender, view, replica, altered, bad_for) == fault
    assert not announced(bench)
    assert bench.ack(6, 1, 5, known) == 0
    assert announced(bench)


def test_nobody_acknowledges_its_own():
    not_an_ack(faults.SENDER, 5, 1, 5)


def test_a_third_party_is_counted_once():
    not_an_ack(faults.NOT_NEEDED, 2, 1, 5)


def test_an_ack_of_another_digest_does_not_count():
    not_an_ack(faults.NOT_NEEDED, 6, 1, 5, 1)


def test_an_ack_of_another_view_does_not_count():
    for view in (0, 2, 8):
        not_an_ack(faults.STALE_VIEW, 6, view, 5)


def test_an_ack_with_a_bad_tag_does_not_count():
    not_an_ack(faults.MAC, 6, 1, 5, 0, (1,))


def test_an_ack_of_what_is_not_here_does_not_count():
    not_an_ack(faults.NOT_NEEDED, 2, 1, 6)
    bench, _ = one_ack_short()
    assert bench.ack(2, 1, 6, bytes(32)) == faults.NOT_NEEDED


def test_acks_do_not_outlive_their_view():
    bench = seven()
    members = elect(bench, (2, 3, 4, 5))
    acknowledge(bench, members, 2)
    members = elect(bench, (2, 3, 4, 5), 8)
    acknowledge(bench, members, 1)
    for message in members:
        bench.ack(6, 8, message[2], bench.digest_of(message))
    assert not announced(bench)


def test_acks_of_a_replaced_view_change_do_not_count_for_its_successor():
    bench = seven()
    elect(bench, (2, 3, 4))
    early = bench.view_change(5, 1)
    bench.feed(early)
    for sender in (0, 2, 3):
        assert bench.ack(sender, 1, 5, bench.digest_of(early)) == 0
    acknowledge(bench, [bench.view_change(i, 1) for i in (2, 3)])
    assert not announced(bench)
    assert bench.feed(bench.view_change(5, 8)) == 0
    acknowledge(bench, [bench.view_change(4, 1)])
    assert not announced(bench)


# --- a bad tag, believed all the same ---


def doubted(bench, bad=3):
    """A backup of view 1 has the VIEW-CHANGEs of all but `bad`, whose tag is bad here."""
    members = [bench.view_change(i, 1) for i in bench.others() if i != bad]
    for message in members:
        assert bench.feed(message) == 0
    message = bench.view_change(bad, 1, bad_for=(bench.own_id,))
    assert bench.feed(message) == faults.MAC
    return members, message


def test_the_primary_never_counts_one_with_a_bad_tag():
    bench = Bench(1)
    elect(bench, (0, 2))
    bad = bench.view_change(3, 1, bad_for=(1,))
    assert bench.feed(bad) == faults.MAC
    assert bench.ack(0, 1, 3, bench.digest_of(bad)) == faults.NOT_NEEDED
    acknowledge(bench, [bench.view_change(0, 1)])
    assert not announced(bench)


def named_with_a_bad_tag():
    """f = 2: the NEW-VIEW names one whose tag is bad here; it came again and is kept."""
    bench = seven(6)
    members, bad = doubted(bench)
    quorum = members[:4] + [bad]
    assert bench.feed(bench.new_view(1, quorum)) == 0
    assert bench.feed(bad) == 0
    assert where(bench) == (1, False)
    return bench, bad


def test_one_that_the_new_view_names_needs_f_acks():
    bench, bad = named_with_a_bad_tag()
    assert bench.ack(0, 1, 3, bench.digest_of(bad)) == 0
    assert where(bench) == (1, False)
    assert bench.ack(2, 1, 3, bench.digest_of(bad)) == 0
    assert where(bench) == (1, True)


def test_neither_the_primary_nor_its_sender_is_one_of_the_f():
    bench, bad = named_with_a_bad_tag()
    assert bench.ack(0, 1, 3, bench.digest_of(bad)) == 0
    for sender in (1, 3):
        assert bench.ack(sender, 1, 3, bench.digest_of(bad)) == faults.SENDER
    assert bench.ack(2, 1, 3, OTHER) == faults.NOT_NEEDED
    assert where(bench) == (1, False)


def test_one_that_the_new_view_names_is_not_acknowledged_here():
    bench, _ = named_with_a_bad_tag()
    assert 3 not in [row[1] for row in acks(bench)]


def test_one_with_another_digest_than_the_named_is_refused():
    bench = Bench(2)
    members, bad = doubted(bench)
    assert bench.feed(bench.new_view(1, members + [bad])) == 0
    altered = bench.view_change(3, 1, p=((1, 0, OTHER),), bad_for=(2,))
    assert bench.feed(altered) == faults.MAC
    assert bench.feed(bad) == 0


def test_the_named_one_replaces_what_its_sender_said_here():
    """Its sender is faulty and told this replica something else."""
    bench = Bench(2)
    members = [bench.view_change(i, 1) for i in (0, 1)]
    for message in members + [bench.view_change(3, 1, p=((1, 0, OTHER),), q=((1, 0, OTHER),))]:
        assert bench.feed(message) == 0
    named = bench.view_change(3, 1)
    assert bench.feed(bench.new_view(1, members + [named])) == 0
    assert where(bench) == (1, False)
    assert bench.feed(named) == 0
    assert where(bench) == (1, True)


def replaced(acknowledged):
    """A good one of 3 is here; the NEW-VIEW names another one of 3, whose tag is bad."""
    bench = Bench(2)
    members = [bench.view_change(i, 1) for i in (0, 1)]
    first = bench.view_change(3, 1, p=((1, 0, OTHER),), q=((1, 0, OTHER),))
    for message in members + [first]:
        assert bench.feed(message) == 0
    if acknowledged:
        assert bench.ack(0, 1, 3, bench.digest_of(first)) == 0
    named = bench.view_change(3, 1, bad_for=(2,))
    assert bench.feed(bench.new_view(1, members + [named])) == 0
    assert bench.feed(named) == 0
    assert where(bench) == (1, False)
    assert bench.ack(0, 1, 3, bench.digest_of(named)) == 0
    assert where(bench) == (1, True)


def test_the_good_tag_of_another_one_does_not_count():
    replaced(False)


def test_the_acks_of_another_one_do_not_count():
    replaced(True)
