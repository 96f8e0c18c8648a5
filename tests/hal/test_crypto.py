"""AES-CMAC against RFC 4493, its truncation, and what must be refused."""

from hal import crypto as crypto_module
from hal.crypto import Crypto, digest_into, self_test
from tests.hal.support import bytes_allocated, message_of, raises
from tests.portable import property_test

RFC_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
RFC_MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
RFC_TAGS = (
    (0, "bb1d6929e95937287fa37d129b756746"),
    (16, "070a16b46b4d4144f79bdd9dd04a287c"),
    (40, "dfa66747de9ae63030ca32611497c827"),
    (64, "51f0bebf7e3b9d92fc49741779363cfe"),
)
LONG_TAGS = (
    (65, "f8ce732605f7888994690430caa462a8"),
    (79, "685a921b658c330e833e2701ba2ea020"),
    (80, "1e1df085b015e6acee049fbef3691fd1"),
    (81, "62f451a67b0f71a87b4dd694b5a68e33"),
    (112, "12259ffaa85ce2843731f655a0af3c94"),
    (127, "78a94aa7252b4d5094f6d1e151f02b26"),
    (128, "922230ae80401c751d431c6059f01da8"),
    (129, "589ad7bc39acd7001a268586e211b0d8"),
    (144, "9a3aa06990a121b00c5c9eb18012dece"),
    (147, "06a51898a2ef3795c8057f36870dc466"),
    (159, "ba1dd9a2d11679e7e07845287ec58095"),
    (160, "d147747894dfae211d1e2216267b5b3c"),
)


def tag_of(crypto, peer, message, length):
    out = bytearray(b"\xa5" * 24)
    assert crypto.mac_into(peer, message, length, out, 4)
    tag = bytes(out[4 : 4 + crypto.tag_length])
    assert out[:4] == b"\xa5" * 4
    assert out[4 + crypto.tag_length :] == b"\xa5" * (20 - crypto.tag_length)
    return tag


def test_vectors_of_rfc_4493():
    crypto = Crypto(0, {1: RFC_KEY}, 16)
    for length, digits in RFC_TAGS:
        assert tag_of(crypto, 1, RFC_MESSAGE, length) == bytes.fromhex(digits)


def test_vectors_in_every_order_of_lengths():
    crypto = Crypto(0, {1: RFC_KEY}, 16)
    for first, _ in RFC_TAGS:
        for length, digits in RFC_TAGS:
            tag_of(crypto, 1, RFC_MESSAGE, first)
            assert tag_of(crypto, 1, RFC_MESSAGE, length) == bytes.fromhex(digits)


def test_truncated_tag_is_the_head_of_the_full_one():
    for tag_length in (8, 12, 16):
        crypto = Crypto(0, {1: RFC_KEY}, tag_length)
        for length, digits in RFC_TAGS:
            assert tag_of(crypto, 1, RFC_MESSAGE, length) == bytes.fromhex(digits)[:tag_length]


@property_test(count=60)
def test_tags_do_not_depend_on_earlier_calls(draw):
    """Calls of several keys and kinds interleaved; a fresh object is the reference."""
    keys = {1: draw.octets(16, 16), 2: draw.octets(16, 16), 4: RFC_KEY}
    long_lived = Crypto(0, keys, 8)
    for _ in range(8):
        peer = draw.choice((1, 2, 4))
        message = draw.octets(160, 160)
        length = draw.integer(0, 160)
        reference = tag_of(Crypto(0, keys, 8), peer, message, length)
        assert tag_of(long_lived, peer, message, length) == reference
        assert long_lived.mac_equal(peer, message, length, reference, 0)


@property_test(count=40)
def test_message_at_any_alignment(draw):
    crypto = Crypto(0, {1: RFC_KEY}, 16)
    at = draw.integer(0, 9)
    length = draw.integer(0, 160)
    message = bytearray(RFC_MESSAGE + RFC_MESSAGE + RFC_MESSAGE)
    view = memoryview(bytearray(at) + message)[at:]
    assert tag_of(crypto, 1, view, length) == tag_of(crypto, 1, message, length)


def test_longer_messages():
    """OpenSSL's tags of a message of any number of blocks."""
    crypto = Crypto(0, {1: RFC_KEY}, 16)
    message = bytearray(range(160))
    for length, digits in LONG_TAGS:
        assert tag_of(crypto, 1, message, length) == bytes.fromhex(digits), length
        assert crypto.mac_equal(1, message, length, bytes.fromhex(digits), 0)


def test_every_wrong_bit_is_refused():
    crypto = Crypto(0, {1: RFC_KEY}, 8)
    tagged = bytearray(3) + tag_of(crypto, 1, RFC_MESSAGE, 40)
    assert crypto.mac_equal(1, RFC_MESSAGE, 40, tagged, 3)
    for bit in range(64):
        tagged[3 + bit // 8] ^= 1 << bit % 8
        assert not crypto.mac_equal(1, RFC_MESSAGE, 40, tagged, 3)
        tagged[3 + bit // 8] ^= 1 << bit % 8
    assert not crypto.mac_equal(1, RFC_MESSAGE, 39, tagged, 3)


def test_two_ends_of_a_key_agree_and_a_third_does_not():
    left = Crypto(0, {1: RFC_KEY}, 8)
    right = Crypto(1, {0: RFC_KEY, 2: bytes(range(16))}, 8)
    tag = tag_of(left, 1, RFC_MESSAGE, 48)
    assert right.mac_equal(0, RFC_MESSAGE, 48, tag, 0)
    assert not right.mac_equal(2, RFC_MESSAGE, 48, tag, 0)


def test_zero_tag_is_refused():
    crypto = Crypto(0, {1: RFC_KEY}, 8)
    for length in (0, 16, 64):
        assert not crypto.mac_equal(1, RFC_MESSAGE, length, bytes(8), 0)


def test_unknown_peer_gets_a_zero_tag_and_is_refused():
    crypto = Crypto(0, {1: RFC_KEY, 3: RFC_KEY}, 8)
    for peer in (-1, 0, 2, 4, 65535):
        out = bytearray(b"\xa5" * 10)
        assert not crypto.mac_into(peer, RFC_MESSAGE, 16, out, 1)
        assert out == b"\xa5" + bytes(8) + b"\xa5"
        assert not crypto.mac_equal(peer, RFC_MESSAGE, 16, out, 1)


def test_wrong_length_is_refused():
    crypto = Crypto(0, {1: RFC_KEY}, 8)
    for length in (-1, 161, 1000):
        out = bytearray(b"\xa5" * 8)
        assert not crypto.mac_into(1, bytes(1000), length, out, 0)
        assert out == bytes(8)
        assert not crypto.mac_equal(1, bytes(1000), length, b"\xa5" * 8, 0)
    assert crypto.mac_into(1, RFC_MESSAGE, 64, bytearray(8), 0)


def test_wrong_keys_are_refused_at_construction():
    for own_id, keys, tag_length in (
        (0, {1: bytes(15)}, 8),
        (1, {1: bytes(16)}, 8),
        (0, {1: bytes(16)}, 7),
        (0, {1: bytes(16)}, 17),
    ):
        raises(ValueError, Crypto, own_id, keys, tag_length)
    assert not Crypto(0, {}, 8).mac_equal(1, RFC_MESSAGE, 16, b"\xa5" * 8, 0)


class DeadAes:
    """What a failing AES unit gives: zeros, and no error."""

    def __init__(self, keys, tag_length):
        self._tag_length = tag_length

    def mac_into(self, peer, buf, length, out, at):
        out[at : at + self._tag_length] = bytes(self._tag_length)
        return True


class StuckComparison(crypto_module.Cmac):
    def __init__(self, keys, tag_length):
        super().__init__(keys, tag_length)
        self.mac_equal = lambda *arguments: False


def test_self_test_tells_what_failed():
    assert "AES-CMAC" in str(raises(RuntimeError, self_test, DeadAes, digest_into))
    assert "refused" in str(raises(RuntimeError, self_test, StuckComparison, digest_into))
    wrong = lambda buf, start, length, out, at: None  # noqa: E731
    assert "SHA-256" in str(raises(RuntimeError, self_test, crypto_module.Cmac, wrong))


def test_digest_of_a_span():
    digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    for buf, start in ((b"abc", 0), (b"xabcx", 1), (memoryview(bytearray(b"abcx")), 0)):
        out = bytearray(b"\xa5" * 40)
        digest_into(buf, start, 3, out, 4)
        assert out == b"\xa5" * 4 + bytes.fromhex(digits) + b"\xa5" * 4


def test_tags_allocate_nothing():
    crypto = Crypto(0, {1: RFC_KEY}, 8)
    message, out = message_of(161), bytearray(16)

    def use():
        for length in (0, 1, 17, 48, 64, 65, 160, 161):
            crypto.mac_into(1, message, length, out, 0)
            crypto.mac_equal(1, message, length, out, 0)
        crypto.mac_into(7, message, 16, out, 0)
        crypto.mac_equal(7, message, 16, out, 0)

    assert bytes_allocated(use) == 0
