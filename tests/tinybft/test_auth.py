"""Authenticators: one tag per receiver, and what a changed bit does."""

from tests.portable import property_test
from tests.tinybft import messages
from tests.tinybft.bench import make_config, sha256
from tests.tinybft.group import make_crypto
from tinybft import wire
from tinybft.auth import Authenticator

CONFIG = make_config()
TAG = CONFIG.TAG_LENGTH
# Header and body: the longest that the MAC covers directly, and the shortest beyond.
BODY_LENGTHS = (0, 1, 32, 48, 49, 200)


def authenticators(config=CONFIG):
    return [
        Authenticator(config, node, make_crypto(config, node))
        for node in range(config.CLIENT_COUNT)
    ]


AUTHS = authenticators()


def sealed(sender, length, kind=wire.REQUEST):
    message = messages.build(CONFIG, kind, bytes(range(length)), sender)
    end = 16 + length
    for at in range(end, len(message)):
        message[at] = 0xA5
    assert AUTHS[sender].seal(message, end) == len(message)
    return message


def accepts(receiver, message, sender):
    return AUTHS[receiver].check(bytearray(message), sender)


def test_every_replica_accepts_its_tag():
    for length in BODY_LENGTHS:
        for sender in range(5):
            message = sealed(sender, length)
            for receiver in range(4):
                if receiver != sender:
                    assert accepts(receiver, message, sender), (length, sender, receiver)


def test_proposals_are_covered_directly_as_long_as_that_is_cheaper():
    for length in (48, 49, 143, 144, 145, 200):
        for sender in range(4):
            message = sealed(sender, length, wire.PRE_PREPARE)
            for receiver in range(4):
                if receiver == sender:
                    continue
                AUTHS[receiver].digest[:] = bytes(32)
                assert accepts(receiver, message, sender)
                assert any(AUTHS[receiver].digest) == (16 + length > 160), "digested or not"
                one = bytearray(message)
                AUTHS[sender].seal_for(receiver, one, 16 + length, 3)
                assert accepts(receiver, one, sender)
                for at in (0, 17, 15 + length):
                    altered = bytearray(message)
                    altered[at] ^= 64
                    assert not accepts(receiver, altered, sender)


def test_tags_of_two_receivers_differ():
    message = sealed(4, 32)
    tags = [bytes(message[48 + i * TAG : 48 + (i + 1) * TAG]) for i in range(4)]
    assert len(set(tags)) == 4


def test_tag_of_another_receiver_is_useless():
    for length in (32, 100):
        message = sealed(4, length)
        end = 16 + length
        message[end : end + TAG] = message[end + TAG : end + 2 * TAG]
        assert not accepts(0, message, 4)
        assert accepts(1, message, 4)


def test_another_senders_message_is_refused():
    for length in (32, 100):
        message = sealed(2, length)
        message[2] = 3
        assert not accepts(0, message, 3)
        assert not accepts(0, message, 2)


@property_test(count=300)
def test_every_altered_bit_is_noticed(draw):
    length = draw.choice(BODY_LENGTHS)
    message = sealed(4, length)
    receiver = draw.integer(0, 3)
    at = draw.integer(0, 16 + length + TAG - 1)
    if at >= 16 + length:
        at += receiver * TAG
    if at in (1, 6, 7):
        return  # type and length place the tags: test_structure.py
    message[at] ^= 1 << draw.integer(0, 7)
    assert not accepts(receiver, message, 4)


def test_altered_tag_of_another_receiver_is_not_noticed():
    message = sealed(4, 32)
    message[48 + TAG] ^= 1
    assert accepts(0, message, 4) and not accepts(1, message, 4)


def test_zero_tag_is_refused():
    message = sealed(4, 32)
    for at in range(48, len(message)):
        message[at] = 0
    for receiver in range(4):
        assert not accepts(receiver, message, 4)


def test_node_without_a_shared_key_is_refused():
    two = make_config(CLIENT_COUNT=6)
    auths = authenticators(two)
    message = messages.build(two, wire.REQUEST, b"x" * 32, 5)
    auths[5].seal(message, 48)
    assert not auths[4].check(message, 5)
    assert auths[3].check(message, 5)


def test_seal_for_writes_the_tag_of_one_receiver_at_its_place():
    for sender in range(4):
        whole = sealed(sender, 32, wire.PREPARE)
        for receiver in range(4):
            if receiver == sender:
                continue
            message = bytearray(whole[:48]) + bytearray(b"\xa5" * 3 * TAG)
            assert AUTHS[sender].seal_for(receiver, message, 48, 3) == len(whole)
            at = 48 + (receiver - (receiver > sender)) * TAG
            assert message[at : at + TAG] == whole[at : at + TAG]
            assert not any(message[48:at]) and not any(message[at + TAG :])
            assert accepts(receiver, message, sender)


def test_seal_for_one_receiver_type():
    for receiver in (0, 3, 4):
        message = messages.build(CONFIG, wire.REPLY, b"r" * 40, 1)
        assert AUTHS[1].seal_for(receiver, message, 56, 1) == len(message) == 56 + TAG
        assert accepts(receiver, message, 1)
        assert not accepts(2, message, 1)


def test_message_inside_another_is_checked_in_place():
    for length in BODY_LENGTHS:
        inner = sealed(4, length)
        buf = bytearray(b"\xa5" * 33) + inner + bytearray(9)
        AUTHS[2].digest_message(buf, 33, 16 + length)
        assert AUTHS[2].check_digested(buf, 4, 33)
        buf[33 + 12] ^= 1
        AUTHS[2].digest_message(buf, 33, 16 + length)
        assert not AUTHS[2].check_digested(buf, 4, 33)


def test_check_digested_is_check_of_the_message_just_digested():
    for length in BODY_LENGTHS:
        inner = sealed(4, length)
        buf = bytearray(b"\xa5" * 7) + inner + bytearray(9)
        auth = AUTHS[2]
        auth.digest_message(buf, 7, 16 + length)
        assert auth.digest == sha256(bytes(inner[: 16 + length]))
        assert auth.check_digested(buf, 4, 7)
        buf[7 + 15 + length] ^= 1
        auth.digest_message(buf, 7, 16 + length)
        assert not auth.check_digested(buf, 4, 7)


def test_checking_leaves_the_message_alone():
    for length in BODY_LENGTHS:
        message = sealed(4, length)
        before = bytes(message)
        AUTHS[1].check(message, 4)
        assert bytes(message) == before


def test_longer_tags():
    config = make_config(TAG_LENGTH=16)
    auths = authenticators(config)
    message = messages.build(config, wire.PREPARE, messages.DIGEST, 2)
    assert auths[2].seal(message, 48) == 48 + 3 * 16
    for receiver in (0, 1, 3):
        assert auths[receiver].check(message, 2)
    message[48 + 15] ^= 1
    assert not auths[0].check(message, 2)
