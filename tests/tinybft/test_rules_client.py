"""Clients: the requesting half, fed with replies by hand."""

from tests.tinybft.bench import make_config, sha256, u16, u32
from tests.tinybft.group import RamStore, make_crypto
from tinybft import faults, wire
from tinybft.auth import Authenticator
from tinybft.client import Client
from tinybft.jitter import Jitter
from tinybft.memory import ClientMemory
from tinybft.request_ids import RequestIds
from tinybft.structure import Wire

LONG = bytes(range(100))
FORGED = bytes(100)


class Requester:
    """An external client, and replicas that say what the test wants."""

    def __init__(self, store=None, **changed):
        self.config = config = make_config(**changed)
        self.node_id = config.CLIENT_COUNT - 1
        self.now = 0
        self.sent = []
        self.wire = Wire(config)
        auth = Authenticator(config, self.node_id, make_crypto(config, self.node_id))
        ids = RequestIds(store or RamStore())
        memory = ClientMemory(config)
        self.client = Client(config, self.node_id, memory, auth, self._send, ids, Jitter(3))

    def _send(self, target, buf, length):
        self.sent.append((target, bytes(memoryview(buf)[:length])))

    def submit(self, operation=b"op"):
        return self.client.submit(operation, len(operation), self.now)

    def reply(self, sender, result, number=1, flags=0, bad=False):
        config = self.config
        length = 16 + len(result) + config.TAG_LENGTH
        head = bytes((0x10 | flags, wire.REPLY)) + u16(sender) + u16(config.GROUP_ID)
        buf = bytearray(head + u16(length) + u32(0) + u32(number) + result + bytes(16))
        auth = Authenticator(config, sender, make_crypto(config, sender))
        auth.seal_for(self.node_id, buf, 16 + len(result), 1)
        buf[16 + len(result)] ^= bad
        assert self.wire.check(buf, length) == 0
        return self.client.on_reply(buf, self.now)

    def digest(self, sender, result, number=1):
        return self.reply(sender, sha256(result), number, wire.FLAG_DIGEST)

    def result(self):
        return bytes(self.client.reply[: self.client.reply_length])


def started(**changed):
    requester = Requester(None, **changed)
    assert requester.submit()
    return requester


def test_request_is_multicast_with_a_tag_per_replica():
    requester = started()
    target, message = requester.sent[0]
    assert target == -1
    assert message[:18] == b"\x10\x01\x04\0\x01\0\x32\0" + bytes(4) + b"\x01\0\0\0" + b"op"
    assert len(message) == 16 + 2 + 4 * 8


def test_f_plus_1_matching_replies_complete():
    requester = started(FAULT_COUNT=2, CLIENT_COUNT=8)
    for sender in (3, 5):
        assert requester.reply(sender, b"yes") == 0
        assert requester.client.busy
    requester.reply(6, b"yes")
    assert requester.client.done and not requester.client.busy
    assert requester.result() == b"yes"


def test_one_replica_is_counted_once():
    requester = started()
    for _ in range(3):
        requester.reply(2, b"yes")
    assert requester.client.busy


def test_different_results_do_not_match():
    requester = started()
    requester.reply(0, b"yes")
    requester.reply(1, b"no")
    requester.reply(2, b"")
    requester.reply(3, b"yes\0")
    assert requester.client.busy


def test_replica_that_changes_its_answer_is_still_one():
    requester = started()
    requester.reply(0, b"no")
    requester.reply(1, b"yes")
    requester.reply(0, b"maybe")
    assert requester.client.busy


def test_empty_result_is_a_result():
    requester = started()
    requester.reply(0, b"")
    requester.reply(3, b"")
    assert requester.client.done and requester.result() == b""


def test_whole_result_and_digest_of_another_complete():
    for whole_first in (True, False):
        requester = started()
        if whole_first:
            requester.reply(0, LONG)
            requester.digest(1, LONG)
        else:
            requester.digest(1, LONG)
            requester.reply(0, LONG)
        assert requester.client.done
        assert requester.result() == LONG


def test_digests_alone_do_not_complete():
    requester = started()
    for sender in (0, 1, 2, 3):
        requester.digest(sender, LONG)
    assert requester.client.busy


def test_whole_result_and_own_digest_of_one_replica_are_one_vote():
    requester = started()
    requester.reply(0, LONG)
    assert requester.digest(0, LONG) == faults.NOT_NEEDED
    assert requester.client.busy


def test_wrong_whole_result_does_not_win():
    """F21: the designated replica lies, or somebody else is faster than it."""
    requester = started()
    requester.reply(3, FORGED)
    requester.digest(0, LONG)
    requester.digest(1, LONG)
    assert requester.client.busy
    requester.reply(2, LONG)
    assert requester.client.done
    assert requester.result() == LONG


def test_wrong_whole_result_after_the_right_one_does_not_win():
    requester = started()
    requester.reply(2, LONG)
    requester.reply(3, FORGED)
    requester.digest(0, LONG)
    if requester.client.busy:
        requester.reply(0, LONG)  # what a retry brings
    assert requester.client.done
    assert requester.result() == LONG


def test_short_result_does_not_match_its_digest():
    """Replicas send short results whole; a digest of one is no vote for it."""
    requester = started()
    requester.reply(0, b"yes")
    requester.digest(1, b"yes")
    assert requester.client.busy


def test_reply_to_another_request_does_not_count():
    requester = started()
    assert requester.reply(0, b"yes", number=2) == faults.NOT_NEEDED
    requester.reply(1, b"yes")
    assert requester.client.busy


def test_replies_to_the_last_request_do_not_answer_the_next():
    requester = started()
    requester.reply(0, b"one")
    requester.reply(1, b"one")
    requester.submit()
    requester.reply(2, b"one", number=1)
    requester.reply(3, b"two", number=2)
    assert requester.client.busy
    requester.reply(2, b"two", number=2)
    assert requester.result() == b"two"


def test_reply_with_a_bad_tag_does_not_count():
    requester = started()
    requester.reply(0, b"yes")
    assert requester.reply(1, b"yes", bad=True) == faults.MAC
    assert requester.client.busy


def test_late_replies_are_of_no_use():
    requester = started()
    requester.reply(0, b"yes")
    requester.reply(1, b"yes")
    assert requester.reply(2, b"no") == faults.NOT_NEEDED
    assert requester.result() == b"yes"


def test_one_request_at_a_time():
    requester = started()
    assert not requester.submit()
    assert len(requester.sent) == 1


def test_too_long_an_operation_is_refused():
    requester = Requester(REQUEST_LENGTH_MAX=100)
    assert not requester.submit(bytes(101))
    assert requester.sent == []
    assert requester.submit(bytes(100))


def retry_times(requester, until):
    times = []
    while requester.now < until:
        before = len(requester.sent)
        requester.now += 1
        requester.client.tick(requester.now)
        if len(requester.sent) > before:
            times.append(requester.now)
    return times


def test_retry_is_byte_identical_and_multicast():
    requester = started()
    retry_times(requester, 1000)
    assert len(requester.sent) > 3
    assert len(set(requester.sent)) == 1


def test_retries_back_off_randomly_up_to_the_maximum():
    requester = started(RETRY_MS=20, RETRY_MAX_MS=300)
    times = retry_times(requester, 3000)
    gaps = [times[0]] + [times[i] - times[i - 1] for i in range(1, len(times))]
    assert gaps[0] == 20
    for i in range(1, len(gaps)):
        assert min(2 * gaps[i - 1], 300) <= gaps[i] <= min(3 * gaps[i - 1], 300)
    assert gaps[-1] == 300


def answered(requester, number, latency_ms):
    """One operation; returns how often it was retried."""
    before = requester.client.retries
    assert requester.submit()
    for _ in range(latency_ms):
        requester.now += 1
        requester.client.tick(requester.now)
    for sender in (0, 1):
        requester.reply(sender, b"ok", number)
    assert requester.client.done
    return requester.client.retries - before


def test_a_group_that_becomes_slower_is_not_retried_for_ever():
    requester = Requester(None, RETRY_MS=200)
    retries = [answered(requester, number, 3) for number in range(1, 10)]
    assert sum(retries) == 0
    retries = [answered(requester, number, 100) for number in range(10, 60)]
    assert retries[0] > 0 and sum(retries[-20:]) == 0
    # Now and then a lost message does not make the client patient.
    for number in range(60, 80, 2):
        answered(requester, number, 300)
        assert answered(requester, number + 1, 100) == 0
    assert requester.client._smoothed <= 8 * 101, "eight times the latency of 100 ms"


def test_retries_end_with_the_reply():
    requester = started()
    requester.reply(0, b"yes")
    requester.reply(1, b"yes")
    assert retry_times(requester, 3000) == []


def test_request_ids_rise_over_restarts():
    store = RamStore()
    seen = []
    for _ in range(3):
        requester = Requester(store)
        requester.submit()
        seen.append(int.from_bytes(requester.sent[0][1][12:16], "little"))
    assert seen == sorted(set(seen))


# --- a client that is a replica ---


class Member(Requester):
    """A replica's own client."""

    def __init__(self, **changed):
        super().__init__(None, **changed)
        self.node_id = self.client.node_id = 1
        self.client._auth._node_id = 1
        assert self.submit()

    def own(self, result, number=1, flags=0, is_committed=True):
        head = bytes((0x10 | flags, wire.REPLY, 1, 0, 1, 0, 0, 0)) + u32(0) + u32(number)
        self.client.on_own_result(bytearray(head + result), len(result), self.now, is_committed)


def test_what_the_own_replica_executed_counts_alone():
    member = Member()
    member.own(b"yes")
    assert member.client.done and member.result() == b"yes"


def test_own_replica_that_abstains_is_one_of_many():
    member = Member()
    member.own(b"yes", is_committed=False)
    assert member.client.busy
    member.client.on_result(bytearray(b"\x10\x05\2\0\1\0\0\0" + u32(0) + u32(1) + b"yes"), 3, 2, 0)
    assert member.client.done


def test_early_reply_of_the_own_replica_is_one_of_many():
    """It is not committed."""
    for flag in (wire.FLAG_TENTATIVE, wire.FLAG_UNORDERED):
        member = Member()
        member.own(b"yes", flags=flag)
        assert member.client.busy


def test_own_replica_is_believed_once():
    """Not for the next request: its reply may be another one's."""
    member = Member()
    member.own(b"yes")
    assert member.submit()
    member.own(b"yes", number=1)
    assert member.client.busy
    member.client.on_result(bytearray(b"\x10\x05\2\0\1\0\0\0" + u32(0) + u32(2) + b"no"), 2, 2, 0)
    assert member.client.busy


def test_digest_of_the_own_replica_proves_the_result_of_anybody():
    """After a state transfer it knows no more."""
    member = Member()
    member.own(sha256(LONG), flags=wire.FLAG_DIGEST)
    assert member.client.busy
    head = b"\x10\x05\2\0\1\0\0\0" + u32(0) + u32(1)
    member.client.on_result(bytearray(head + FORGED), len(FORGED), 2, 0)
    assert member.client.busy
    member.client.on_result(bytearray(head + LONG), len(LONG), 3, 0)
    assert member.client.done and member.result() == LONG


def test_request_that_was_lost_is_repeated_at_once_and_unchanged():
    requester = started(RETRY_MS=20)
    requester.now = 5
    requester.client.repeat(5)
    assert requester.sent[1] == requester.sent[0] and requester.client.retries == 1
    requester.client.tick(24)
    assert len(requester.sent) == 2  # the next retry comes no sooner for it
    requester.client.tick(25)
    assert len(requester.sent) == 3


def test_answered_request_is_not_repeated():
    requester = started()
    for sender in (0, 1):
        requester.reply(sender, b"yes")
    requester.client.repeat(5)
    assert len(requester.sent) == 1
