"""NVS images: made, read back, and what damage does to them."""

import contextlib
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.device import nvs

VALUES = {"format": 1, "node_id": 3, "keys": bytes(range(72))}
PAGE = 4096
# of the image of VALUES, once read entry by entry
DIGEST = "98cd42be6dff104d383796ce9ea6065e9a049c2209002cbef0526f1d4681ea6a"


def entry_at(number):
    return 64 + 32 * number


def test_golden_bytes():
    """Header, states and first entry by the documented layout; the rest by its digest."""
    image = nvs.image("tinybft", VALUES)
    assert len(image) == nvs.LENGTH == 0x6000
    assert image[:9] == bytes.fromhex("feffffff 00000000 fe")
    assert image[32:35] == b"\xaa\xaa\xff"
    namespace = image[entry_at(0) : entry_at(1)]
    assert namespace[:4] == bytes.fromhex("00 01 01 ff")
    assert namespace[8:24] == b"tinybft".ljust(16, b"\0")
    assert namespace[24] == 1
    number = image[entry_at(2) : entry_at(3)]
    assert number[:4] == bytes.fromhex("01 14 01 ff")
    assert number[24:28] == struct.pack("<i", 3)
    assert set(image[PAGE:]) == {0xFF}
    assert hashlib.sha256(image).hexdigest() == DIGEST


@given(
    st.dictionaries(
        st.text("abcdefghij_", min_size=1, max_size=15),
        st.one_of(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=3000)),
        max_size=4,
    )
)
def test_read_back(values):
    assert nvs.parse(nvs.image("tinybft", values)) == {"tinybft": values}


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 3900, 3936, 4000, 8000, 12000])
def test_blob_over_several_pages(length):
    blob = bytes(number * 7 & 0xFF for number in range(length))
    values = {"before": 1, "keys": blob, "after": -2}
    assert nvs.parse(nvs.image("tinybft", values)) == {"tinybft": values}


def test_erased_flash_holds_nothing():
    assert nvs.parse(b"\xff" * nvs.LENGTH) == {}


@pytest.mark.parametrize("content", [b"\0" * nvs.LENGTH, b"\xe9" * nvs.LENGTH])
def test_something_else_is_refused(content):
    with pytest.raises(nvs.NvsError, match="0x0"):
        nvs.parse(content)


@pytest.mark.parametrize("place", [0, 4, 8, 28])
def test_damaged_page_header(place):
    image = bytearray(nvs.image("tinybft", VALUES))
    image[place] ^= 0x10
    with pytest.raises(nvs.NvsError):
        nvs.parse(image)


@pytest.mark.parametrize("place", [entry_at(2), entry_at(2) + 5, entry_at(2) + 24])
def test_damaged_entry_is_left_out(place):
    image = bytearray(nvs.image("tinybft", VALUES))
    image[place] ^= 1
    assert nvs.parse(image) == {"tinybft": {"format": 1, "keys": VALUES["keys"]}}


def test_damaged_blob_is_left_out():
    image = bytearray(nvs.image("tinybft", VALUES))
    image[entry_at(4) + 70] ^= 1
    assert nvs.parse(image) == {"tinybft": {"format": 1, "node_id": 3}}


def test_erased_entry_is_left_out():
    image = bytearray(nvs.image("tinybft", VALUES))
    image[32] &= ~(0b11 << 4)  # the states of four entries lie in a byte, lowest first
    assert nvs.parse(image) == {"tinybft": {"format": 1, "keys": VALUES["keys"]}}


def test_later_page_wins():
    old = nvs.image("tinybft", {"node_id": 1}, 0x3000)[:PAGE]
    new = bytearray(nvs.image("tinybft", {"node_id": 2}, 0x3000)[:PAGE])
    new[4:8] = struct.pack("<I", 7)
    new[28:32] = struct.pack("<I", nvs._crc(bytes(new[4:28])))
    for pages in (old + new, new + old):
        assert nvs.parse(pages + b"\xff" * PAGE) == {"tinybft": {"node_id": 2}}


@given(st.integers(0, PAGE - 1), st.integers(1, 255))
def test_any_damaged_byte_changes_no_value(place, mask):
    """A value is right or missing, whatever byte of the page is hit; never another one."""
    image = bytearray(nvs.image("tinybft", VALUES))
    image[place] ^= mask
    try:
        table = nvs.parse(image)
    except nvs.NvsError:
        return
    assert table.get("tinybft", {}).items() <= VALUES.items()


@given(st.binary(max_size=PAGE).map(lambda head: head.ljust(PAGE, b"\xff")))
def test_any_bytes_are_read_or_refused(content):
    with contextlib.suppress(nvs.NvsError):
        nvs.parse(content)
