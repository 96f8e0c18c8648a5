"""The ring of slots: a slot never gives what belongs to another seqno; votes per replica."""

from tests.portable import property_test
from tests.tinybft.bench import make_config, u16, u32
from tinybft import slots as flags
from tinybft import wire
from tinybft.jitter import Jitter
from tinybft.memory import Memory
from tinybft.octets import copy, get_u32, put_u32
from tinybft.slots import Slots

CONFIG = make_config()
# The same number on both interpreters.
_MOVES = 100_000


def ring(**changed):
    config = make_config(**changed) if changed else CONFIG
    return Slots(config, Memory(config))


def digest_of(number):
    return u32(number) * 8


def put_digest(slots, base, digest):
    copy(slots.buf, slots.digest_at(base), digest, 0, 32)


def is_empty(slots, base):
    at = slots.batch_at(base)
    return not any(slots.buf[base + 4 : at])


def mark(slots, base, seqno):
    """Leave traces of `seqno` in all parts of the slot."""
    put_digest(slots, base, digest_of(seqno))
    slots.set_flag(base, flags.PRE_PREPARED | flags.ACCEPTED)
    slots.set_doubts(base, seqno & 15)
    slots.set_held(base, seqno & 15)
    slots.add_prepare(base, seqno % 4)
    slots.add_commit(base, seqno % 4)
    slots.add_candidate_vote(base, wire.PREPARE, seqno % 4, digest_of(seqno + 1), 0)
    wire.put_batch_header(slots.buf, slots.batch_at(base), seqno, 0, 1)


def has_mark(slots, base, seqno):
    return (
        slots.seqno(base) == seqno
        and get_u32(slots.buf, slots.digest_at(base)) == seqno
        and slots.prepares(base) == slots.commits(base) == 1 << seqno % 4
        and slots.held(base) == slots.doubts(base) == seqno & 15
        and wire.batch_time_s(slots.buf, slots.batch_at(base)) == seqno
    )


def move_windows(start, moves, seed):
    """The window moves by 0 .. 2W at a time; a slot is opened here and there."""
    slots = ring()
    random = Jitter(seed)
    low = start
    marked = {}
    w = CONFIG.WINDOW
    for _ in range(moves):
        low += random.below(3) * random.below(w + 1)
        seqno = low + 1 + random.below(w)
        base = slots.open(seqno)
        if seqno in marked:
            assert has_mark(slots, base, seqno)
        else:
            assert slots.seqno(base) == seqno and is_empty(slots, base)
            mark(slots, base, seqno)
            marked[seqno] = True
            marked.pop(seqno - w, None)
        other = low + 1 - w + random.below(3 * w)
        found = slots.find(other)
        assert found < 0 or (slots.seqno(found) == other and has_mark(slots, found, other))
        if len(marked) > 64:
            marked = {s: True for s in marked if s > low}
    return low


def test_ring_under_100_000_random_window_moves():
    assert move_windows(0, _MOVES, 3) > _MOVES


def test_ring_around_the_sizes_of_small_integers():
    for middle in (2**30, 2**31):
        assert move_windows(middle - 1500, 2000, 5) > middle


def test_window_slots_do_not_overlap():
    slots = ring()
    bases = [slots.open(seqno) for seqno in (9, 10, 11, 12)]
    for i, base in enumerate(bases):
        mark(slots, base, 9 + i)
    for i, base in enumerate(bases):
        assert has_mark(slots, base, 9 + i)
    size = len(slots.buf) // CONFIG.SLOT_COUNT
    assert sorted(bases) == [i * size for i in range(CONFIG.WINDOW)]


def test_second_ring_has_a_place_for_each_batch_that_may_be_prepared_and_not_executed():
    slots = ring()
    kept = {}
    for seqno in (9, 10):
        mark(slots, slots.open(seqno), seqno)
        kept[seqno] = slots.keep(slots.find(seqno))
        assert kept[seqno] >= CONFIG.WINDOW * (len(slots.buf) // CONFIG.SLOT_COUNT)
    assert CONFIG.PIPELINE == 2 and len(set(kept.values())) == 2
    assert slots.find_kept(9) == kept[9] and slots.find_kept(10) == kept[10]
    assert slots.may_keep(11) and slots.may_keep(9) and not slots.may_keep(7)
    slots.keep(slots.open(11))
    assert slots.find_kept(9) == -1 and slots.find_kept(10) == kept[10]


def test_unopened_slot_is_not_found():
    slots = ring()
    for seqno in (1, 4, 5, 2**31):
        assert slots.find(seqno) == -1
    slots.open(3)
    assert slots.find(7) == -1 and slots.find(3) >= 0


def test_slot_keeps_its_seqno_until_the_place_is_taken():
    slots = ring()
    mark(slots, slots.open(3), 3)
    assert slots.find(3) >= 0
    slots.open(7)
    assert slots.find(3) == -1
    assert is_empty(slots, slots.find(7))


def test_votes_are_counted_once_per_replica():
    slots = ring()
    base = slots.open(1)
    for kind, add, mask in (
        (wire.PREPARE, slots.add_prepare, slots.prepares),
        (wire.COMMIT, slots.add_commit, slots.commits),
    ):
        assert not slots.has_voted(base, kind, 2)
        add(base, 2)
        add(base, 2)
        assert mask(base) == 4
        assert slots.has_voted(base, kind, 2) and not slots.has_voted(base, kind, 1)


def test_candidate_vote_is_a_vote():
    slots = ring()
    base = slots.open(1)
    assert slots.add_candidate_vote(base, wire.PREPARE, 2, digest_of(5), 0)
    assert slots.has_voted(base, wire.PREPARE, 2)
    assert not slots.has_voted(base, wire.COMMIT, 2)
    assert slots.prepares(base) == 0


def test_candidates_have_room_for_f_plus_1_digests():
    for f in (1, 2):
        slots = ring(FAULT_COUNT=f, CLIENT_COUNT=8)
        base = slots.open(1)
        for i in range(f + 1):
            assert slots.add_candidate_vote(base, wire.COMMIT, i, digest_of(10 + i), 0)
        assert not slots.add_candidate_vote(base, wire.COMMIT, 3, digest_of(20), 0)
        assert not slots.has_voted(base, wire.COMMIT, 3)
        assert slots.add_candidate_vote(base, wire.COMMIT, 3, digest_of(10), 0)


def test_votes_are_adopted_by_digest():
    slots = ring()
    base = slots.open(1)
    for replica, number in ((1, 5), (2, 6), (3, 5)):
        slots.add_candidate_vote(base, wire.PREPARE, replica, digest_of(number), 0)
    slots.add_candidate_vote(base, wire.COMMIT, 3, digest_of(5), 0)
    put_digest(slots, base, digest_of(5))
    slots.adopt_votes(base)
    assert slots.prepares(base) == 0b1010 and slots.commits(base) == 0b1000
    for replica in (1, 2, 3):
        assert slots.has_voted(base, wire.PREPARE, replica)


def test_adopting_makes_room_for_another_digest():
    slots = ring()
    base = slots.open(1)
    slots.add_candidate_vote(base, wire.PREPARE, 1, digest_of(5), 0)
    slots.add_candidate_vote(base, wire.PREPARE, 2, digest_of(6), 0)
    put_digest(slots, base, digest_of(5))
    slots.adopt_votes(base)
    assert slots.add_candidate_vote(base, wire.PREPARE, 3, digest_of(7), 0)


@property_test(count=100)
def test_disowned_votes_come_back_with_their_digest(draw):
    slots = ring()
    base = slots.open(1)
    prepares = draw.integer(0, 15)
    commits = draw.integer(0, 15)
    put_digest(slots, base, digest_of(5))
    for replica in range(4):
        if prepares >> replica & 1:
            slots.add_prepare(base, replica)
        if commits >> replica & 1:
            slots.add_commit(base, replica)
    slots.disown_votes(base)
    assert slots.prepares(base) == slots.commits(base) == 0
    put_digest(slots, base, digest_of(6))
    slots.adopt_votes(base)
    assert slots.prepares(base) == slots.commits(base) == 0
    slots.disown_votes(base)
    put_digest(slots, base, digest_of(5))
    slots.adopt_votes(base)
    assert slots.prepares(base) == prepares and slots.commits(base) == commits


def test_vote_masks_of_31_replicas():
    slots = ring(FAULT_COUNT=10, CLIENT_COUNT=31)
    base = slots.open(1)
    for replica in range(31):
        slots.add_prepare(base, replica)
        slots.add_candidate_vote(base, wire.COMMIT, replica, digest_of(5), 0)
    assert slots.prepares(base) == 2**31 - 1
    put_digest(slots, base, digest_of(5))
    slots.adopt_votes(base)
    assert slots.commits(base) == 2**31 - 1


def test_dropped_batch_keeps_the_votes():
    slots = ring()
    base = slots.open(3)
    mark(slots, base, 3)
    slots.drop_batch(base)
    assert slots.flags(base) == slots.held(base) == slots.doubts(base) == 0
    assert slots.has_voted(base, wire.PREPARE, 3)


def put_entries(slots, base, lengths):
    wire.put_batch_header(slots.buf, slots.batch_at(base), 0, 0, len(lengths))
    for i, length in enumerate(lengths):
        wire.put_entry(slots.buf, slots.entry_at(base, i), i, length, 1)


@property_test(count=100)
def test_bodies_lie_in_the_order_of_the_batch(draw):
    slots = ring()
    base = slots.open(2)
    lengths = [draw.integer(40, 72) for _ in range(4)]
    put_entries(slots, base, lengths)
    assert slots.missing(base) == 0b1111
    bodies = [bytes((65 + i,)) * n for i, n in enumerate(lengths)]
    order = draw.choice(((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)))
    for i in order:
        slots.put_body(base, i, b"\xa5" + bodies[i], 1)
    assert slots.missing(base) == 0
    at = slots.body_at(base, 0)
    octets = slots.bodies.octets
    assert bytes(octets[at : at + sum(lengths)]) == b"".join(bodies)
    assert at + slots.bodies_length_max == len(octets) // CONFIG.SLOT_COUNT * 3
    out = bytearray(100)
    assert slots.body_into(base, 1, out, 3) == lengths[1]
    assert bytes(out[: 3 + lengths[1]]) == b"\0\0\0" + bodies[1]


def test_seqno_is_checked_at_every_access():
    """A torn or stale slot number is never served under another one."""
    slots = ring()
    base = slots.open(2)
    mark(slots, base, 2)
    put_u32(slots.buf, base, 6)
    assert slots.find(2) == -1
    assert slots.open(2) == base and is_empty(slots, base)


def test_doubts_and_flags_do_not_touch_each_other():
    slots = ring()
    base = slots.open(2)
    slots.set_flag(base, flags.TIME_IN_DOUBT)
    slots.set_doubts(base, 0xFFFF)
    slots.set_held(base, 0x1234)
    assert slots.flags(base) == flags.TIME_IN_DOUBT
    slots.clear_flag(base, flags.TIME_IN_DOUBT)
    assert slots.doubts(base) == 0xFFFF and slots.held(base) == 0x1234
    assert bytes(slots.buf[base : base + 4]) == u16(2) + b"\0\0"
