"""A message that fails a check is not worth one access to the store, be it read or written."""

from tests.tinybft.bench import Bench, make_config, u16, u32
from tests.tinybft.fuzzing import tag_bounds
from tests.tinybft.modes import NVM
from tests.tinybft.scenes import all_scenes
from tinybft import faults, wire
from tinybft.jitter import Jitter

CONFIG = make_config(INLINE_LENGTH_MAX=300, **NVM)


def fault_of(bench, message):
    """The fault; asserts that the store was left alone."""
    before = list(bench.store.counts)
    fault = bench.feed(message)
    assert fault, "the message was taken"
    assert bench.store.counts == before, ("the store was used", faults.NAMES[fault])
    return fault


def test_what_is_kept_is_stored():
    """The control: the same messages, undamaged."""
    bench = Bench(1, CONFIG)
    before = list(bench.store.counts)
    assert bench.feed(bench.request(4, 1, b"operation")) == 0
    assert bench.store.counts[2] == before[2] + 1
    bench = Bench(1, CONFIG)
    before = list(bench.store.counts)
    assert bench.pre_prepare(0, 1, bench.batch([bench.request(4, 1, b"operation")])) == 0
    assert bench.store.counts[2] > before[2]


def test_bad_tags():
    bench = Bench(1, CONFIG)
    batch = bench.batch([bench.request(4, 1, b"operation")])
    messages = (
        bench.request(4, 1, b"operation", bad_for=(1,)),
        bench.message(wire.PRE_PREPARE, 0, 0, 1, batch.body, 0, (1,)),
        bench.message(wire.PREPARE, 2, 0, 1, batch.digest, 0, (1,)),
        bench.message(wire.COMMIT, 2, 0, 1, batch.digest, 0, (1,)),
        bench.message(wire.CHECKPOINT, 2, 0, 2, batch.digest, 0, (1,)),
        bench.view_change(2, 1, bad_for=(1,)),
    )
    for message in messages:
        assert fault_of(bench, message) == faults.MAC, message[1]


def test_outside_of_view_or_window_or_too_old():
    bench = Bench(1, CONFIG)
    bench.execute(1, 7)
    batch = bench.batch([bench.request(4, 8, b"operation")])

    def pre_prepare(seqno, view):
        return bench.message(wire.PRE_PREPARE, 0, view, seqno, batch.body)

    assert fault_of(bench, pre_prepare(9, 0)) == faults.OUTSIDE_WINDOW
    assert fault_of(bench, pre_prepare(2, 4)) == faults.STALE_VIEW
    assert fault_of(bench, bench.request(4, 6, b"older")) == faults.OLD_REQUEST


def test_a_batch_whose_requests_do_not_fit():
    bench = Bench(1, CONFIG)
    requests = [bench.request(i, 1, b"x" * 250) for i in (2, 4)]
    batch = bench.batch(requests)
    message = bench.message(wire.PRE_PREPARE, 0, 0, 1, batch.body)
    assert fault_of(bench, message) == faults.BATCH


def test_a_batch_with_another_digest_than_the_new_view_names():
    bench = Bench(1, CONFIG)
    batch = bench.batch([bench.request(4, 1, b"the right one")])
    other = bench.batch([bench.request(4, 1, b"another one")])
    claims = ((1, 0, batch.digest),)
    bench.begin_view(2, x=(batch.digest,), p=claims, q=claims)
    wrong = bench.message(wire.PRE_PREPARE, 2, 2, 1, other.body)
    assert fault_of(bench, wrong) == faults.NOT_NEEDED
    assert bench.pre_prepare(2, 1, batch, view=2) == 0


def test_a_block_that_is_not_the_one_that_was_agreed():
    bench = Bench(1, CONFIG)
    for sender in (0, 2, 3):
        bench.checkpoint(sender, 40, b"\x77" * 32)
    bench.tick(30)
    assert bench.core.transfer.running
    block = u16(0) + u16(0) + u32(2) + bytes(CONFIG.BLOCK_LENGTH)
    fault_of(bench, bench.message(wire.DATA, bench.core.transfer._source, 0, 40, block))
    entries = bytes((1, 0)) + u16(0) + u16(5) + u16(0) + bytes(36 * 5)
    fault_of(bench, bench.message(wire.META_DATA, bench.core.transfer._source, 0, 40, entries))


def damaged(frame, node, random):
    """The frame with one bit flipped, in what its tag covers or in the tag."""
    config = node.config
    end, tag_at = tag_bounds(frame, node.node_id, config.REPLICA_COUNT, config.TAG_LENGTH)
    places = list(range(end)) + list(range(tag_at, tag_at + config.TAG_LENGTH))
    octets = bytearray(frame)
    octets[places[random.below(len(places))]] ^= 1 << random.below(8)
    return octets


def test_frames_that_were_damaged_on_the_way():
    random = Jitter(5)
    refused = 0
    for scene in all_scenes(3, NVM):
        if not scene.node.replica:
            continue
        node, store = scene.node, scene.node.hal.store
        counts = node.replica.core.faults.counts
        for frame in scene.authentic[:60]:
            octets = damaged(frame, node, random)
            node.memory.received[: len(octets)] = octets
            before, stored = sum(counts), list(store.counts)
            node.replica.receive(node.memory.received, len(octets), scene.now)
            if sum(counts) > before and counts[faults.UNVOUCHED] == 0:
                refused += 1
                assert store.counts == stored, bytes(octets)
    assert refused > 200, refused
