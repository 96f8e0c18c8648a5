"""Faulty clients, bad tags, replayed and forged messages: F14, F15, F17 to F22."""

import random

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
    execute,
    recover,
    request,
    resealed,
    submit_some,
    views,
    vote,
    without_proposals,
)
from tinybft import wire
from tinybft.requests import RESULT_INLINE_MAX
from tools.simulate import operations
from tools.simulate.sim import EVERYBODY, Sim

BACKUPS = (1, 2, 3)
FAR = 100000  # request ids that the honest client of the same node does not reach


def bad_client(sim, client=CLIENT):
    """The script speaks for this client from now on."""
    sim.byzantine(client)
    if client == CLIENT:
        sim.crash(client)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_f14_big_mac(seed, long):
    """Good for the primary alone: nobody vouches for it, and the others wait for one view change
    at most. The next primary does not hold it, nor is it ever executed."""
    sim = Sim(seed)
    heard = Heard(sim)
    bad_client(sim)
    op = operations.put("x", PLENTY) if long else operations.increment("x")
    sim.send_as(CLIENT, EVERYBODY, request(sim, CLIENT, FAR, op, bad_for=BACKUPS))
    assert sim.run_until(lambda: len(heard.of("PRE-PREPARE")) >= 3, 100)
    handles = submit_some(sim, OTHERS)
    assert sim.run_until(all_done(handles), sim.config.REQUEST_MS + 200)
    assert views(sim) == [1] * 4
    assert not [m for m in heard.of("PREPARE") if wire.view(m) == 0]
    assert all(ran.client != CLIENT for _, done in sim.oracles.chain.values() for ran in done)
    assert_counted_once(handles)
    recover(sim)


@pytest.mark.parametrize("same_id", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_f14_one_for_each_replica(seed, same_id):
    """Each replica gets one that is good for it alone, and no word more: that must not stop one
    primary after the other."""
    sim = Sim(seed)
    bad_client(sim)
    for i in OTHERS:
        rest = [other for other in OTHERS if other != i]
        number = FAR if same_id else FAR + i
        bad = request(sim, CLIENT, number, operations.put("bad", str(i)), bad_for=rest)
        sim.send_as(CLIENT, i, bad)
    sim.run(5)
    handles = submit_some(sim, OTHERS)
    assert sim.run_until(all_done(handles), sim.config.REQUEST_MS + 500)
    assert views(sim) == [1] * 4
    assert all(ran.client != CLIENT for _, done in sim.oracles.chain.values() for ran in done)
    assert_counted_once(handles)
    recover(sim)


@pytest.mark.parametrize("seed", SEEDS)
def test_f14_each_primary_in_turn(seed):
    """Every attack costs at most one view change, however often it comes."""
    sim = Sim(seed)
    bad_client(sim)
    for k in range(6):
        primary = sim.view(0) % 4
        rest = [i for i in OTHERS if i != primary]
        bad = request(sim, CLIENT, FAR + k, operations.increment("x"), bad_for=rest)
        sim.send_as(CLIENT, EVERYBODY, bad)
        sim.run(5)
        handles = submit_some(sim, OTHERS, 1)
        assert sim.run_until(all_done(handles), sim.config.REQUEST_MS + 200)
        assert sim.run_until(lambda k=k: views(sim) == [k + 1] * 4, 200)
    recover(sim)


@pytest.mark.parametrize("vouching", BACKUPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_f15_good_for_primary_and_one_more(seed, vouching):
    """f backups vouch for it: everybody takes it, there is nothing to complain about."""
    sim = Sim(seed)
    bad_client(sim)
    rest = [i for i in BACKUPS if i != vouching]
    sim.send_as(
        CLIENT, EVERYBODY, request(sim, CLIENT, FAR, operations.increment("n"), bad_for=rest)
    )
    assert sim.run_until(lambda: all(sim.executed(i) == 1 for i in OTHERS), 100)
    assert execute(sim, client=1).reply == b"\x002"
    assert views(sim) == [0] * 4
    recover(sim)


@pytest.mark.parametrize("seed", range(1, 4 * len(SEEDS) + 1))
def test_f15_retried_with_variants(seed):
    """The same id with other operations, each good for a random part of the group, to a random
    part: the others are served, with at most one view change per attack; nothing runs twice."""
    sim = Sim(seed)
    heard = Heard(sim)
    bad_client(sim)
    draw = random.Random(f"variants {seed}")
    attacks = 5
    handles = []
    for k in range(attacks):
        for variant in range(3):
            op = operations.put(f"bad{k}", str(variant) + "x" * draw.choice((0, 200)))
            bad = draw.sample(OTHERS, draw.randrange(1, 4))
            message = request(sim, CLIENT, FAR + k, op, bad_for=bad)
            for target in draw.sample(OTHERS, draw.randrange(1, 5)):
                sim.send_as(CLIENT, target, message)
            sim.run(draw.choice((0, 1, 5)))
        new = submit_some(sim, OTHERS, 1)
        handles += new
        assert sim.run_until(all_done(new), BOUND_MS)
    assert len(heard.of("REQUEST", sender=CLIENT)) > attacks
    assert max(views(sim)) <= attacks
    ran = [r for _, done in sim.oracles.chain.values() for r in done if r.client == CLIENT]
    assert len(ran) <= attacks
    assert_counted_once(handles)
    recover(sim)


@pytest.mark.parametrize("seed", SEEDS)
def test_f17_request_id_jumps_to_the_maximum_and_back(seed):
    """The highest id is this client's last one; who jumps harms nobody else."""
    sim = Sim(seed)
    bad_client(sim)
    for number in (5, 2**31, 2**32 - 1):
        sim.send_as(CLIENT, EVERYBODY, request(sim, CLIENT, number, operations.increment("n")))
        sim.run(30)
    assert [sim.executed(i) for i in OTHERS] == [3] * 4
    old = [sim.faults(i)["old_request"] for i in OTHERS]
    for number in (1, 6, 2**31 + 1, 2**32 - 2):
        sim.send_as(CLIENT, EVERYBODY, request(sim, CLIENT, number, operations.increment("n")))
    sim.send_as(CLIENT, EVERYBODY, request(sim, CLIENT, 0, operations.increment("n")))
    sim.run(30)
    for i in OTHERS:
        assert sim.faults(i)["old_request"] == old[i] + 4 and sim.faults(i)["field"] == 1
        assert sim.executed(i) == 3
    assert execute(sim, client=2).reply == b"\x004"
    assert views(sim) == [0] * 4
    recover(sim)


@pytest.mark.parametrize("liar", [0, 3])
@pytest.mark.parametrize("victims", [(1,), (2,), (1, 2)])
@pytest.mark.parametrize("seed", SEEDS)
def test_f18_bad_tags_for_a_subset(seed, liar, victims):
    """Whatever a replica says has bad tags for some: those are not cut off and nobody complains,
    unless a primary hides its proposals from too many."""
    sim = Sim(seed)
    sim.byzantine(liar)
    one_tag = ("REPLY", "FETCH", "META-DATA", "DATA")

    def spoil(frame):
        if frame.type in one_tag or frame.sender != liar:
            return frame
        return resealed(sim, liar, frame, lambda body: None, bad_for=victims)

    sim.filter_from(liar, spoil)
    handles = submit_some(sim, (1, 2, CLIENT), 4)
    assert sim.run_until(all_done(handles), BOUND_MS)
    for i in victims:
        assert sim.faults(i)["mac"] > 5
    sim.run(600)
    correct = sim.correct_replicas()
    assert len({sim.executed(i) for i in correct}) == 1
    if liar != 0 or len(victims) == 1:
        assert views(sim) == [0, 0, 0]
    else:
        assert max(views(sim)) <= 1
    assert_counted_once(handles)
    recover(sim, (liar,))


@pytest.mark.parametrize("victims", [(0,), (1,), (2,), (0, 2), (1, 2)])
@pytest.mark.parametrize("seed", SEEDS)
def test_f18_bad_tags_in_a_view_change(seed, victims):
    """VIEW-CHANGE and ACK of R3 are good for some only: what the new primary counts is believed
    by acks, and the view begins at the first attempt."""
    sim = Sim(seed)
    heard = Heard(sim)
    execute(sim)
    sim.byzantine(3)

    def spoil(frame):
        if frame.type in ("VIEW-CHANGE", "VIEW-CHANGE-ACK", "STATUS") and frame.sender == 3:
            return resealed(sim, 3, frame, lambda body: None, bad_for=victims)
        return frame

    sim.filter_from(3, spoil)
    sim.on_frame(without_proposals)
    handles = submit_some(sim, (0, CLIENT), 2)
    assert sim.run_until(all_done(handles), sim.config.REQUEST_MS + 500)
    assert all(heard.of("VIEW-CHANGE", i, 3) and sim.faults(i)["mac"] for i in victims)
    assert views(sim) == [1, 1, 1]
    recover(sim, (3,))


@pytest.mark.parametrize("seed", SEEDS)
def test_f19_in_the_name_of_another(seed):
    """R3 signs as R1, as R0 or as a client, with its own keys: all of it is refused."""
    sim = Sim(seed)
    heard = Heard(sim)
    execute(sim)
    sim.run(20)
    sim.byzantine(3)
    digest = bytes(range(32))
    view_change = sim.message("VIEW-CHANGE", 0, 9, 0, bytes(4))
    forged = [
        sim.message("PRE-PREPARE", 0, 0, 2, bytes(6) + b"\1\0" + b"\0" + bytes(40)),
        sim.message("PREPARE", 1, 0, 2, digest),
        sim.message("COMMIT", 1, 0, 2, digest),
        sim.message("CHECKPOINT", 1, 0, 2, digest, flags=wire.FLAG_STABLE),
        sim.message("CHECKPOINT", 0, 0, 400, digest, flags=wire.FLAG_STABLE),
        view_change,
        sim.message("VIEW-CHANGE", 1, 9, 0, bytes(4)),
        sim.message("REQUEST", 1, 0, FAR, operations.increment("n")),
        sim.message("STATUS", 1, 0, 0, bytes(6 + 2 + 1)),
    ]
    before = {i: (sim.faults(i)["mac"], sim.view(i), sim.executed(i)) for i in (0, 2)}
    for message in forged:
        for target in (0, 2):
            if wire.sender(message) != target:
                sim.send_as(3, target, sim.seal(3, message))
    sim.send_as(3, 1, sim.seal(3, sim.message("PREPARE", 1, 0, 2, digest)))  # its own name
    sim.send_as(3, 0, sim.seal(3, sim.message("PREPARE", 4, 0, 2, digest)))  # a client's
    sim.send_as(3, 0, sim.seal(3, sim.message("PREPARE", 77, 0, 2, digest)))  # nobody's
    sim.run(20)
    assert len(heard.of("VIEW-CHANGE", 2)) == 2
    for i, count in ((0, 6), (2, 9)):
        mac, view, executed = before[i]
        assert sim.faults(i)["mac"] >= mac + count - 1  # of two for one place the second is late
        assert (sim.view(i), sim.executed(i)) == (view, executed)
    assert sim.faults(1)["sender"] >= 1 and sim.faults(0)["sender"] >= 2
    assert execute(sim).latency_ms < 100
    assert views(sim) == [0, 0, 0]
    recover(sim, (3,))


@pytest.mark.parametrize("who", BACKUPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_f20_a_whole_life_is_replayed(seed, who):
    """All that was on the air, in two views, comes once more after a restart and under load."""
    sim = Sim(seed)
    heard = Heard(sim)
    handles = submit_some(sim, (1, 2, 3, CLIENT), 3)
    assert sim.run_until(all_done(handles), 1000)
    sim.on_frame(without_proposals)
    handles += submit_some(sim, (0, CLIENT), 3)
    assert sim.run_until(all_done(handles), 3000)
    sim.on_frame(None)
    assert set(views(sim)) == {1}
    sim.run(600)
    recorded = list(dict.fromkeys((device, message) for device, message in heard))
    assert len(recorded) > 500
    sim.restart(who)
    handles += submit_some(sim, [i for i in (0, 1, 2, 3) if i != who], 4)
    for device, message in recorded:
        sim.send_as(CLIENT, device, message)
        if sim.random.randrange(8) == 0:
            sim.run(1)
    assert sim.run_until(all_done(handles), BOUND_MS)
    for device, message in recorded:
        sim.send_as(CLIENT, device, message)
    sim.run(50)
    assert_counted_once(handles)
    assert max(views(sim)) <= 2
    recover(sim)


def lying_reply(sim, liar, frame, result, flags=0):
    """A REPLY of `liar` to the REQUEST in `frame`, sealed."""
    client = frame.sender
    message = sim.message("REPLY", liar, sim.view(liar), frame.seqno, result, flags=flags)
    _send_lie(sim, liar, client, sim.seal(liar, message, to=client))


def _send_lie(sim, liar, client, message):
    """By a way around the filter that keeps back what its device replies."""
    hal = sim.device(client)
    sim.world.at(sim.world.now_us + 500, hal.deliver, message)


@pytest.mark.parametrize("kind", ["short", "long", "digest", "both", "forged"])
@pytest.mark.parametrize("client", [1, CLIENT])
@pytest.mark.parametrize("seed", SEEDS)
def test_f21_fast_wrong_replies(seed, client, kind):
    """R3 answers every request before it is executed, and repeats it: one voice is not enough,
    and a wrong whole result for the right digests costs a retry at most."""
    sim = Sim(seed)
    heard = Heard(sim)
    sim.byzantine(3)
    wrong = b"\x00" + b"w" * (99 if kind != "short" else 7)

    def lie(frame):
        if frame.type == "REPLY" and frame.src == 3:
            return None
        if frame.type == "REQUEST" and frame.dst == 3 and frame.sender == client:
            if kind in ("digest", "both"):
                lying_reply(sim, 3, frame, bytes(32), wire.FLAG_DIGEST)
            if kind == "forged":
                message = sim.message("REPLY", 2, 0, frame.seqno, wrong)
                _send_lie(sim, 3, client, sim.seal(3, message, to=client))
            if kind != "digest":
                for _ in range(3):
                    lying_reply(sim, 3, frame, wrong)
        return frame

    sim.on_frame(lie)
    value = "r" * 100
    assert execute(sim, client, op=operations.put("long", value)).reply == b"\x00"
    for _ in range(8):  # each replica has its turn to send the whole result
        handle = execute(sim, client, op=operations.get("long"))
        assert handle.reply == b"\x00" + value.encode()
        assert handle.latency_ms < 200
    liar = 2 if kind == "forged" else 3
    assert len(value) > RESULT_INLINE_MAX and len(heard.of("REPLY", client, liar)) >= 9
    assert views(sim) == [0, 0, 0]
    recover(sim, (3,))


@pytest.mark.parametrize(
    "options", [(), ("READ_ONLY",), ("TENTATIVE",), ("READ_ONLY", "TENTATIVE")]
)
@pytest.mark.parametrize("client", [2, CLIENT])
@pytest.mark.parametrize("seed", SEEDS)
def test_f22_stale_and_forged_read_only_replies(seed, client, options):
    """A read sees the last acknowledged write, whatever R3 replies first: the value before that
    write, marked as early or not, and all replies of the past replayed."""
    sim = Sim(seed, **dict.fromkeys(options, True))
    heard = Heard(sim)
    sim.byzantine(3)
    past = []
    old = b"none"

    def lie(frame):
        if frame.type == "REPLY" and frame.src == 3:
            return None
        if frame.type == "REQUEST" and frame.dst == 3 and frame.sender == client:
            for flags in (wire.FLAG_TENTATIVE, wire.FLAG_UNORDERED, 0):
                lying_reply(sim, 3, frame, b"\x00" + old, flags)
            for message in past[-20:]:
                _send_lie(sim, 3, client, message)
        return frame

    sim.on_frame(lie)
    for k in range(6):
        value = b"%d" % k * 3
        writer = (1, CLIENT)[k % 2]
        assert execute(sim, writer, op=operations.put("lamp", value)).reply == b"\x00"
        handle = sim.submit(client, operations.get("lamp"), read_only=True)
        assert sim.run_until(lambda handle=handle: handle.done, 1000)
        assert handle.reply == b"\x00" + value
        past = heard.of("REPLY", client)
        old = value
    assert len(heard.of("REPLY", client, 3)) > 20
    recover(sim, (3,))


@pytest.mark.parametrize("liar", BACKUPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_f18_votes_for_other_digests(seed, liar):
    """The first vote counts, and one voice for another digest keeps nothing from preparing."""
    sim = Sim(seed)
    sim.byzantine(liar)

    def lie(frame):
        if frame.type not in ("PREPARE", "COMMIT"):
            return frame
        other = vote(sim, frame.name, liar, frame.seqno, bytes([frame.dst]) * 32, frame.view)
        return [frame.replaced(other), frame] if frame.seqno % 2 else frame.replaced(other)

    sim.filter_from(liar, lie)
    handles = submit_some(sim, (0, CLIENT), 4)
    assert sim.run_until(all_done(handles), 500)
    assert views(sim) == [0, 0, 0]
    assert sum(sim.faults(i)["not_needed"] + sim.faults(i)["equivocation"] for i in OTHERS) > 0
    recover(sim, (liar,))
