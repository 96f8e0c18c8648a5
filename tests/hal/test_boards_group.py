"""Four boards in one fake air: the real nodes agree over ESP-NOW and over WiFi, through loss,
strangers, a radio that gets stuck, an access point that goes away, and in the background."""

import gc

from tests.hal.fakes import clock, device
from tests.hal.fakes.scenes import mac_of, make_boards, with_radio
from tests.hal.support import ON_MICROPYTHON
from tests.tinybft.group import make_crypto
from tests.tinybft.scenes import small_config
from tinybft.apps.kv import KeyValueStore
from tinybft.jitter import Jitter
from tinybft.node import Node


class Boards:
    """A group on fake boards."""

    def __init__(self, **changed):
        self.config = with_radio(small_config(CLIENT_COUNT=4), **changed)
        self.config.FRAME_LENGTH = 250
        self.ether, self.boards = make_boards(4)
        self.nodes = []
        for i in range(4):
            with self.boards[i]:
                hal = device.esp32c3.Hal(self.config, i, make_crypto(self.config, i))
                self.nodes.append(Node(hal, self.config, KeyValueStore()))

    def lose(self, per_cent):
        draw = Jitter(7)
        self.ether.lost = lambda sender, receiver: draw.below(100) < per_cent

    def step(self, ms=1):
        for _ in range(ms):
            for i in range(4):
                with self.boards[i]:
                    self.nodes[i].step()
            clock.advance(1)

    def run(self, within_ms, until):
        begin = clock.now_ms
        while not until():
            assert clock.now_ms - begin < within_ms, "too slow"
            self.step()

    def put(self, source, key, value, within_ms=20000):
        """A put by node `source`, until its client has the answer."""
        node = self.nodes[source]
        node.start(bytes((1, len(key))) + key + value)
        self.run(within_ms, lambda: not node.client.busy)

    def digests(self):
        return {node.status()["stable_digest"] for node in self.nodes}

    def agree(self, within_ms=5000):
        """All come to the same seqno, with the same stable checkpoint; returns the seqno."""

        def are_level():
            places = {(p.last_executed, p.low_mark) for p in progress}
            return len(places) == 1

        progress = [node.replica.progress for node in self.nodes]
        self.run(within_ms, are_level)
        return progress[0].last_executed

    def faults(self, name):
        return [getattr(node.hal.faults, name) for node in self.nodes]


def test_esp_now():
    group = Boards()
    for i in range(20):
        group.put(i % 4, b"k%d" % i, b"v" * (i * 11))
    assert group.agree() >= 20 and len(group.digests()) == 1
    assert all(not count for count in group.faults("frame_transmitter"))


def test_wifi():
    group = Boards(TRANSPORT="wifi")
    group.step(1000)
    for i in range(20):
        group.put(i % 4, b"k%d" % i, b"v" * (i * 11))
    assert group.agree() >= 20 and len(group.digests()) == 1


def test_loss_and_strangers():
    group = Boards()
    group.lose(10)
    for i in range(10):
        for k in range(20):
            packet = bytes((k * 7 + i) & 255 for _ in range((k * 97 + i) % 1471))
            group.ether.shout(mac_of(1000 + 20 * i + k), packet, 6)
        group.put(i % 4, b"k%d" % (i % 4), b"v" * (i * 20))
    group.ether.lost = None
    assert group.agree() >= 10
    assert sum(group.faults("frame_length")) + sum(group.faults("frame_transmitter")) > 0


def test_a_stuck_radio_does_not_stop_the_group():
    """The pool of the primary's radio, then of all radios, is full for ever after some packets."""
    group = Boards()
    group.put(1, b"a", b"1")
    group.boards[0].wedge_after = group.boards[0].sent_count + 3
    for i in range(5):
        group.put(1, b"b", b"%d" % i, 60000)
    assert group.faults("radio_restart")[0] == 1
    for board in group.boards:
        board.wedge_after = board.sent_count + 5
    for i in range(5):
        group.put(2, b"c", b"%d" % i, 120000)
    assert min(group.faults("radio_restart")) >= 1
    group.agree(20000)


def test_an_access_point_that_goes_away():
    group = Boards(TRANSPORT="wifi")
    group.step(1000)
    group.put(0, b"a", b"1")
    group.ether.switch_access_point(False)
    group.nodes[1].start(b"\x01\x01b2")
    group.step(3000)
    assert group.nodes[1].client.busy
    group.ether.switch_access_point(True)
    group.run(40000, lambda: not group.nodes[1].client.busy)
    assert group.faults("association_lost") == [1] * 4


def test_in_the_background():
    """Nobody calls `step`: timers and packets do, as while a REPL waits."""
    group = Boards()
    for i in range(4):
        with group.boards[i]:
            group.nodes[i].hal.background(group.nodes[i].step)
    for i in range(8):
        node = group.nodes[i % 4]
        node.start(b"\x01\x01k%d" % i)
        for _ in range(200):
            if not node.client.busy:
                break
            clock.advance(1)
        assert not node.client.busy


def test_the_heap_does_not_grow():
    group = Boards()

    def work(count):
        for i in range(count):
            group.put(i % 4, b"key", b"v" * (i % 50))
        gc.collect()
        return gc.mem_alloc() if ON_MICROPYTHON else 0

    work(10)
    before = work(4)
    assert work(20) <= before + 64
