"""Tentative execution at a replica: when, what it says, and how it goes back."""

from tests.tinybft.puppet import Puppet
from tests.tinybft.scenes import Recorder, operation
from tinybft import wire
from tinybft.requests import NONE

ON = {"TENTATIVE": True}


def start(**changed):
    return Puppet(service=Recorder, storage=dict(ON, **changed))


def digest_of(puppet, seqno):
    at = puppet.core.slots.digest_at(puppet.core.slots.find(seqno))
    return bytes(puppet.core.slots.buf[at : at + 32])


def prepare(puppet, seqno):
    puppet.say(wire.PREPARE, 0, seqno, digest_of(puppet, seqno), sender=2)


def commit(puppet, seqno):
    for sender in (0, 2):
        puppet.say(wire.COMMIT, 0, seqno, digest_of(puppet, seqno), sender=sender)


def replies(puppet):
    """[(receiver, flags), ...] since the last call."""
    found = [(t, m[0] & wire.FLAG_TENTATIVE) for t, m in puppet.sent if m[1] == wire.REPLY]
    puppet.sent.clear()
    return found


def content(puppet):
    return puppet.core.state.content(puppet.core.state.length)


def retry(puppet, client):
    """The same request again, later than the rate limit."""
    puppet.core.replies._sent_at[client] = -1000
    puppet.say(wire.REQUEST, 0, 7, operation(client, 1, 200), sender=client)
    return replies(puppet)


def test_what_is_prepared_is_executed_and_does_not_count():
    puppet = start()
    puppet.propose((2,))
    assert replies(puppet) == []
    prepare(puppet, 1)
    core = puppet.core
    assert replies(puppet) == [(2, wire.FLAG_TENTATIVE)]
    assert core.tentative.ahead == 1 and core.progress.last_executed == 0
    assert core.execution.last_request_id(2) == 7
    assert core.requests.phase(2) != NONE and core.requests.open == 1  # its timer goes on
    commit(puppet, 1)
    assert core.tentative.ahead == 0 and core.progress.last_executed == 1
    assert core.requests.phase(2) == NONE and replies(puppet) == []
    assert len(core.execution._service.log) == 1  # not executed again


def test_without_the_option_nothing_is():
    puppet = Puppet()
    puppet.propose((2,))
    prepare(puppet, 1)
    assert replies(puppet) == [] and puppet.core.execution.last_request_id(2) == 0


def test_one_batch_ahead():
    puppet = start()
    puppet.propose((2, 3))
    prepare(puppet, 2)
    assert puppet.core.tentative.ahead == 0  # 1 comes first
    prepare(puppet, 1)
    assert puppet.core.tentative.ahead == 1
    commit(puppet, 2)
    assert puppet.core.tentative.ahead == 1 and puppet.core.progress.last_executed == 0
    commit(puppet, 1)
    assert puppet.core.progress.last_executed == 2 and puppet.core.tentative.ahead == 0


def test_the_next_one_when_it_is_committed():
    puppet = start()
    puppet.propose((2, 3))
    for seqno in (1, 2):
        prepare(puppet, seqno)
    assert replies(puppet) == [(2, wire.FLAG_TENTATIVE)]
    commit(puppet, 1)
    assert replies(puppet) == [(3, wire.FLAG_TENTATIVE)] and puppet.core.tentative.ahead == 2


def test_a_repeated_reply_says_what_it_is_by_now():
    puppet = start()
    puppet.propose((2,))
    prepare(puppet, 1)
    replies(puppet)
    assert retry(puppet, 2) == [(2, wire.FLAG_TENTATIVE)]
    commit(puppet, 1)
    assert retry(puppet, 2) == [(2, 0)]


def test_a_checkpoint_is_of_what_is_committed():
    puppet = start()
    puppet.propose((2, 3))
    prepare(puppet, 1)
    commit(puppet, 1)
    prepare(puppet, 2)
    assert puppet.core.tentative.ahead == 2 and puppet.core.checkpoints.last_taken == 0
    commit(puppet, 2)
    assert puppet.core.checkpoints.last_taken == 2


def test_a_view_change_takes_it_back():
    puppet = start()
    before = content(puppet)
    puppet.propose((2,))
    prepare(puppet, 1)
    assert content(puppet) != before
    puppet.core.view_change.enter(1)
    core = puppet.core
    assert content(puppet) == before
    assert core.execution.last_request_id(2) == 0 and core.tentative.ahead == 0
    assert core.requests.phase(2) != NONE and not core.replies.holds(2, 7)
    assert not any(core.tentative.marks)


def test_what_was_committed_since_the_checkpoint_stays():
    puppet = start()
    puppet.propose((2, 3))
    prepare(puppet, 1)
    commit(puppet, 1)
    before = content(puppet)
    prepare(puppet, 2)
    replies(puppet)
    assert content(puppet) != before
    puppet.core.view_change.enter(1)
    assert content(puppet) == before and puppet.core.progress.last_executed == 1
    assert puppet.core.execution.last_request_id(2) == 7
    assert puppet.core.execution.last_request_id(3) == 0
    assert replies(puppet) == []  # executed again, not answered again


def test_the_agreed_time_goes_back():
    puppet = start()
    puppet.propose((2,), times_ms=(500,))
    prepare(puppet, 1)
    assert puppet.core.clock.agreed_ms == 500
    puppet.core.view_change.enter(1)
    assert puppet.core.clock.agreed_ms == 0


def test_going_back_is_no_progress():
    """What is executed again does not shorten the time-outs."""
    puppet = start()
    puppet.propose((2, 3))
    prepare(puppet, 1)
    commit(puppet, 1)
    prepare(puppet, 2)
    timers = puppet.core.timers
    timers._has_executed, timers._back_off, timers._strikes[2] = False, 2, 3
    puppet.core.view_change.enter(1)
    assert timers._back_off == 3 and timers._strikes[2] == 3


def test_a_state_transfer_ends_it():
    puppet = start()
    puppet.propose((2,))
    prepare(puppet, 1)
    core = puppet.core
    core.transfer.start(4, bytes(32), 0)
    assert core.tentative.ahead == 0 and not any(core.tentative.marks)
    assert not core.replies.holds(2, 7)


def test_who_abstains_says_nothing():
    puppet = start()
    puppet.core.durability.abstains = True
    puppet.propose((2,))
    prepare(puppet, 1)
    assert replies(puppet) == [] and puppet.core.tentative.ahead == 0


def test_nothing_between_views():
    puppet = start()
    puppet.propose((2,))
    prepare(puppet, 1)
    puppet.core.view_change.enter(1)
    replies(puppet)
    puppet.victim._settle()
    assert puppet.core.tentative.ahead == 0 and replies(puppet) == []


def test_a_duplicate_in_the_batch_keeps_its_reply():
    """Request 7 of client 2 is committed, and a faulty primary orders it again."""
    puppet = start()
    puppet.propose((2,))
    prepare(puppet, 1)
    commit(puppet, 1)
    slots = puppet.core.slots
    batch = bytes(slots.buf[slots.batch_at(slots.find(1)) :][: 8 + 40])
    puppet.say(wire.PRE_PREPARE, 0, 2, batch[:8] + b"\x00" + batch[8:])
    puppet.say(wire.REQUEST, 0, 7, operation(2, 1, 200), sender=2)
    prepare(puppet, 2)
    core = puppet.core
    assert core.tentative.ahead == 2 and not core.tentative.marks[2]
    replies(puppet)
    assert retry(puppet, 2) == [(2, 0)]
    core.view_change.enter(1)
    assert core.replies.holds(2, 7)


def test_clients_that_this_replica_never_answered_hear_of_it():
    """After a state transfer: they may lack this reply to have 2f + 1."""
    puppet = start()
    puppet.propose((2,))
    prepare(puppet, 1)
    commit(puppet, 1)
    core = puppet.core
    replies(puppet)
    core.execution.on_installed(1)
    assert replies(puppet) == []  # was answered
    core.replies.forget(2)
    core.execution.on_installed(1)
    assert replies(puppet) == [(2, 0)]
