"""A batch is here, a body that it names is not, and the primary dies before it comes."""

import hashlib

from tests.sim.scenario import CLIENT, PLENTY
from tools.simulate import operations
from tools.simulate.sim import Sim

LATE = 1  # the replica without the body; the primary of view 1


def without_requests(frame):
    return None if frame.type == "REQUEST" else frame


def committed_elsewhere(sim, keep):
    """A batch with one long request, committed by the others; LATE has what `keep` lets pass.
    Then the primary dies."""
    sim.filter_to(LATE, keep)
    handle = sim.submit(CLIENT, operations.put("lamp", PLENTY))
    assert sim.run_until(lambda: sim.executed(2) == sim.executed(3) == 1, 900)
    assert sim.executed(LATE) == 0
    sim.crash(0)
    return handle


def test_body_of_a_batch_that_others_vouch_for():
    """Only forwarded PRE-PREPAREs came, f + 1 votes name the batch: its body is asked for."""
    sim = Sim(seed=1)
    committed_elsewhere(
        sim, lambda f: without_requests(f) if f.type != "PRE-PREPARE" or f.src else None
    )

    def is_vouched():
        core = sim.core(LATE)
        base = core.slots.find(1)
        return base >= 0 and core.slots.missing(base) == 1 and core.agreement.is_vouched(base)

    assert sim.run_until(is_vouched, 300)
    sim.filter_to(LATE, None)
    assert sim.run_until(lambda: sim.executed(LATE) == 1, 300)
    assert sim.view(LATE) == 0
    sim.check()


def test_new_primary_begins_when_the_body_comes():
    """The batch had been pre-prepared in the view before: it begins at once, not never."""
    sim = Sim(seed=1)
    committed_elsewhere(sim, without_requests)
    second = sim.submit(3, operations.put("lamp", "off"))
    core = sim.core(LATE)

    def waits():
        return core.progress.view == 1 and core.quorum.is_quorum(core.view_change.members())

    assert sim.run_until(waits, 3000)
    sim.run(50)
    assert not core.progress.active
    sim.filter_to(LATE, None)
    assert sim.run_until(lambda: core.progress.active, 700)
    assert sim.view(LATE) == 1
    pending = core.requests
    at = pending.digest_at(CLIENT)
    request_at = pending.request_at(CLIENT)
    octets = bytes(pending.bulk.octets[request_at : request_at + pending.request_length(CLIENT)])
    digest = hashlib.sha256(octets[: sim.wire_of_group.body_end(octets)]).digest()
    assert bytes(pending.buf[at : at + 32]) == digest
    assert sim.run_until(lambda: second.done, 300)
    sim.check()
