"""F23 to F32: wrong checkpoints, lying and vanishing sources, replicas that were away.

State transfer must come to the state of the others whatever one replica answers, and the
others must not suffer from it. Figures: `python -m tests.sim.transfer_figures`.
"""

import pytest

from tests.sim.load import (
    Air,
    Load,
    blocks_fetched,
    caught_up,
    execute,
    highest,
    isolate,
    run_checkpoints,
    trust_again,
)
from tinybft import wire
from tinybft.requests import RESULT_INLINE_MAX
from tools.simulate import operations
from tools.simulate.sim import EVERYBODY, Sim

AWAY = 2  # the replica that was away; it asks the primary first
LIAR = 3
DIGEST = slice(16, 48)


def returning(sim, count=14):
    """Replica AWAY was off for `count` operations and starts now."""
    sim.crash(AWAY)
    execute(sim, count=count)
    sim.restart(AWAY)


def fill(sim):
    """Let every block of the state differ from genesis."""
    for i in range(8):
        execute(sim, op=operations.put(b"k%d" % i, bytes([65 + i]) * 100))
    for client in range(sim.client_count):
        execute(sim, client=client)


def flipped(octets, at, mask=1):
    octets = bytearray(octets)
    octets[at] ^= mask
    return bytes(octets)


def lie(sim, change, kinds, liar=LIAR):
    """`liar` sends `change(frame)` (bytes; None: nothing) in place of its messages of `kinds`,
    with good tags. Returns the list of lies told."""
    told = []

    def told_instead(frame):
        if frame.type not in kinds or frame.sender != liar:
            return frame
        octets = change(frame)
        if octets is None:
            return None
        if octets != frame.bytes:
            told.append(frame)
        return frame.replaced(sim.seal(liar, octets, to=frame.dst))

    sim.byzantine(liar)
    sim.filter_from(liar, told_instead)
    return told


def ask_liar_first(sim, done):
    """Nobody but LIAR hears a FETCH until `done()`: it is what AWAY has to make do with."""

    def deaf(frame):
        asks_other = frame.type == wire.FETCH and frame.dst != LIAR
        return None if asks_other and not done() else frame

    sim.on_frame(deaf)


def wrong_digest(frame):
    return flipped(frame.bytes, DIGEST.start + frame.dst)


# --- checkpoints that lie


@pytest.mark.parametrize("flags", [0, wire.FLAG_STABLE, wire.FLAG_GONE])
def test_f23_authentic_but_wrong_checkpoint_digest(flags):
    """One replica reports another digest, to each receiver a different one: windows move by
    the votes of the others, and nobody takes itself for diverged."""
    sim = Sim(seed=23)
    told = lie(
        sim,
        lambda f: bytes((wire.VERSION << 4 | flags,)) + wrong_digest(f)[1:],
        (wire.CHECKPOINT,),
    )
    execute(sim, count=12)
    sim.run(1000)
    assert told
    for i in (0, 1, 2):
        assert sim.stable(i) >= 10
        assert sim.faults(i)["diverged"] == 0 and blocks_fetched(sim, i) == 0
    assert any(sim.faults(i)["checkpoint_mismatch"] for i in (0, 1, 2))
    sim.check_liveness(5000)


def test_f23_wrong_digest_does_not_mislead_a_replica_that_returns():
    """Who was away needs f + 1 equal digests to go for: the liar's is alone."""
    sim = Sim(seed=23)
    told = lie(sim, wrong_digest, (wire.CHECKPOINT,))
    returning(sim)
    assert caught_up(sim, AWAY, 5000)
    assert told and blocks_fetched(sim, AWAY)
    sim.check_liveness(5000)


@pytest.mark.parametrize("seqno", [40, 10**6, 2**30, 2**31, 2**32 - 2])
def test_f25_checkpoint_far_in_the_future_from_one_replica(seqno):
    """One replica alone moves nobody's window, and hides no replica's real checkpoint."""
    sim = Sim(seed=25)
    sim.byzantine(LIAR)
    returning(sim)
    for flags in (0, wire.FLAG_STABLE):
        far = sim.message("CHECKPOINT", LIAR, 0, seqno, bytes(range(32)), flags)
        sim.send_as(LIAR, EVERYBODY, sim.seal(LIAR, far))
    sim.run(5)
    peers = [sim.core(i).checkpoints.peer_seqno(LIAR) for i in (0, 1, 2)]
    assert peers == [seqno] * 3
    assert caught_up(sim, AWAY, 5000)
    execute(sim, count=6)
    for i in (0, 1, 2):
        assert sim.stable(i) < 40 and not sim.core(i).transfer.running
    sim.check_liveness(5000)


def test_f26_source_serves_an_older_checkpoint():
    """Entries and blocks of an older checkpoint, authentic and well-formed, under the number of
    the one that was asked for: not believed; another source brings the state."""
    sim = Sim(seed=26)
    old = {}

    def older(frame):
        key = (frame.type, frame.bytes[16:22])
        return frame.bytes[:16] + old.setdefault(key, frame.bytes)[16:]

    told = lie(sim, older, (wire.META_DATA, wire.DATA), liar=0)
    # Its answers to a first transfer are the old ones; later it repeats them.
    sim.crash(AWAY)
    for block in range(8):
        execute(sim, op=operations.put(b"k%d" % block, b"old"), count=2)
    sim.restart(AWAY)
    assert caught_up(sim, AWAY, 5000) and old and not told
    sim.crash(AWAY)
    for block in range(8):
        execute(sim, op=operations.put(b"k%d" % block, b"new"), count=2)
    sim.restart(AWAY)
    assert caught_up(sim, AWAY, 5000)
    assert told and sim.faults(AWAY)["transfer"]
    sim.check_liveness(5000)


# --- corrupt answers

CONFIG = Sim(seed=1).config
BLOCK_COUNT = CONFIG.BLOCK_COUNT
LAST_LENGTH = CONFIG.STATE_LENGTH + CONFIG.SYSTEM_LENGTH - (BLOCK_COUNT - 1) * CONFIG.BLOCK_LENGTH


def fetched_beside(change, kinds):
    """AWAY starts with nothing and asks LIAR first, which answers with lies; (sim, lies)."""
    sim = Sim(seed=27)
    told = lie(sim, change, kinds)
    fill(sim)
    ask_liar_first(sim, lambda: told)
    returning(sim, 6)
    assert caught_up(sim, AWAY, 5000)
    assert told
    sim.check_liveness(5000)
    return sim


def data_with(block, change):
    """A lie about one block: `change(bytes of the message)`."""

    def changed(frame):
        mine = int.from_bytes(frame.bytes[16:18], "little") == block
        return change(frame.bytes) if mine else frame.bytes

    return changed


def test_f27_every_block_is_fetched():
    """What the next test rests on; the last block is only partly used (a client table and
    record of 216 bytes in blocks of 64)."""
    seen = set()
    sim = Sim(seed=27)
    assert sim.config.SYSTEM_LENGTH % sim.config.BLOCK_LENGTH

    def note(frame):
        if frame.type == wire.DATA:
            seen.add(frame.bytes[16])
        return frame

    sim.on_frame(note)
    fill(sim)
    returning(sim, 6)
    assert caught_up(sim, AWAY, 5000)
    assert seen == set(range(BLOCK_COUNT))


@pytest.mark.parametrize("block", range(BLOCK_COUNT))
def test_f27_corrupt_block(block):
    """Each block in turn comes with one bit flipped, in its last byte that is used."""
    last = 63 if block < BLOCK_COUNT - 1 else LAST_LENGTH - 1
    sim = fetched_beside(data_with(block, lambda b: flipped(b, 24 + last, 128)), (wire.DATA,))
    assert sim.faults(AWAY)["transfer"]


def test_f27_behind_the_end_of_the_state():
    """What the last block has behind the used part is nobody's: it is left there, and no lie."""
    change = data_with(BLOCK_COUNT - 1, lambda b: flipped(b, 24 + LAST_LENGTH, 128))
    sim = fetched_beside(change, (wire.DATA,))
    assert not sim.faults(AWAY)["transfer"]
    state = sim.core(AWAY).state
    octets = bytearray(64)
    state.read((BLOCK_COUNT - 1) * 64, octets, 0, 64)
    assert not any(octets[LAST_LENGTH:])


def shorter(octets):
    return octets[:6] + (len(octets) - 1).to_bytes(2, "little") + octets[8:-1]


def longer(octets):
    return octets[:6] + (len(octets) + 1).to_bytes(2, "little") + octets[8:] + b"\0"


_LIES = {
    "wrong index": (lambda b: b[:16] + bytes([(b[16] + 1) % BLOCK_COUNT]) + b[17:], None),
    "index outside": (lambda b: b[:16] + b"\xff\xff" + b[18:], None),
    "other modified seqno": (lambda b: flipped(b, 20), "transfer"),
    "zeros": (lambda b: b[:24] + bytes(len(b) - 24), "transfer"),
    "other checkpoint": (lambda b: flipped(b, 12, 2), None),
}


@pytest.mark.parametrize("name", _LIES)
def test_f27_wrong_data(name):
    """Every DATA of one source is wrong in one way."""
    change, fault = _LIES[name]
    sim = fetched_beside(lambda f: change(f.bytes), (wire.DATA,))
    if fault:
        assert sim.faults(AWAY)[fault]


@pytest.mark.parametrize("kind", [wire.META_DATA, wire.DATA])
@pytest.mark.parametrize("step", [-64, -36, -1, 1, 36])
def test_f27_wrong_length(kind, step):
    """Blocks and lists of entries that are too short or too long."""

    def resized(frame):
        body = frame.bytes[:-8]
        return body[:step] if step < 0 else body + bytes(step)

    sim = Sim(seed=27)
    lies = []

    def resealed(frame):
        if frame.type != kind:
            return frame
        octets = bytearray(resized(frame) + bytes(8))
        wire.put_length(octets, len(octets))
        lies.append(frame)
        buf = bytearray(octets)
        _seal_whole(sim, buf, frame.dst)
        return frame.replaced(buf)

    sim.byzantine(LIAR)
    sim.filter_from(LIAR, resealed)
    ask_liar_first(sim, lambda: lies)
    returning(sim)
    assert caught_up(sim, AWAY, 5000)
    assert lies
    assert sim.faults(AWAY)["length"] + sim.faults(AWAY)["field"]
    sim.check_liveness(5000)


def _seal_whole(sim, buf, receiver):
    """A good tag for bytes that `sim.seal` would not take for a message."""
    sim.seal(LIAR, sim.message("FETCH", LIAR, 0, 2, bytes(6)), to=receiver)
    sim._sealers[LIAR].seal_for(receiver, buf, len(buf) - sim.config.TAG_LENGTH, 1)


def test_f27_each_entry_of_meta_data():
    """One digest or seqno of every META-DATA is altered, another one for each answer."""
    count = [0]

    def changed(frame):
        count[0] += 1
        entries = frame.bytes[20]
        at = 24 + count[0] % entries * 36 + (0, 4, 35)[count[0] % 3]
        return flipped(frame.bytes, at, 16)

    sim = fetched_beside(changed, (wire.META_DATA,))
    assert sim.faults(AWAY)["transfer"]


# --- sources that stop, targets that go


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 9, 19])
def test_f28_source_stops_half_way(after):
    """The first source falls silent behind its `after`-th answer: the next one is asked."""
    sim = Sim(seed=28)
    answers = []

    def stops(frame):
        if frame.type in (wire.META_DATA, wire.DATA):
            answers.append(frame)
            return frame if len(answers) <= after else None
        return frame

    fill(sim)
    sim.filter_from(LIAR, stops)
    ask_liar_first(sim, lambda: len(answers) > after)
    returning(sim)
    assert caught_up(sim, AWAY, 5000)
    assert len(answers) > after
    sim.filter_from(LIAR, None)
    sim.check_liveness(5000)


def test_f28_every_source_stops_half_way_for_a_while():
    """No answer at all for a second, in the middle of the blocks: the transfer goes on then."""
    sim = Sim(seed=28)
    answers = []

    def stops(frame):
        if frame.dst == AWAY and frame.type in (wire.META_DATA, wire.DATA):
            answers.append(sim.now_ms)
            if len(answers) > 4 and sim.now_ms < answers[0] + 1000:
                return None
        return frame

    fill(sim)
    sim.on_frame(stops)
    returning(sim)
    goal = highest(sim)
    assert sim.run_until(lambda: len(answers) > 5, 5000)
    assert sim.core(AWAY).transfer.running
    assert sim.run_until(lambda: sim.executed(AWAY) >= goal, 5000)
    sim.check_liveness(5000)


def test_f28_source_repeats_its_first_answer():
    """It answers every question about a node with the entries of the first one, authentic and
    true: nothing new, so its time runs out like that of a silent one."""
    sim = Sim(seed=28)
    fill(sim)
    first = {}  # of each target
    count = [0]

    def repeats(frame):
        if frame.type == wire.META_DATA and frame.bytes[16] == 1:
            count[0] += 1
            return frame.replaced(first.setdefault(frame.seqno, frame.bytes))
        return frame if frame.type != wire.DATA else None

    def again():
        if first:
            sim.send_as(LIAR, AWAY, first[max(first)])
        sim.after(1, again)

    sim.byzantine(LIAR)
    sim.filter_from(LIAR, repeats)
    ask_liar_first(sim, lambda: count[0] > 3)
    again()
    returning(sim)
    assert caught_up(sim, AWAY, 2000)
    assert count[0] > 3
    sim.check_liveness(5000)


@pytest.mark.parametrize("delay_ms", [5, 15, 30, 60])
def test_f28_target_collected_during_the_fetch_under_load(delay_ms):
    """Answers take longer than checkpoints live: sources say so, blocks that came are kept, and
    the replica arrives all the same."""
    sim = Sim(seed=28)
    gone = []

    def slow(frame):
        if frame.type == wire.CHECKPOINT and frame.bytes[0] & wire.FLAG_GONE:
            gone.append(frame)
        late = frame.dst == AWAY and frame.type in (wire.META_DATA, wire.DATA)
        return frame.later(delay_ms) if late else frame

    sim.on_frame(slow)
    sim.crash(AWAY)
    load = Load(sim)
    run_checkpoints(sim, 5)
    sim.restart(AWAY)
    assert sim.run_until(lambda: len(gone) > 2, 5000)
    sim.run(1000)
    load.stop()
    assert caught_up(sim, AWAY, 5000)
    assert blocks_fetched(sim, AWAY)
    sim.check_liveness(5000)


# --- away for long


def away_under_load(checkpoints, seed=29, replicas=4):
    """F29 (see the test below). Returns (sim, ms from power on until it was level)."""
    sim = Sim(seed=seed, replicas=replicas)
    load = Load(sim)
    run_checkpoints(sim, 2)
    sim.crash(AWAY)
    run_checkpoints(sim, checkpoints)
    sim.restart(AWAY)
    begin = sim.now_ms
    assert sim.run_until(lambda: sim.executed(AWAY) >= highest(sim) - 1, 10000)
    took_ms = sim.now_ms - begin
    silenced = (AWAY + 1) % sim.replica_count
    isolate(sim, silenced)  # with 4 replicas each of the rest casts a deciding vote now
    before = highest(sim)
    executed = sim.executed(AWAY)
    run_checkpoints(sim, 5, ms=10000)
    assert highest(sim) >= before + 10 and sim.executed(AWAY) > executed
    load.stop()
    sim.heal()
    sim.check_liveness(10000)
    return sim, took_ms


@pytest.mark.parametrize("checkpoints", [1, 2, 3, 10, 100])
def test_f29_off_for_some_checkpoints_returns_under_full_load(checkpoints):
    """It comes level with a group under full load, and its vote decides when another one is
    silent."""
    away_under_load(checkpoints)


def test_f29_cut_off_and_back_with_its_memory():
    """The same for a replica that was merely cut off."""
    sim = Sim(seed=29)
    load = Load(sim, clients=(0, 1, 3, 4))
    run_checkpoints(sim, 2)
    isolate(sim, AWAY)
    run_checkpoints(sim, 20)
    sim.heal()
    assert sim.run_until(lambda: sim.executed(AWAY) >= highest(sim) - 1, 10000)
    assert blocks_fetched(sim, AWAY)
    sim.crash(LIAR)
    run_checkpoints(sim, 5, ms=10000)
    load.stop()
    sim.restart(LIAR)
    sim.check_liveness(10000)


@pytest.mark.parametrize("count", range(1, 12))
def test_returns_to_an_idle_group(count):
    """Nobody requests anything: it catches up all the same, to the last seqno."""
    sim = Sim(seed=29)
    sim.crash(AWAY)
    execute(sim, count=count)
    sim.run(2000)  # whatever was under way has ended
    sim.restart(AWAY)
    handles = len(sim.handles)
    assert caught_up(sim, AWAY, 5000)
    assert len(sim.handles) == handles and sim.state_digest(AWAY) == sim.state_digest(0)
    sim.check_liveness(5000)


# --- diverged


@pytest.mark.parametrize("where", ["application", "record", "client table"])
def test_a_replica_that_diverged_comes_back(where):
    """Bytes of its state change in memory; the next checkpoint that covers them contradicts a
    quorum, and transfer mends it, blocks that nobody wrote to included."""
    sim = Sim(seed=30)
    fill(sim)
    sim.byzantine(AWAY)
    raw = sim.core(AWAY).state.raw
    config = sim.config
    if where == "application":
        changed = range(config.BLOCK_LENGTH // 2, config.STATE_LENGTH, config.BLOCK_LENGTH)
    else:
        changed = [config.STATE_LENGTH + (8 if where == "record" else 16 + 4 * 40 + 2)]
    for at in changed:
        raw[at] ^= 4
    for client in (1, 4):
        execute(sim, count=6, client=client)
    assert sim.run_until(lambda: not sim.core(AWAY).transfer.running, 5000)
    assert caught_up(sim, AWAY, 5000)
    sim.run(1500)
    assert sim.faults(AWAY)["diverged"] and blocks_fetched(sim, AWAY) >= len(changed)
    assert sim.executed(AWAY) == sim.executed(0)
    assert sim.state_digest(AWAY) == sim.state_digest(0)
    trust_again(sim, AWAY)
    sim.check_liveness(5000)


# --- replies, view changes


@pytest.mark.parametrize("length", [8, RESULT_INLINE_MAX + 1, 160])
def test_replies_are_sent_again_after_a_transfer(length):
    """A client that heard no reply gets it from a replica that knows the result by transfer
    only, together with one other."""
    sim = Sim(seed=31)
    execute(sim, op=operations.put("long", b"x" * length))
    isolate(sim, AWAY)
    deaf = {0, 1, 3}

    def no_reply(frame):
        return None if frame.type == wire.REPLY and frame.dst == 4 and frame.src in deaf else frame

    sim.on_frame(no_reply)
    handle = sim.submit(4, operations.get("long"))
    assert sim.run_until(lambda: sim.executed(0) == 2, 5000)
    execute(sim, client=1, count=9)
    assert not handle.done
    deaf.discard(1)  # R1 and AWAY are the f + 1 that the client needs
    sim.run(500)
    assert not handle.done
    sim.heal()
    assert sim.run_until(lambda: handle.done, 10000)
    assert blocks_fetched(sim, AWAY) and handle.reply == b"\0" + b"x" * length
    deaf.clear()
    sim.check_liveness(5000)


@pytest.mark.parametrize("length", [8, 160])
def test_own_client_learns_its_reply_after_a_transfer(length):
    """The replica that was cut off requested something itself: it went out, the group went on
    without it."""
    sim = Sim(seed=31)
    execute(sim, op=operations.put("long", b"x" * length))
    for other in (0, 1, 3, 4):
        sim.one_way(other, AWAY)
    handle = sim.submit(AWAY, operations.get("long"))
    execute(sim, client=1, count=9)
    assert not handle.done
    sim.heal()
    assert sim.run_until(lambda: handle.done, 10000)
    assert handle.reply == b"\0" + b"x" * length
    assert caught_up(sim, AWAY, 5000) and blocks_fetched(sim, AWAY)
    sim.check_liveness(5000)


@pytest.mark.parametrize("seed", range(4))
def test_new_view_while_a_transfer_runs(seed):
    """The primary dies while a replica whose vote the view change needs is fetching a state."""
    sim = Sim(seed=seed)
    load = Load(sim, clients=(1, 3, 4))
    slow = [True]

    def delayed(frame):
        late = frame.dst == AWAY and frame.type in (wire.META_DATA, wire.DATA) and slow[0]
        return frame.later(3000) if late else frame

    sim.on_frame(delayed)
    isolate(sim, AWAY)
    run_checkpoints(sim, 6)
    sim.heal()
    assert sim.run_until(lambda: sim.core(AWAY).transfer.running, 5000)
    sim.crash(0)
    assert sim.run_until(lambda: sim.view(AWAY) == 1 and sim.core(AWAY).progress.active, 60000)
    assert sim.core(AWAY).transfer.running
    load.stop()
    slow[0] = False
    assert sim.check_liveness(30000)["view_changes"] <= 1
    assert caught_up(sim, AWAY, 5000) and not sim.core(AWAY).transfer.running


# --- floods


def fetch_of(sim, sender, seqno, receiver, mask=0xFFFF):
    body = bytearray(30)
    wire.put_fetch(body, 0, 0, mask)
    octets = sim.message("FETCH", sender, 0, seqno, bytes(body[16:22]))
    return sim.seal(sender, octets, to=receiver)


def test_f32_flood_of_fetch_is_answered_at_a_bounded_pace():
    """One replica asks for all blocks ten times per millisecond: at most four FETCHes per
    repair interval are served, and the group goes on."""
    sim = Sim(seed=32)
    execute(sim, count=9)
    sim.byzantine(LIAR)
    air = Air(sim)
    ms = 300

    def ask():
        seqno = sim.stable(0)
        for receiver in (0, 1, 2):
            sim.send_as(LIAR, receiver, fetch_of(sim, LIAR, seqno, receiver))

    for i in range(10 * ms):
        sim.after(i / 10, ask)
    before = sim.executed(0)
    load = Load(sim)
    sim.run(ms)
    load.stop()
    assert sim.executed(0) > before + 20
    limit = 16 * 4 * (ms // sim.config.REPAIR_MS + 1)
    for i in (0, 1, 2):
        assert 0 < air.of(i)["DATA"] <= limit
        assert sim.faults(i)["rate_limited"] > 5 * ms
    sim.check_liveness(5000)


def test_f32_flood_does_not_starve_who_needs_a_state():
    """Beside the flood another replica still gets its state."""
    sim = Sim(seed=32)
    execute(sim, count=9)
    sim.byzantine(LIAR)

    def ask():
        for receiver in (0, 1):
            sim.send_as(LIAR, receiver, fetch_of(sim, LIAR, sim.stable(0), receiver))

    for i in range(2000):
        sim.after(i / 2, ask)
    returning(sim)
    assert caught_up(sim, AWAY, 900)
    sim.run(1000)
    sim.check_liveness(5000)


def test_f32_forged_fetches_use_up_nobodys_turns():
    """Somebody without keys floods in the name of the replica that needs a state."""
    sim = Sim(seed=32)
    execute(sim, count=9)
    sim.crash(AWAY)
    execute(sim, count=9)
    sim.restart(AWAY)

    def ask():
        for receiver in (0, 1, 3):
            forged = fetch_of(sim, AWAY, sim.stable(0), receiver)
            sim.send_as(4, receiver, flipped(forged, len(forged) - 1))

    for i in range(2000):
        sim.after(i / 2, ask)
    assert caught_up(sim, AWAY, 900)
    sim.run(1000)
    assert all(sim.faults(i)["mac"] > 500 for i in (0, 1, 3))
    sim.check_liveness(5000)
