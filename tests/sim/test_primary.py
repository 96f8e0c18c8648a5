"""Faulty primaries: F01, F02, F04 to F11, F13 (R0 is the primary of view 0)."""

import pytest

from tests.sim.scenario import (
    BOUND_MS,
    CLIENT,
    OTHERS,
    PLENTY,
    SEEDS,
    Heard,
    all_done,
    assert_counted_once,
    entry,
    execute,
    inline_requests,
    propose,
    recover,
    request,
    resealed,
    submit_some,
    views,
    vote,
    with_other_time,
)
from tinybft import wire
from tools.simulate import operations
from tools.simulate.oracles import canonical_digest
from tools.simulate.sim import EVERYBODY, Sim

BACKUPS = (1, 2, 3)


def digests_heard(sim, heard, by, seqno):
    """Batch digests of the PRE-PREPAREs of R0 for `seqno` that `by` heard."""
    messages = [m for m in heard.of("PRE-PREPARE", by, 0) if wire.seqno(m) == seqno]
    return {canonical_digest(message, sim.wire_of_group) for message in messages}


def equivocate(sim, victims):
    """R0 tells `victims` of batches with another digest, and votes for each where it told it."""
    other = {}

    def lie(frame):
        if frame.dst not in victims or frame.view != 0:
            return frame
        if frame.type == "PRE-PREPARE":
            frame = resealed(sim, 0, frame, with_other_time)
            other[frame.seqno] = canonical_digest(frame.bytes, sim.wire_of_group)
        elif frame.type == "COMMIT" and frame.seqno in other:
            digest = other[frame.seqno]
            frame = resealed(sim, 0, frame, lambda body: body[:16] + digest)
        return frame

    sim.byzantine(0)
    sim.filter_from(0, lie)


@pytest.mark.parametrize("victims", [(1,), (2,), (3,), (2, 3)])
@pytest.mark.parametrize("seed", SEEDS)
def test_f01_batch_a_to_two_batch_b_to_one(seed, victims):
    """One batch reaches a quorum, whoever was told of the other one catches up, by itself."""
    sim = Sim(seed)
    heard = Heard(sim)
    equivocate(sim, victims)
    handles = submit_some(sim, (1, 2, 3, CLIENT))
    assert sim.run_until(all_done(handles), 30000)
    told = [digests_heard(sim, heard, i, 1) for i in BACKUPS]
    assert all(len(one) == 1 for one in told) and len(set.union(*told)) == 2
    assert_counted_once(handles)
    recover(sim, (0,))


@pytest.mark.parametrize("votes", [True, False])
@pytest.mark.parametrize("first", BACKUPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_f02_a_to_one_b_to_another_and_votes_for_both(seed, first, votes):
    """Without its votes neither batch can prepare; with them one may, at who was told nothing and
    hears of it from f + 1. At most one view change serves all."""
    sim = Sim(seed)
    heard = Heard(sim)
    second = first % 3 + 1
    said = {}

    def lie(frame):
        if frame.type != "PRE-PREPARE" or frame.view:
            return frame
        if frame.dst not in (first, second):
            return None
        if frame.dst == second:
            frame = resealed(sim, 0, frame, with_other_time)
        digest = canonical_digest(frame.bytes, sim.wire_of_group)
        if digest not in said:
            said[digest] = frame.seqno
            for name in ("PREPARE", "COMMIT") if votes else ():
                sim.send_as(0, EVERYBODY, vote(sim, name, 0, frame.seqno, digest))
        return frame

    sim.byzantine(0)
    sim.filter_from(0, lie)
    handles = submit_some(sim, (1, CLIENT), 1)
    assert sim.run_until(all_done(handles), 2000)
    assert len(said) >= 2
    assert digests_heard(sim, heard, first, 1) != digests_heard(sim, heard, second, 1)
    if votes:
        assert len(heard.of("COMMIT", first, 0)) >= 2
        assert all(sim.faults(i)["sender"] >= 2 for i in BACKUPS)  # a primary prepares nothing
        assert max(views(sim)) <= 1
    else:
        assert views(sim) == [1, 1, 1]
    assert_counted_once(handles)
    recover(sim, (0,))


@pytest.mark.parametrize("seed", SEEDS)
def test_f04_mute_but_listening(seed):
    """The others go on in view 1 after one time-out; it has followed and can vote at once."""
    sim = Sim(seed)
    handles = submit_some(sim, (CLIENT,))
    assert sim.run_until(all_done(handles), 1000)
    sim.filter_from(0, lambda frame: None)
    muted = submit_some(sim, (1, CLIENT))
    assert sim.run_until(all_done(muted), 2000)
    assert views(sim)[1:] == [1, 1, 1]
    sim.run(100)
    assert sim.view(0) == 1
    sim.filter_from(0, None)
    measured = recover(sim)
    assert measured["view_changes"] == 0
    assert_counted_once(handles + muted)


def crash_at(sim, i, count, reached):
    """Replica `i` loses power while it sends its `count`-th message from now on; of the others
    only the first `reached` get that one. Returns [] or, once it happened, [type]."""
    sent = []
    crashed = []

    def on_frame(frame):
        if crashed and frame.src == i:
            return frame if frame.bytes is sent[-1] and frame.dst in first else None
        return frame

    others = [other for other in range(sim.client_count) if other != i]
    first = others[:reached]
    inner = sim.world.on_sent

    def on_sent(hal, target, message):
        inner(hal, target, message)
        if hal.number == i and not crashed:
            sent.append(message)
            if len(sent) == count:
                crashed.append(wire.TYPE_NAMES[message[1]])
                sim.crash(i)

    sim.world.on_sent = on_sent
    sim.on_frame(on_frame)
    return crashed


@pytest.mark.parametrize("pause_ms", [5, 3000])
@pytest.mark.parametrize("reached", [0, 1, 2, 4])
@pytest.mark.parametrize("who", [0, 1])
def test_f05_crash_at_each_protocol_step(who, reached, pause_ms):
    """Off after its k-th message, for every k of three operations (one of them a checkpoint, one
    with a long request); that message reaches nobody, some or all. Back on without memory."""
    steps = []
    while True:
        sim = Sim(seed=len(steps) + 1)
        execute(sim)
        crashed = crash_at(sim, who, len(steps) + 1, reached)
        handles = [sim.submit(CLIENT, operations.put("long", PLENTY))]
        handles += submit_some(sim, (2, CLIENT), 1)
        if not sim.run_until(lambda: crashed or all_done(handles)(), 3000):  # noqa: B023
            raise AssertionError(handles)
        if not crashed:
            break
        steps += crashed
        sim.run(pause_ms)
        sim.on_frame(None)
        sim.restart(who)
        assert sim.run_until(all_done(handles), 5000), (steps, handles)
        recover(sim)
    assert {"COMMIT", "REPLY", "CHECKPOINT", "PRE-PREPARE" if who == 0 else "PREPARE"} <= set(
        steps
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_f06_slow_enough_to_stay(seed):
    """Each proposal comes after 90 % of the time-out: the primary stays, and every operation of
    a lone client takes that long; with more clients somebody waits twice, and it is replaced."""
    sim = Sim(seed)
    late = sim.config.REQUEST_MS * 9 // 10
    sim.byzantine(0)
    sim.filter_from(0, lambda f: f.later(late) if f.type == "PRE-PREPARE" else f)
    for _ in range(4):
        assert late <= execute(sim).latency_ms <= sim.config.REQUEST_MS + 50
    assert views(sim) == [0, 0, 0]
    handles = submit_some(sim, (1, 2, 3, CLIENT))
    assert sim.run_until(all_done(handles), 5000)
    assert views(sim) == [1, 1, 1]
    assert max(h.latency_ms for h in handles[4:]) <= sim.config.REQUEST_MS + late
    recover(sim, (0,))


@pytest.mark.parametrize("starved", [1, 3, CLIENT])
@pytest.mark.parametrize("seed", SEEDS)
def test_f07_starves_one_client(seed, starved):
    """R0 serves everybody but one: after one view change that one is served too."""
    sim = Sim(seed)
    served = [i for i in (1, 2, 3, CLIENT) if i != starved]
    sim.byzantine(0)
    dropped = []

    def ignore(frame):
        if frame.type == "REQUEST" and frame.dst == 0 and frame.sender == starved:
            dropped.append(frame)
            return None
        return frame

    sim.on_frame(ignore)
    begun = sim.now_ms
    hungry = sim.submit(starved, operations.increment("n"))
    handles = []
    while not hungry.done and sim.now_ms < begun + 3000:
        handles += submit_some(sim, served, 1)
        assert sim.run_until(all_done(handles), 2 * sim.config.REQUEST_MS)
    assert hungry.done and dropped
    assert sim.config.REQUEST_MS - 50 <= hungry.latency_ms <= sim.config.REQUEST_MS * 3 // 2
    assert len(handles) > 100  # R0 was busy with the others
    assert views(sim) == [1, 1, 1]
    assert_counted_once([*handles, hungry])
    recover(sim, (0,))


def _invented(sim, message, real):
    return [request(sim, CLIENT, wire.seqno(real) + 1, b"never asked for", bad_for=OTHERS)]


def _altered(sim, message, real):
    return [real[:-33] + bytes((real[-33] ^ 1,)) + real[-32:]]


def _with_wrong_digest(sim, message, real):
    return [entry(sim, real, digest=bytes(31) + b"\1")]


def _with_wrong_id(sim, message, real):
    return [entry(sim, real, number=wire.seqno(real) + 1)]


def _with_wrong_length(sim, message, real):
    return [entry(sim, real, length=len(real) - 1)]


@pytest.mark.parametrize(
    "forge", [_invented, _altered, _with_wrong_digest, _with_wrong_id, _with_wrong_length]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_f08_invents_alters_or_misdescribes_a_request(seed, forge):
    """No backup prepares what no client sent; after one view change, and at the latest with the
    client's next retry, it is served: the backups cannot know which of the two lied."""
    sim = Sim(seed)
    heard = Heard(sim)
    told = []
    sim.byzantine(0)

    def lie(frame):
        if frame.type != "PRE-PREPARE" or frame.view:
            return frame
        real = inline_requests(frame.bytes)[0]
        told.append(frame)
        header = frame.bytes[:24]

        def edit(_):
            body = bytearray(header)
            for one in forge(sim, frame.bytes, real):
                body += bytes((0 if len(one) == wire.ENTRY_LENGTH else 1,)) + one
            return body

        return resealed(sim, 0, frame, edit)

    sim.filter_from(0, lie)
    handle = execute(sim, ms=BOUND_MS)
    assert told and heard.of("PRE-PREPARE", 1, 0)
    assert not [m for m in heard.of("PREPARE") if wire.view(m) == 0]
    assert handle.latency_ms >= sim.config.REQUEST_MS - 50
    assert views(sim) == [1, 1, 1]
    recover(sim, (0,))


@pytest.mark.parametrize("seed", SEEDS)
def test_f09_the_same_request_twice(seed):
    """In one batch and in the next one: it is executed once."""
    sim = Sim(seed)
    heard = Heard(sim)
    sim.byzantine(0)
    sim.crash(0)  # the script speaks for it
    once = request(sim, CLIENT, 300, operations.increment("n"))
    sim.byzantine(CLIENT)
    propose(sim, 0, 1, [once, once])
    propose(sim, 0, 2, [once])
    assert sim.run_until(lambda: all(sim.executed(i) == 2 for i in BACKUPS), 500)
    assert len(heard.of("PRE-PREPARE", 1, 0)) == 2
    assert [len(sim.oracles.chain[seqno][1]) for seqno in (1, 2)] == [1, 0]
    assert execute(sim, client=1).reply == b"\x002"
    recover(sim, (0,))


@pytest.mark.parametrize("seed", SEEDS)
def test_f09_ids_of_a_client_out_of_order(seed):
    """What comes behind a higher id of its client is not executed any more."""
    sim = Sim(seed)
    sim.byzantine(0)
    sim.byzantine(CLIENT)
    sim.crash(0)
    later, earlier = (request(sim, CLIENT, n, operations.increment("n")) for n in (7, 5))
    propose(sim, 0, 1, [later])
    propose(sim, 0, 2, [earlier])
    sim.run(100)
    # The id 5 is history; its own tag is good, so the batch is accepted and does nothing.
    assert [sim.executed(i) for i in BACKUPS] == [2, 2, 2]
    assert [len(sim.oracles.chain[seqno][1]) for seqno in (1, 2)] == [1, 0]
    propose(sim, 0, 3, [request(sim, CLIENT, 6, b"x"), request(sim, CLIENT, 8, b"x")])
    sim.run(100)
    assert len(sim.oracles.chain[3][1]) == 1
    assert execute(sim, client=1).reply == b"\x002"
    recover(sim, (0,))


@pytest.mark.parametrize("seed", SEEDS)
def test_f09_batches_too_large(seed):
    """Too many requests, or more bytes than a slot holds: refused, and the place stays free."""
    sim = Sim(seed)
    sim.byzantine(0)
    one = request(sim, 1, 300, b"x")
    sim.byzantine(1)
    propose(sim, 0, 1, [entry(sim, one)] * (sim.config.BATCH_COUNT_MAX + 1))
    propose(sim, 0, 1, [entry(sim, one, length=0xFFFF)])
    propose(sim, 0, 1, [entry(sim, one, length=0x8000)] * 2)
    sim.run(20)
    for i in (2, 3):
        assert sim.faults(i)["field"] == 1 and sim.faults(i)["batch"] == 2
    assert execute(sim).latency_ms < 100
    assert set(views(sim)) == {0}
    sim.faulty.discard(1)
    recover(sim, (0,))


@pytest.mark.parametrize("seed", SEEDS)
def test_f09_flood_of_empty_batches(seed):
    """They take no seqno and hold nobody up."""
    sim = Sim(seed)
    sim.byzantine(0)
    for k in range(200):
        sim.after(k, lambda k=k: propose(sim, 0, sim.executed(1) + 1 + k % 4, []))
    handles = submit_some(sim, (1, 2, 3, CLIENT), 5)
    assert sim.run_until(all_done(handles), 500)
    sim.run(210)
    for i in BACKUPS:
        faults = sim.faults(i)
        assert faults["batch"] > 50
        assert sim.executed(i) <= len(handles)
    assert views(sim) == [0, 0, 0]
    assert_counted_once(handles)
    recover(sim, (0,))


@pytest.mark.parametrize("victim", BACKUPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_f10_withholds_a_body_from_one_replica(seed, victim):
    """The others hand it over: it keeps up, without state transfer or view change."""
    sim = Sim(seed)
    sim.network(delay_ms=0.3, jitter_ms=0.1)  # a few messages fit into a round of repair
    heard = Heard(sim)
    sim.byzantine(0)
    dropped = []

    def withhold(frame):
        if frame.type == "REQUEST" and frame.dst == victim and frame.src in (0, CLIENT):
            dropped.append(frame)
            return None
        return frame

    sim.on_frame(withhold)
    for k in range(5):
        execute(sim, op=operations.put(f"k{k}", PLENTY))
        assert sim.run_until(lambda k=k: sim.executed(victim) == k + 1, 300)
    assert len(dropped) >= 5
    assert len(heard.of("REQUEST", victim)) >= 5
    assert len(heard.of("FETCH")) == 0
    assert views(sim) == [0, 0, 0]
    recover(sim, (0,))


@pytest.mark.parametrize("seed", SEEDS)
def test_f11_proposes_outside_the_window(seed):
    """At or below the low mark, above the high mark, at the end of all seqnos: refused."""
    sim = Sim(seed)
    sim.byzantine(0)
    for _ in range(5):
        execute(sim)
    sim.run(50)
    assert [sim.stable(i) for i in BACKUPS] == [4, 4, 4]
    one = request(sim, 1, 300, operations.increment("n"))
    wrong = (0, 1, 4, 9, 10, 2**31, 2**32 - 1)
    before = [sim.faults(i)["outside_window"] for i in BACKUPS]
    for seqno in wrong:
        propose(sim, 0, seqno, [one])
    sim.run(20)
    for i, count in zip(BACKUPS, before, strict=True):
        assert sim.faults(i)["outside_window"] >= count + len(wrong)
    assert execute(sim).latency_ms < 100
    assert views(sim) == [0, 0, 0]
    recover(sim, (0,))


@pytest.mark.parametrize("pipeline", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_f11_leaves_gaps(seed, pipeline):
    """The first seqno is never proposed: the next view fills it with nothing and keeps what was
    prepared behind it; beyond the pipeline nothing was, and the request becomes the first."""
    sim = Sim(seed, PIPELINE=pipeline)
    heard = Heard(sim)
    sim.byzantine(0)

    def skip(frame):
        if frame.type in ("PRE-PREPARE", "COMMIT") and frame.view == 0:
            body = resealed(sim, 0, frame, lambda b: wire.put_header(
                b, b[1], 0, 0, sim.config.GROUP_ID, 0, frame.seqno + 1))  # fmt: skip
            return body
        return frame

    sim.filter_from(0, skip)
    handle = execute(sim, ms=3000)
    assert {wire.seqno(m) for m in heard.of("PRE-PREPARE", 1, 0) if wire.view(m) == 0} == {2}
    assert views(sim) == [1, 1, 1]
    assert sim.run_until(lambda: sim.executed(1) >= pipeline, 1000)
    ran = [len(sim.oracles.chain[seqno][1]) for seqno in range(1, pipeline + 1)]
    assert ran == [0, 1][2 - pipeline :]
    assert handle.reply == b"\x001"
    recover(sim, (0,))


@pytest.mark.parametrize("how", ["crash", "mute"])
@pytest.mark.parametrize("seed", SEEDS)
def test_f13_each_primary_faulty_in_turn(seed, how):
    """Whoever has just become the primary fails, the last one is back by then; twice round."""
    sim = Sim(seed)
    for round_number in range(8):
        primary = sim.view((round_number + 1) % 4) % 4
        assert primary == round_number % 4
        if how == "crash":
            sim.crash(primary)
        else:
            sim.filter_from(primary, lambda frame: None)
        handles = submit_some(sim, (CLIENT, (primary + 1) % 4), 2)
        assert sim.run_until(all_done(handles), BOUND_MS)
        if how == "crash":
            sim.restart(primary)
        else:
            sim.filter_from(primary, None)
        handle = execute(sim, client=(primary + 2) % 4)
        assert handle.latency_ms < 200
        assert sim.run_until(lambda: len({sim.executed(i) for i in OTHERS}) == 1, 3000)
        assert sim.run_until(lambda n=round_number: set(views(sim)) == {n + 1}, 3000)
    recover(sim)


@pytest.mark.parametrize("first", ["crash", "mute"])
@pytest.mark.parametrize("seed", SEEDS)
def test_f13_two_primaries_in_a_row(seed, first):
    """Seven replicas, the first two primaries faulty at once: two view changes, not more."""
    sim = Sim(seed, replicas=7)
    execute(sim, client=7)
    sim.crash(1)
    if first == "crash":
        sim.crash(0)
    else:
        sim.filter_from(0, lambda frame: None)
    handles = submit_some(sim, (2, 7), 2)
    limit = 2 * (sim.config.REQUEST_MS + sim.config.VIEW_CHANGE_MS)
    assert sim.run_until(all_done(handles), limit)
    assert {sim.view(i) for i in range(2, 7)} == {2}
    sim.filter_from(0, None)
    for i in (0, 1):
        sim.restart(i)
    measured = recover(sim)
    assert measured["view_changes"] == 0
