"""The image: at whatever byte power is cut, it is the old checkpoint or the new one, whole."""

from hal.sim_parts import PowerCut, Store
from tests.portable import property_test
from tests.tinybft.support import Config, digest_into
from tinybft.image import Image
from tinybft.layout import areas
from tinybft.octets import fill
from tinybft.state import State
from tinybft.state_fields import allocate_state


def make_config():
    return Config(
        BLOCK_LENGTH=128,
        STATE_LENGTH=1024,
        REQUEST_LENGTH_MAX=64,
        REPLY_LENGTH_MAX=64,
        STORAGE_AGREEMENT="mirror",
        STORAGE_CHECKPOINT="mirror",
        STORAGE_EVENT="mirror",
        STORAGE_STATE="mirror",
    )


def genesis(state):
    state.write(0, b"genesis", 0, 7)


def make_state(config):
    state = State(config, allocate_state(config), digest_into)
    genesis(state)
    state.take_checkpoint(0)
    return state


class Device:
    """A state, its image, and the record that names the places that count."""

    def __init__(self, config, store):
        self.config = config
        self.store = store
        self.room = bytearray(config.BLOCK_LENGTH + 6)
        self.record = None  # (seqno, digest, what `put` said): durable all at once
        self.start()

    def start(self):
        self.state = make_state(self.config)
        self.image = Image(self.config, self.store, bytearray(256))
        if self.record:
            seqno, digest, text = self.record
            self.image.get(seqno, text, 0)
            self.image.load(self.state)
            assert self.state.restore(seqno, self.image, digest, 0), "a mixture"

    def advance(self, seqno):
        self.image.advance(self.state, seqno, self.room)
        digest = bytearray(32)
        self.state.root_into(seqno, digest, 0)
        text = bytearray(256)
        self.image.put(text, 0)
        self.record = (seqno, digest, text)
        self.state.release_below(seqno)


@property_test(count=60)
def test_whole_after_any_cut(draw):
    config = make_config()
    store = Store(areas(config)["size"], draw.integer(1, 10**6))
    device = Device(config, store)
    seqno = 0
    for _ in range(draw.integer(1, 8)):
        held = draw.integer(1, 2)
        for _ in range(held):
            for _ in range(draw.integer(0, 5)):
                length = draw.integer(1, 200)
                at = draw.integer(0, config.STATE_LENGTH - length)
                device.state.write(at, draw.octets(length, length), 0, length)
            seqno += 2
            device.state.take_checkpoint(seqno)
        expected = bytes(device.state.raw)
        store.bytes_left = draw.integer(0, 1500)
        store.torn = draw.choice(("old", "new", "random"))
        try:
            device.advance(seqno)
        except PowerCut:
            device.start()
            seqno = device.image.seqno
            continue
        store.bytes_left = -1
        if draw.integer(0, 1):
            device.start()
            assert bytes(device.state.raw) == expected


def test_only_pages_that_changed_are_written():
    config = make_config()
    store = Store(areas(config)["size"])
    device = Device(config, store)
    device.state.write(0, b"one", 0, 3)
    device.state.take_checkpoint(2)
    device.advance(2)
    assert store.written == config.BLOCK_LENGTH, "the first time, the block is written whole"
    store.reset_counts()
    device.state.write(3, b"two", 0, 3)
    device.state.take_checkpoint(4)
    device.advance(4)
    assert store.written == config.PAGE_LENGTH and store.writes == 1
    store.reset_counts()
    device.state.take_checkpoint(6)
    device.advance(6)
    assert store.written == 0


def test_rot_in_a_page_is_found_and_mended():
    config = make_config()
    store = Store(areas(config)["size"])
    device = Device(config, store)
    device.state.write(0, b"one", 0, 3)
    device.state.take_checkpoint(2)
    device.advance(2)
    image = device.image
    blocks = range(config.BLOCK_COUNT)
    assert all(image.is_intact(device.state, block, device.room) for block in blocks)
    flipped = 0
    for address in range(areas(config)["pages"], areas(config)["results"]):
        if store.octets[address]:
            store.octets[address] ^= 4
            flipped += 1
            break
    assert flipped and not image.is_intact(device.state, 0, device.room)
    image.mend(device.state, 0, device.room)
    assert image.is_intact(device.state, 0, device.room)


def test_a_state_that_has_rotted_is_not_restored():
    config = make_config()
    store = Store(areas(config)["size"])
    device = Device(config, store)
    device.state.write(0, b"one", 0, 3)
    device.state.take_checkpoint(2)
    device.advance(2)
    pages = areas(config)["pages"]
    for place in range(2):
        store.octets[pages + place * config.BLOCK_COUNT * config.BLOCK_LENGTH] ^= 1
    state = make_state(config)
    image = Image(config, store, bytearray(256))
    seqno, digest, text = device.record
    image.get(seqno, text, 0)
    image.load(state)
    assert not state.restore(seqno, image, digest, 0) and state.installing
    fill(text, 0, len(text), 0)
