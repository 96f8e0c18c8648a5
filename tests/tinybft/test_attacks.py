"""Attacks on one replica that were once open, each as the shortest story that shows it."""

from tests.tinybft.group import Group
from tests.tinybft.puppet import Puppet, batch_of, entry_of
from tests.tinybft.scenes import Recorder, operation, small_config
from tinybft import faults, wire
from tinybft.octets import put_u16


def test_primary_cannot_give_a_request_another_id():
    puppet = Puppet()
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 1, 200), sender=4) == 0
    pending = puppet.core.requests
    assert puppet.say(wire.PRE_PREPARE, 0, 1, batch_of(entry_of(pending, 4, 8))) == 0
    assert not puppet.accepted(1)
    assert puppet.say(wire.PRE_PREPARE, 0, 2, batch_of(entry_of(pending, 4, 7))) == 0
    assert puppet.accepted(2)


def test_two_requests_under_one_id_do_not_stop_the_group():
    """The primary orders one of them, this backup has seen the other first."""
    puppet = Puppet()
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 1, 200), sender=4) == 0
    entry = entry_of(puppet.core.requests, 4, 7)
    puppet = Puppet()
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 2, 200), sender=4) == 0
    assert puppet.say(wire.PRE_PREPARE, 0, 1, batch_of(entry)) == 0
    assert not puppet.accepted(1)
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 1, 200), sender=4) == 0
    assert puppet.accepted(1)


def test_forged_status_and_fetch_use_up_no_turn():
    puppet = Puppet()
    body = bytearray(6 + puppet.core.wire.status_tail_length)
    for kind, text in ((wire.STATUS, body), (wire.FETCH, bytearray(6))):
        for _ in range(8):
            forged = bytearray(wire.HEADER_LENGTH) + text
            wire.put_header(forged, kind, 0, 3, puppet.config.GROUP_ID, 0, 0)
            forged += bytearray(b"\xa5" * 8 * puppet.core.wire.tag_count(kind, 3))
            put_u16(forged, 6, len(forged))
            assert puppet.hear(forged) == faults.MAC
        assert puppet.say(kind, 0, 0, text, sender=3) == 0


def test_nothing_is_executed_from_a_checkpoint_on_that_a_quorum_contradicts():
    """Batch 3 is committed when R1 takes checkpoint 2; it has diverged (its memory rotted)."""
    puppet = Puppet()
    puppet.propose((4, 2, 3))
    for sender in (0, 2, 3):
        assert puppet.say(wire.CHECKPOINT, 0, 2, b"\x77" * 32, sender=sender) == 0
    puppet.commit((3, 2, 1))
    assert puppet.core.faults.counts[faults.DIVERGED] == 1
    assert puppet.core.transfer.running
    assert puppet.victim.progress.last_executed == 2


def test_primary_that_boots_early_is_believed():
    """Its estimate of the agreed time must not run before the group's first batch."""
    group = Group(small_config(), Recorder)
    early = group.nodes[0].replica
    group.now = 60000
    for node in group.nodes[1:4]:
        node.replica.start(group.now)
    early.core.clock.advance(group.now)
    for number in range(1, 4):
        assert group.execute(4, operation(4, number, 20), ms=2000)


def test_agreed_time_never_goes_back():
    """The primary gives a later batch an earlier time while the earlier one is not executed."""
    puppet = Puppet()
    seen = []
    service = puppet.core.execution._service
    execute = service.execute

    def noting(state, op, length, reply, ctx):
        seen.append(ctx.time_s * 1000 + ctx.time_ms)
        return execute(state, op, length, reply, ctx)

    service.execute = noting
    puppet.propose((4, 2), (900, 100))
    puppet.commit((2, 1))
    assert seen == [900, 900], seen


def test_one_replica_fills_one_candidate_place():
    """PREPARE and COMMIT for two invented digests leave a place for what others vote."""
    puppet = Puppet(sender=3)
    puppet.say(wire.PREPARE, 0, 1, b"\x01" * 32)
    assert puppet.say(wire.COMMIT, 0, 1, b"\x02" * 32) == faults.EQUIVOCATION
    assert puppet.say(wire.PREPARE, 0, 1, b"\x03" * 32, sender=2) == 0


def test_forwarded_batch_with_votes_is_not_replaced_by_a_lie():
    """R2 forwards the primary's batch, whose body is still missing; R3 forwards another."""
    puppet = Puppet()
    puppet.propose((4,))
    base = puppet.core.slots.find(1)
    entry = entry_of(puppet.core.requests, 4, 7)
    digest = bytes(puppet.core.slots.buf[base:][puppet.core.slots.digest_at(0) :][:32])
    puppet = Puppet()
    for sender in (2, 3):
        puppet.say(wire.PREPARE, 0, 1, digest, sender=sender)
    assert puppet.say(wire.PRE_PREPARE, 0, 1, batch_of(entry), sender=2) == faults.UNVOUCHED
    assert puppet.say(wire.PRE_PREPARE, 0, 1, batch_of(), sender=3) == faults.NOT_NEEDED
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 1, 200), sender=4) == 0
    assert puppet.accepted(1)


def test_who_was_not_asked_cannot_move_a_transfer_to_another_source():
    puppet = Puppet()
    transfer = puppet.core.transfer
    transfer.start(2, b"\x77" * 32, 0)
    source = transfer._source
    tree = puppet.core.state.tree
    top = tree.level_count - 1
    count = tree.child_count(top, 0)
    body = bytearray(8 + 36 * count)
    body[0] = top
    body[4] = count
    other = 2 if source == 3 else 3
    assert puppet.say(wire.META_DATA, 0, 2, body, sender=other) == faults.TRANSFER
    assert transfer._source == source
    assert puppet.say(wire.META_DATA, 0, 2, body, sender=source) == faults.TRANSFER
    assert transfer._source != source
