"""Every message type against golden bytes, written into a buffer full of 0xa5."""

from tests.portable import property_test
from tinybft import wire

DIGEST = bytes(range(100, 132))


def filled(length=96):
    return bytearray(b"\xa5" * length)


def header_of(kind, flags=0, view=0x01020304, seqno=0x05060708):
    buf = filled(24)
    wire.put_header(buf, kind, flags, 0x0203, 0x0405, view, seqno)
    wire.put_length(buf, 0x0607)
    return buf


def test_header():
    buf = header_of(wire.COMMIT, 3)
    assert buf == (
        b"\x13\x04\x03\x02\x05\x04\x07\x06\x04\x03\x02\x01\x08\x07\x06\x05" + b"\xa5" * 8
    )


def test_length_is_added_apart():
    buf = filled(24)
    wire.put_header(buf, wire.PREPARE, 0, 1, 1, 0, 1)
    assert bytes(buf[6:8]) == b"\xa5\xa5"
    wire.put_length(buf, 72)
    assert bytes(buf[4:10]) == b"\x01\x00\x48\x00\x00\x00"


def test_type_numbers():
    names = "REQUEST PRE_PREPARE PREPARE COMMIT REPLY CHECKPOINT VIEW_CHANGE VIEW_CHANGE_ACK"
    names = (names + " NEW_VIEW STATUS FETCH META_DATA DATA").split()
    for number, name in enumerate(names, 1):
        assert getattr(wire, name) == number
        assert wire.TYPE_NAMES[number] == name.replace("_", "-") or name == "META_DATA"
        assert wire.message_type(header_of(number)) == number
    assert wire.TYPE_MAX == len(names) == 13


@property_test(count=200)
def test_header_accessors_read_what_was_put(draw):
    kind = draw.integer(1, wire.TYPE_MAX)
    flags = draw.integer(0, 15)
    sender = draw.integer(0, 65535)
    view = draw.integer(0, 2**32 - 1)
    seqno = draw.integer(0, 2**32 - 1)
    length = draw.integer(0, 65535)
    buf = filled(16)
    wire.put_header(buf, kind, flags, sender, draw.integer(0, 65535), view, seqno)
    wire.put_length(buf, length)
    assert wire.message_type(buf) == kind and wire.flags(buf) == flags
    assert wire.sender(buf) == sender and wire.length(buf) == length
    assert wire.view(buf) == view and wire.seqno(buf) == seqno


def test_header_at_the_limits_of_integers():
    for value in (0, 2**30 - 1, 2**30, 2**31 - 1, 2**31, 2**32 - 1):
        buf = header_of(wire.PREPARE, 0, value, value)
        assert wire.view(buf) == value
        assert wire.seqno(buf) == value


def test_inner_request_is_read_at_its_offset():
    buf = filled(40)
    inner = filled(16)
    wire.put_header(inner, wire.REQUEST, 0, 4, 1, 0, 0x01020304)
    wire.put_length(inner, 77)
    buf[9:25] = inner
    assert wire.request_sender(buf, 9) == 4
    assert wire.length_at(buf, 9) == 77
    assert wire.seqno_at(buf, 9) == 0x01020304


def test_batch_header():
    buf = filled(12)
    wire.put_batch_header(buf, 2, 0x01020304, 999, 4)
    assert buf == b"\xa5\xa5\x04\x03\x02\x01\xe7\x03\x04\x00\xa5\xa5"
    assert wire.batch_time_s(buf, 2) == 0x01020304
    assert wire.batch_time_ms(buf, 2) == 999
    assert wire.batch_count(buf, 2) == 4


def test_entry():
    buf = filled(48)
    wire.put_entry(buf, 1, 0x0102, 0x0304, 0x05060708)
    buf[1 + wire.ENTRY_DIGEST : 41] = DIGEST
    assert buf == b"\xa5\x02\x01\x04\x03\x08\x07\x06\x05" + DIGEST + b"\xa5" * 7
    assert wire.entry_client(buf, 1) == 0x0102
    assert wire.entry_length(buf, 1) == 0x0304
    assert wire.entry_request_id(buf, 1) == 0x05060708


def test_entries_follow_the_batch_header():
    assert wire.entry_at(100, 0) == 108
    assert wire.entry_at(100, 3) == 228


def test_status_header():
    buf = filled(24)
    wire.put_status_header(buf, 0x01020304, 5, 6)
    assert buf == b"\xa5" * 16 + b"\x04\x03\x02\x01\x05\x06" + b"\xa5\xa5"
    assert wire.status_last_executed(buf) == 0x01020304
    assert wire.status_round(buf) == 5
    assert wire.status_slot_count(buf) == 6


def test_masks_of_every_width():
    for width, mask in ((1, 0x0F), (2, 0x0102), (3, 0x010203), (4, 0x7F020304)):
        buf = filled(8)
        wire.put_mask(buf, 2, width, mask)
        expected = mask.to_bytes(4, "little")[:width]
        assert buf == b"\xa5\xa5" + expected + b"\xa5" * (6 - width)
        assert wire.get_mask(buf, 2, width) == mask


@property_test(count=100)
def test_mask_of_31_replicas(draw):
    mask = draw.integer(0, 2**31 - 1)
    buf = filled(8)
    wire.put_mask(buf, 1, 4, mask)
    assert wire.get_mask(buf, 1, 4) == mask


def test_fetch():
    buf = filled(24)
    wire.put_fetch(buf, 1, 0x0203, 0x0405)
    assert buf == b"\xa5" * 16 + b"\x01\x00\x03\x02\x05\x04" + b"\xa5\xa5"
    assert wire.fetch_level(buf) == 1
    assert wire.fetch_index(buf) == 0x0203
    assert wire.fetch_mask(buf) == 0x0405


def test_meta_data():
    buf = filled(28)
    wire.put_meta_data_header(buf, 1, 0x0203, 0x0405)
    assert buf == b"\xa5" * 16 + b"\x01\x00\x03\x02\x05\x04\x00\x00" + b"\xa5" * 4
    assert wire.fetch_level(buf) == 1
    assert wire.fetch_index(buf) == 0x0203
    assert wire.meta_data_count(buf) == 0x0405


def test_data():
    buf = filled(28)
    wire.put_data_header(buf, 0x0102, 0x03040506)
    assert buf == b"\xa5" * 16 + b"\x02\x01\x00\x00\x06\x05\x04\x03" + b"\xa5" * 4
    assert wire.data_index(buf) == 0x0102
    assert wire.data_modified(buf) == 0x03040506


def test_tree_entry_begins_with_its_seqno():
    assert wire.entry_modified(b"\xa5\x01\x02\x03\x04" + DIGEST, 1) == 0x04030201
