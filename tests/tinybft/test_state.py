"""The state against a reference that keeps full copies and hashes everything each time."""

from tests.portable import property_test
from tests.tinybft.support import (
    Config,
    allocated_by,
    digest_into,
    digest_nothing,
    sha256,
)
from tinybft.state import State
from tinybft.state_fields import allocate_state, fan_out_of, state_fields

# Small blocks, and messages so short that trees of 2 to 5 levels come about.
CONFIGS = (
    Config(STATE_LENGTH=256, BLOCK_LENGTH=64, CLIENT_COUNT=1),
    Config(STATE_LENGTH=192, BLOCK_LENGTH=16, CLIENT_COUNT=1, MESSAGE_LENGTH_MAX=64 + 36 * 3),
    Config(STATE_LENGTH=640, BLOCK_LENGTH=32, CLIENT_COUNT=4, MESSAGE_LENGTH_MAX=64 + 36 * 2),
    Config(STATE_LENGTH=160, BLOCK_LENGTH=16, WINDOW=8, MESSAGE_LENGTH_MAX=64 + 36 * 5),
    Config(STATE_LENGTH=32, BLOCK_LENGTH=32, WINDOW=2, CLIENT_COUNT=1),
)


def u16(value):
    return value.to_bytes(2, "little")


def u32(value):
    return value.to_bytes(4, "little")


class Reference:
    """Full copies, full hashing."""

    def __init__(self, config):
        self.config = config
        self.fan_out = fan_out_of(config)
        self.blocks = bytearray(config.BLOCK_COUNT * config.BLOCK_LENGTH)
        self.seqnos = [None] * config.BLOCK_COUNT
        self.held = {}  # seqno: (blocks, levels of entries)

    def write(self, offset, octets):
        if not octets:
            return
        self.blocks[offset : offset + len(octets)] = octets
        first = offset // self.config.BLOCK_LENGTH
        last = (offset + len(octets) - 1) // self.config.BLOCK_LENGTH
        for block in range(first, last + 1):
            self.seqnos[block] = None

    def take_checkpoint(self, seqno):
        length = self.config.BLOCK_LENGTH
        level = []
        for i in range(self.config.BLOCK_COUNT):
            if self.seqnos[i] is None:
                self.seqnos[i] = seqno
            in_use = self.config.STATE_LENGTH + self.config.SYSTEM_LENGTH
            block = bytes(self.blocks[i * length : min((i + 1) * length, in_use)])
            seqno_of = u32(self.seqnos[i])
            level.append(seqno_of + sha256(block + u16(i) + seqno_of))
        levels = [level]
        while len(level) > 1 or len(levels) < 2:
            groups = [level[i : i + self.fan_out] for i in range(0, len(level), self.fan_out)]
            level = [self._parent(group) for group in groups]
            levels.append(level)
        self.held[seqno] = (bytes(self.blocks), levels)

    def _parent(self, entries):
        newest = max(int.from_bytes(entry[:4], "little") for entry in entries)
        return u32(newest) + sha256(b"".join(entries))

    def release_below(self, seqno):
        for held in list(self.held):
            if held < seqno:
                del self.held[held]

    def roll_back(self):
        newest = max(self.held)
        self.blocks[:], levels = self.held[newest]
        self.seqnos = [int.from_bytes(entry[:4], "little") for entry in levels[0]]


def make(config):
    return State(config, allocate_state(config), digest_into), Reference(config)


def write(state, reference, offset, octets):
    buf = b"??" + octets + b"?"
    state.write(offset, buf, 2, len(octets))
    reference.write(offset, octets)


def assert_same(state, reference):
    config = reference.config
    held = len(state.raw)  # of the last block, the pages in use
    assert bytes(state.raw) == bytes(reference.blocks[:held])
    assert not any(reference.blocks[held:])
    out = bytearray(b"\xa5" * (max(config.BLOCK_LENGTH, 36) + 2))
    for seqno, (blocks, levels) in reference.held.items():
        assert state.tree.level_count == len(levels)
        assert state.root_into(seqno, out, 1)
        assert bytes(out[1:33]) == levels[-1][0][4:] and out[0] == 0xA5
        for i in range(config.BLOCK_COUNT):
            start = i * config.BLOCK_LENGTH
            assert state.block_into(seqno, i, out, 1)
            block = blocks[start : start + config.BLOCK_LENGTH]
            assert bytes(out[1 : 1 + config.BLOCK_LENGTH]) == block
        for level, entries in enumerate(levels):
            for index, entry in enumerate(entries):
                assert state.entry_into(seqno, level, index, out, 1)
                assert bytes(out[1:37]) == entry
            assert not state.entry_into(seqno, level, len(entries), out, 1)
            assert_same_children(state, seqno, levels, level)


def assert_same_children(state, seqno, levels, level):
    fan_out = state.tree.fan_out
    for index in range(len(levels[level])):
        out = bytearray(fan_out * 36 + 1)
        length = state.children_into(seqno, level, index, out, 1)
        if level == 0:
            assert length == 0
            continue
        children = b"".join(levels[level - 1][index * fan_out : (index + 1) * fan_out])
        assert bytes(out[1 : 1 + length]) == children
        assert state.tree.children_match(level, index, out, 1, levels[level][index], 4)
        out[1] ^= 128
        assert not state.tree.children_match(level, index, out, 1, levels[level][index], 4)


def assert_no_leak(state, config):
    """The rings hold what the held snapshots own, and nothing else."""
    snapshots = state.snapshots
    owned = [0, 0]
    for i in range(snapshots.count):
        at = (snapshots._oldest + i) % config.CHECKPOINT_COUNT * 4
        for kind in range(2):
            owned[kind] += int.from_bytes(snapshots._counts[at + 2 * kind :][:2], "little")
    assert owned == [snapshots.pages.count, snapshots.entries.count]
    assert snapshots.pages.limit == config.POOL_PAGE_COUNT


@property_test(count=60)
def test_equals_full_copies_and_full_hashing(draw):
    config = draw.choice(CONFIGS)
    state, reference = make(config)
    write(state, reference, 3, b"genesis")
    seqno = draw.choice((0, 0, 2**30 - 4, 2**31 - 4, 2**32 - 1000))
    state.take_checkpoint(seqno)
    reference.take_checkpoint(seqno)
    for _ in range(draw.integer(1, 30)):
        for _ in range(draw.integer(0, 3)):
            octets = draw.octets(0, min(3 * config.BLOCK_LENGTH, state.in_use))
            room = state.in_use - len(octets)
            write(state, reference, draw.integer(0, room), octets)
        step = draw.integer(0, 9)
        if step == 0:
            state.roll_back()
            reference.roll_back()
        else:
            seqno += config.CHECKPOINT_INTERVAL
            state.take_checkpoint(seqno)
            reference.take_checkpoint(seqno)
        if len(reference.held) == config.CHECKPOINT_COUNT or step == 1:
            stable = draw.choice(sorted(reference.held)[1:] or [seqno])
            state.release_below(stable)
            reference.release_below(stable)
        assert_same(state, reference)
        assert_no_leak(state, config)


def test_ten_thousand_checkpoints_leak_nothing():
    config = CONFIGS[1]
    state, reference = make(config)
    x = 1
    for seqno in range(0, 20000, 2):
        for _ in range(2):
            x = x * 1103515245 + 12345 & 0x3FFFFFFF
            octets = u32(x) * (x % 7)
            room = state.in_use - len(octets)
            write(state, reference, (x >> 8) % room, octets)
        state.take_checkpoint(seqno)
        if seqno % 2500 == 0:
            reference.take_checkpoint(seqno)
            assert_same(state, reference)
            reference.held.clear()
        else:
            for i, known in enumerate(reference.seqnos):
                reference.seqnos[i] = seqno if known is None else known
        if x & 4 or seqno >= 4 + state.snapshots.oldest_seqno():
            state.release_below(seqno if x & 8 else seqno - 2)
    state.release_below(seqno)
    assert state.snapshots.count == 1
    assert (state.snapshots.pages.count, state.snapshots.entries.count) == (0, 0)
    assert_no_leak(state, config)


def test_every_page_changed_in_each_interval_fits_the_pool():
    config = CONFIGS[3]
    state, reference = make(config)
    everything = config.STATE_LENGTH + config.SYSTEM_LENGTH
    state.take_checkpoint(0)
    reference.take_checkpoint(0)
    for i in range(1, config.CHECKPOINT_COUNT):
        write(state, reference, 0, bytes([i]) * everything)
        state.take_checkpoint(i * 2)
        reference.take_checkpoint(i * 2)
    assert state.snapshots.pages.count == config.POOL_PAGE_COUNT
    assert_same(state, reference)
    state.release_below(2)
    reference.release_below(2)
    write(state, reference, 0, b"\x77" * everything)
    assert_same(state, reference)
    assert_no_leak(state, config)


# A budget that is small beside the state: 3 pages per batch, K = 2, W = 6.
BUDGET = {"BATCH_PAGES_MAX": 3, "WINDOW": 6, "CLIENT_COUNT": 4}
BUDGETED = (
    Config(STATE_LENGTH=640, BLOCK_LENGTH=64, **BUDGET),
    Config(STATE_LENGTH=640, BLOCK_LENGTH=320, **BUDGET),
    Config(STATE_LENGTH=640, BLOCK_LENGTH=16, MESSAGE_LENGTH_MAX=64 + 36 * 4, **BUDGET),
    Config(STATE_LENGTH=320, BLOCK_LENGTH=128, **BUDGET),  # a block that both parts share
)


def scattered_batch(draw, state, reference, config, full):
    """One batch within its budget: writes somewhere, and what the library writes; if `full`,
    pages that nothing has changed since the newest checkpoint while there are any."""
    fresh = list(range(config.STATE_LENGTH // config.PAGE_LENGTH))
    changed = {page for page in fresh if state._modified[page >> 3] >> (page & 7) & 1}
    fresh = [page for page in fresh if page not in changed] if full else fresh
    state.allow(config.BATCH_PAGES_MAX)
    for _ in range(config.BATCH_PAGES_MAX if full else draw.integer(0, config.BATCH_PAGES_MAX)):
        if fresh:
            page = fresh.pop(draw.integer(0, len(fresh) - 1))
            write(state, reference, page * config.PAGE_LENGTH + draw.integer(0, 11), b"abcd")
    state.allow(-1)
    write(state, reference, config.STATE_LENGTH, bytes([draw.integer(0, 255)]) * 16)
    for client in range(config.CLIENT_COUNT if full else draw.integer(0, config.CLIENT_COUNT)):
        write(state, reference, config.STATE_LENGTH + 16 + 40 * client, draw.octets(40, 40))


@property_test(count=25)
def test_the_worst_legal_workload_fills_the_pool_and_no_more(draw):
    """W batches above the stable checkpoint, each with its whole budget on pages of its own: the
    pool is full to the last page; then the window moves, and it goes on and on."""
    config = draw.choice(BUDGETED)
    state, reference = make(config)
    state.take_checkpoint(0)
    reference.take_checkpoint(0)
    full = draw.integer(0, 3) > 0
    seqno = low_mark = 0
    for _ in range(draw.integer(1, 4)):
        while seqno < low_mark + config.WINDOW:
            scattered_batch(draw, state, reference, config, full)
            seqno += 1
            if seqno % config.CHECKPOINT_INTERVAL == 0:
                state.take_checkpoint(seqno)
                reference.take_checkpoint(seqno)
        if full:
            assert state.snapshots.pages.count == config.POOL_PAGE_COUNT
        assert_same(state, reference)
        assert_no_leak(state, config)
        low_mark += config.CHECKPOINT_INTERVAL * draw.integer(1, 3)
        state.release_below(low_mark)
        reference.release_below(low_mark)


def test_a_write_beyond_what_is_allowed_is_refused_before_it_changes_anything():
    config = BUDGETED[0]
    state, reference = make(config)
    state.take_checkpoint(0)
    reference.take_checkpoint(0)
    write(state, reference, 64, b"before")
    state.allow(2)
    write(state, reference, 0, b"a" * 128)  # one page is changed already: it costs one
    write(state, reference, 200, b"b")
    for offset, length in ((256, 1), (639, 1), (250, 10)):
        try:
            state.write(offset, bytes(10), 0, length)
        except ValueError:
            continue
        raise AssertionError("written")
    write(state, reference, 192, b"c" * 64)  # pages of its own may change as often as it likes
    state.allow(-1)
    assert_same(state, reference)
    write(state, reference, 256, b"d" * 300)
    state.roll_back()
    reference.roll_back()
    assert_same(state, reference)
    assert state.snapshots.pages.count == 0


def test_own_bugs_are_asserted():
    config = CONFIGS[0]
    state, _ = make(config)
    state.take_checkpoint(0)
    assert_fails(lambda: state.take_checkpoint(0))
    assert_fails(lambda: state.write(state.in_use - 1, b"ab", 0, 2))
    assert_fails(lambda: state.write(-1, b"ab", 0, 2))
    assert_fails(lambda: state.release_below(1))
    assert_fails(lambda: state.finish_install(2, bytes(32), 0))
    for seqno in (2, 4):
        state.write(0, b"a", 0, 1)
        state.take_checkpoint(seqno)
    assert_fails(lambda: state.take_checkpoint(6))


def assert_fails(action):
    try:
        action()
    except AssertionError:
        return
    raise ValueError("no assertion")


def test_unknown_numbers_are_answered_with_false():
    config = CONFIGS[0]
    state, _ = make(config)
    out = bytearray(64)
    assert not state.root_into(0, out, 0)
    state.take_checkpoint(0)
    assert not state.root_into(2, out, 0)
    assert not state.block_into(2, 0, out, 0)
    assert not state.block_into(0, config.BLOCK_COUNT, out, 0)
    assert not state.block_into(0, -1, out, 0)
    assert not state.entry_into(0, 7, 0, out, 0)
    assert not state.entry_into(2, 0, 0, out, 0)
    assert state.children_into(0, 1, 1, out, 0) == 0
    assert state.children_into(2, 1, 0, out, 0) == 0
    assert not state.holds(2) and state.holds(0)
    assert bytes(out) == bytes(64)


def fetch(target, source, seqno, forget=False):
    """Level by level, only what differs: as `transfer` does, without messages."""
    tree = source.tree
    root = bytearray(32)
    assert source.root_into(seqno, root, 0)
    fetched = 0
    nodes = [(tree.level_count - 1, 0)]
    while nodes:
        level, index = nodes.pop()
        entry = bytearray(36)
        source.entry_into(seqno, level, index, entry, 0)
        node = target.tree.level_starts[level] + index
        if target.tree.entries[node * 36 :][:36] == entry:  # nothing below is to fetch
            continue
        if level:
            first = index * tree.fan_out
            nodes += [(level - 1, first + i) for i in range(tree.child_count(level, index))]
            continue
        message = bytearray(b"\xa5" * (target._block_length + 10))
        source.block_into(seqno, index, message, 4)
        modified_seqno = int.from_bytes(entry[:4], "little")
        sent = bytes(message)
        message[4] ^= 1
        assert not target.install_block(index, modified_seqno, message, 4, entry, 4)
        message[4] ^= 1
        assert not target.install_block(index, modified_seqno + 1, message, 4, entry, 4)
        if not forget:
            assert target.install_block(index, modified_seqno, message, 4, entry, 4)
        assert bytes(message) == sent  # the borrowed bytes are back
        fetched += 1
    return fetched, root


@property_test(count=40)
def test_install_makes_an_equal_state(draw):
    config = draw.choice(CONFIGS)
    source, reference = make(config)
    target, _ = make(config)
    for state in (source, target):
        state.take_checkpoint(0)
    reference.take_checkpoint(0)
    for seqno in range(2, 2 * draw.integer(2, 6), 2):
        octets = draw.octets(1, 2 * config.BLOCK_LENGTH)
        write(source, reference, draw.integer(0, source.in_use - len(octets)), octets)
        source.take_checkpoint(seqno)
        reference.take_checkpoint(seqno)
        source.release_below(seqno)
        reference.release_below(seqno)
    write(source, reference, 0, b"later")
    target.write(5, b"lost", 0, 4)
    if draw.integer(0, 1):
        target.take_checkpoint(2)
        target.write(9, b"lost", 0, 4)
    target.begin_install()
    assert target.snapshots.count == 0
    assert (target.snapshots.pages.count, target.snapshots.entries.count) == (0, 0)
    seqno = max(reference.held)
    fetched, root = fetch(target, source, seqno, forget=True)
    if fetched:
        assert not target.finish_install(seqno, root, 0)
        assert target.installing
    again, _ = fetch(target, source, seqno)
    assert again == fetched
    target.begin_install()  # as for a newer target
    assert fetch(target, source, seqno)[0] == 0
    assert target.finish_install(seqno, root, 0)
    assert not target.installing
    source.roll_back()
    reference.roll_back()
    for state in (source, target):
        assert_same(state, reference)
        state.write(1, b"on", 0, 2)
        state.take_checkpoint(seqno + 2)
    reference.write(1, b"on")
    reference.take_checkpoint(seqno + 2)
    assert_same(target, reference)
    assert_no_leak(target, config)


def test_install_mends_rotten_memory():
    config = CONFIGS[0]
    source, reference = make(config)
    target, _ = make(config)
    for state in (source, target):
        state.take_checkpoint(0)
    reference.take_checkpoint(0)
    target.raw[100] ^= 4
    target.begin_install()
    fetched, root = fetch(target, source, 0)
    assert fetched == 1
    assert target.finish_install(0, root, 0)
    assert_same(target, reference)


def test_nothing_is_written_while_installing():
    config = CONFIGS[0]
    state, _ = make(config)
    state.take_checkpoint(0)
    state.begin_install()
    assert_fails(lambda: state.write(0, b"a", 0, 1))
    assert_fails(lambda: state.take_checkpoint(2))


def test_fields_are_what_memory_needs():
    config = Config()
    fields = state_fields(config)
    sizes = {name: size for name, size, _, _ in fields}
    assert sizes["blocks"] == 260 * 64 + 6
    assert sizes["pool"] == 2 * (256 + 4) * 64
    assert sizes["tree"] == 18 * 36
    budgeted = state_fields(Config(BATCH_PAGES_MAX=22))
    assert [size for name, size, _, _ in budgeted if name == "pool"] == [2 * (2 * 22 + 4) * 64]
    assert all(row == "execution" and text for _, _, text, row in fields)

    class Region:
        pass

    region = Region()
    for name, octets in allocate_state(config).items():
        setattr(region, name, octets)
    state = State(config, region, digest_into)
    state.take_checkpoint(0)
    assert state.holds(0)
    assert len(state.view) == 16384 and len(state.raw) == 16640


def test_the_message_path_allocates_nothing():
    config = Config()
    state = State(config, allocate_state(config), digest_nothing)
    state.take_checkpoint(0)
    state.write(0, b"a", 0, 1)
    state.take_checkpoint(2)
    octets = bytes(1200)
    out = bytearray(1200)
    state.write(1000, octets, 0, 100)
    seqno = [2]

    def hot_path():
        state.write(2000, octets, 0, 1200)
        state.write(16400, octets, 0, 40)
        seqno[0] += 2
        state.take_checkpoint(seqno[0])
        state.release_below(seqno[0] - 2)
        state.write(1, octets, 0, 64)
        state.root_into(seqno[0] - 2, out, 0)
        state.root_into(seqno[0], out, 0)
        state.block_into(seqno[0], 0, out, 0)
        state.entry_into(seqno[0] - 2, 0, 1, out, 0)
        state.children_into(seqno[0] - 2, 1, 0, out, 0)
        state.roll_back()

    def transfer():
        state.begin_install()
        state.install_block(0, 2, out, 0, state.tree.entries, 4)
        seqno[0] += 2
        state.finish_install(seqno[0], state.tree.entries, 17 * 36 + 4)

    assert allocated_by(hot_path) == 0
    assert allocated_by(transfer) == 0
    assert not state.installing
