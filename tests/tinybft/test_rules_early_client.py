"""Early replies at the client: thresholds, one view, the way from a read to an ordered one."""

from tests.tinybft.bench import make_config, sha256, u16, u32
from tests.tinybft.group import RamStore, make_crypto
from tinybft import faults, wire
from tinybft.auth import Authenticator
from tinybft.early import EarlyClient
from tinybft.jitter import Jitter
from tinybft.memory import ClientMemory
from tinybft.request_ids import RequestIds
from tinybft.structure import Wire

TENTATIVE = wire.FLAG_TENTATIVE
UNORDERED = wire.FLAG_UNORDERED
DIGEST = wire.FLAG_DIGEST
LONG = bytes(range(100))


class Requester:
    """An external client, and replicas that say what the test wants."""

    def __init__(self, read_only=False, **changed):
        self.config = config = make_config(READ_ONLY=True, TENTATIVE=True, **changed)
        self.node_id = config.CLIENT_COUNT - 1
        self.now = 0
        self.sent = []
        self.wire = Wire(config)
        auth = Authenticator(config, self.node_id, make_crypto(config, self.node_id))
        ids, memory = RequestIds(RamStore()), ClientMemory(config)
        self.client = EarlyClient(config, self.node_id, memory, auth, self._send, ids, Jitter(3))
        assert self.client.submit(b"op", 2, self.now, read_only)

    def _send(self, target, buf, length):
        self.sent.append((target, bytes(memoryview(buf)[:length])))

    def reply(self, sender, result, flags=0, view=0, number=1):
        config = self.config
        length = 16 + len(result) + config.TAG_LENGTH
        head = bytes((0x10 | flags, wire.REPLY)) + u16(sender) + u16(config.GROUP_ID)
        buf = bytearray(head + u16(length) + u32(view) + u32(number) + result + bytes(16))
        auth = Authenticator(config, sender, make_crypto(config, sender))
        auth.seal_for(self.node_id, buf, 16 + len(result), 1)
        return self.client.on_reply(buf, self.now)

    def accepted(self):
        return bytes(self.client.reply[: self.client.reply_length]) if self.client.done else None


# --- tentative replies ---


def test_f_plus_1_that_are_not_tentative_complete():
    requester = Requester()
    requester.reply(0, b"yes")
    assert requester.client.busy
    requester.reply(2, b"yes")
    assert requester.accepted() == b"yes"


def test_tentative_replies_need_2f_plus_1():
    requester = Requester()
    for sender in (0, 1):
        requester.reply(sender, b"yes", TENTATIVE)
        assert requester.client.busy
    requester.reply(3, b"yes", TENTATIVE)
    assert requester.accepted() == b"yes"


def test_tentative_replies_of_two_views_do_not_add_up():
    requester = Requester()
    for sender, view in ((0, 1), (1, 1), (2, 2)):
        requester.reply(sender, b"yes", TENTATIVE, view)
        assert requester.client.busy
    requester.reply(3, b"yes", TENTATIVE, 1)
    assert requester.accepted() == b"yes"


def test_the_view_of_a_later_tentative_reply_counts():
    requester = Requester()
    for sender, view in ((0, 1), (1, 2), (2, 2)):
        requester.reply(sender, b"yes", TENTATIVE, view)
    assert requester.client.busy
    requester.reply(0, b"yes", TENTATIVE, 2)
    assert requester.accepted() == b"yes"


def test_one_that_is_not_tentative_counts_with_any_view():
    requester = Requester()
    requester.reply(0, b"yes", TENTATIVE, 1)
    requester.reply(1, b"yes", 0, 5)
    assert requester.client.busy
    requester.reply(2, b"yes", TENTATIVE, 1)
    assert requester.accepted() == b"yes"


def test_other_results_do_not_count():
    requester = Requester()
    for sender, result in ((0, b"yes"), (1, b"no"), (2, b"yes"), (3, b"no")):
        requester.reply(sender, result, TENTATIVE)
    assert requester.client.busy
    requester.reply(1, b"yes")
    assert requester.accepted() == b"yes"  # two tentative ones and this


def test_a_committed_digest_replaces_a_tentative_reply():
    requester = Requester()
    assert requester.reply(0, LONG, TENTATIVE) == 0
    assert requester.reply(1, sha256(LONG), TENTATIVE | DIGEST) == 0
    assert requester.reply(1, sha256(LONG), TENTATIVE | DIGEST) == faults.NOT_NEEDED
    assert requester.reply(1, sha256(LONG), DIGEST) == 0
    assert requester.client.busy
    assert requester.reply(0, sha256(LONG), DIGEST) == 0
    assert requester.accepted() == LONG


def test_what_is_committed_is_not_taken_back():
    requester = Requester()
    assert requester.reply(0, b"yes") == 0
    assert requester.reply(0, b"no", TENTATIVE) == faults.NOT_NEEDED
    requester.reply(1, b"yes")
    assert requester.accepted() == b"yes"


def test_a_result_that_was_taken_back_is_not_the_answer():
    """What one replica sent whole and tentatively is undone, and it reports another one since."""
    requester = Requester()
    requester.reply(0, bytes(reversed(LONG)), TENTATIVE)
    requester.reply(0, sha256(LONG), DIGEST)
    requester.reply(1, sha256(LONG), DIGEST)
    assert requester.client.busy
    requester.reply(2, LONG)
    assert requester.accepted() == LONG


def test_thresholds_of_seven():
    requester = Requester(FAULT_COUNT=2, CLIENT_COUNT=8)
    for sender in (0, 1, 2, 3):
        requester.reply(sender, b"yes", TENTATIVE, 3)
        assert requester.client.busy
    requester.reply(4, b"yes", TENTATIVE, 3)
    assert requester.accepted() == b"yes"


# --- reads that are not ordered ---


def test_a_read_says_so_and_is_one_request():
    requester = Requester(read_only=True)
    target, message = requester.sent[0]
    assert target == -1 and len(requester.sent) == 1
    assert message[0] == 0x10 | wire.FLAG_READ_ONLY | UNORDERED


def test_a_read_needs_2f_plus_1_of_any_view():
    requester = Requester(read_only=True)
    for sender in (0, 1):
        requester.reply(sender, b"v", UNORDERED, view=sender)
        assert requester.client.busy
    requester.reply(2, b"v", UNORDERED, view=7)
    assert requester.accepted() == b"v" and requester.client.is_unordered


def test_ordered_replies_are_none_to_a_read():
    requester = Requester(read_only=True)
    for sender in (0, 1, 2):
        assert requester.reply(sender, b"v") == faults.NOT_NEEDED
        assert requester.reply(sender, b"v", TENTATIVE) == faults.NOT_NEEDED
    assert requester.client.busy


def test_a_read_is_ordered_after_the_time_of_a_retry():
    requester = Requester(read_only=True)
    client = requester.client
    requester.reply(0, b"v", UNORDERED)
    requester.reply(1, b"v", UNORDERED)
    delay = client.remaining_ms(0)
    client.tick(delay - 1)
    assert len(requester.sent) == 1
    client.tick(delay)
    assert len(requester.sent) == 2 and client.fallbacks == 1
    before, after = requester.sent[0][1], requester.sent[1][1]
    assert after[0] == 0x10 | wire.FLAG_READ_ONLY
    assert after[1:18] == before[1:18] and after[18:] != before[18:]  # the tags cover the flag
    assert requester.reply(2, b"v", UNORDERED) == faults.NOT_NEEDED
    requester.reply(0, b"w")
    assert client.busy
    requester.reply(3, b"w")
    assert requester.accepted() == b"w" and not client.is_unordered


def test_the_time_of_a_read_follows_reads():
    requester = Requester(read_only=True)
    client = requester.client
    assert client.remaining_ms(0) == requester.config.RETRY_MS
    client._read_time = 8 * 4
    for k in range(1, 6):
        for sender in (0, 1, 2):
            requester.reply(sender, b"v", UNORDERED, number=k)
        assert client.done and client.submit(b"op", 2, requester.now, True)
        assert client.remaining_ms(requester.now) <= requester.config.REPAIR_MS + 8
    before = client._read_time
    requester.now += client.remaining_ms(requester.now)
    client.tick(requester.now)
    assert client.fallbacks == 1 and client._read_time > 2 * before


def test_a_read_is_ordered_at_once_when_too_many_differ():
    requester = Requester(read_only=True)
    requester.reply(0, b"v", UNORDERED)
    requester.reply(1, b"w", UNORDERED)
    assert requester.client.fallbacks == 0  # the other two may agree with one of them
    requester.reply(2, b"x", UNORDERED)
    assert requester.client.fallbacks == 1 and len(requester.sent) == 2


def test_an_ordered_read_is_retried_as_it_is():
    requester = Requester(read_only=True)
    client = requester.client
    client.tick(client.remaining_ms(0))
    now = 1000
    client.tick(now)
    assert requester.sent[1] == requester.sent[2] and client.fallbacks == 1


def test_a_long_result_comes_whole_from_one():
    requester = Requester(read_only=True)
    requester.reply(0, sha256(LONG), UNORDERED | DIGEST)
    requester.reply(1, sha256(LONG), UNORDERED | DIGEST)
    requester.reply(2, sha256(LONG), UNORDERED | DIGEST)
    assert requester.client.busy
    requester.reply(3, LONG, UNORDERED)
    assert requester.accepted() == LONG


def test_a_read_does_not_change_when_an_ordered_request_is_retried():
    requester = Requester(read_only=True)
    client = requester.client
    client.acknowledged = 1
    for sender in (0, 1, 2):
        requester.reply(sender, b"v", UNORDERED)
    assert client.done and client._smoothed == 0


def test_while_busy_nothing_changes():
    requester = Requester(read_only=True)
    assert not requester.client.submit(b"op", 2, 0, False)
    for sender in (0, 1, 2):
        requester.reply(sender, b"v", UNORDERED)
    assert requester.accepted() == b"v"
