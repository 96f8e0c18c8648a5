"""Durable before sent: from the memory as it was when a message left, nothing contradicts it."""

from tests.tinybft.durable import MODES, OTHER, Device, ask, every_moment, leave, tempt
from tests.tinybft.test_rules_new_view_backup import agree_in, of_view, wanted
from tests.tinybft.views import NULL, acknowledge, elect, join, one, pre_prepared, prepared, where
from tinybft import wire
from tests.tinybft.bench import u32


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
    bench.prepare(2, 1, first, 1)
    bench.prepare(2, 2, one(bench, 2).digest, 1)


STORIES = ((2, normal_case), (0, as_primary), (3, two_views), (1, as_new_primary))


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


def test_no_message_is_contradicted_after_two_restarts():
    for own_id, story in STORIES:
        bench = Device(own_id)
        story(bench)
        for _ in every_moment(bench):
            bench.tick(3)
            bench.restart()
            tempt(bench)
