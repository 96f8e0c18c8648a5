"""Whose memory it is, and whether it can be believed: refuse, take up again, or stand aside."""

from hal.sim_parts import Store
from tests.tinybft.bench import make_config, u32
from tests.tinybft.durable import (
    MIRROR,
    MODES,
    PROTOCOL,
    Device,
    ask,
    every_cut,
    every_write,
    leave,
    tempt,
)
from tests.tinybft.group import make_crypto
from tests.tinybft.views import join, one, pre_prepared, prepared
from tinybft import wire
from tinybft.identity import MEMBER, format_store, put_identity
from tinybft.layout import IDENTITY_LENGTH, SLOT_HEADER_LENGTH, areas, durable_rows
from tinybft.records import Records
from tinybft.request_ids import StoreError


def refusal(bench):
    """The words with which the device refuses its memory, which stays as it is."""
    before = bench.store.image()
    try:
        bench.boot()
    except StoreError as error:
        assert bench.store.image() == before
        return str(error)
    raise AssertionError("the memory was taken")


def identity_record(bench):
    stage = bytearray(64)
    digest_into = make_crypto(bench.config, bench.own_id).digest_into
    record = Records(bench.store, digest_into, stage, bench.map["identity"], IDENTITY_LENGTH)
    return record, stage, digest_into


def relabel(bench, offset=None, own_id=2, **changed):
    """Give the memory the identity of another owner; `offset`: a byte of it to change."""
    record, stage, digest_into = identity_record(bench)
    values = dict(MIRROR)
    values.update(changed)
    put_identity(stage, record.at, make_config(**values), own_id, MEMBER, digest_into)
    if offset is not None:
        stage[record.at + offset] += 1
    record.write(0, IDENTITY_LENGTH)


# --- somebody else's ---


def test_memory_of_another_replica_is_refused():
    bench = Device(2)
    relabel(bench, own_id=1)
    words = refusal(bench)
    assert "another replica (replica id 1, here 2)" in words
    assert "put the right part back" in words and "rejoin" in words


def test_memory_of_another_group_is_refused():
    bench = Device(2)
    relabel(bench, GROUP_ID=7)
    words = refusal(bench)
    assert "another group (group id 7, here 1)" in words and "rejoin" in words


def test_memory_of_another_version_is_refused():
    bench = Device(2)
    relabel(bench, 4)
    words = refusal(bench)
    assert "another version of this library (layout version 2, here 1)" in words


def test_memory_of_another_configuration_is_refused():
    for changed in ({"CONFIG_HASH": "00000000"}, {"WINDOW": 2, "CHECKPOINT_INTERVAL": 1}):
        bench = Device(2)
        relabel(bench, **changed)
        words = refusal(bench)
        assert "another configuration" in words and "wipe the memory and let it rejoin" in words


def test_memory_that_is_too_small_is_refused():
    bench = Device(2)
    needed = bench.map["size"]
    bench.store = Store(needed - 1)
    words = refusal(bench)
    assert "need %d bytes" % needed in words and "has %d" % (needed - 1) in words
    assert "larger part" in words
    crypto = make_crypto(bench.config, 2)
    try:
        format_store(bench.store, bench.config, 2, crypto.digest_into)
    except StoreError as error:
        assert str(error) == words
    else:
        raise AssertionError("formatted")


def test_no_memory_is_refused():
    bench = Device(2)
    config = bench.config
    try:
        format_store(None, config, 2, None)
    except StoreError as error:
        assert "the store has 0" in str(error)
    else:
        raise AssertionError("formatted")


# --- nobody's ---


def aside(bench):
    """It stands aside, and knows that it cannot be trusted."""
    durability = bench.core.durability
    assert durability.abstains and not durability.trusted_at_boot
    assert durability.report()["mode"] == "rejoining"
    progress = bench.progress
    assert (progress.view, progress.low_mark, progress.last_executed) == (0, 0, 0)
    return True


def said_much(mode=MIRROR):
    bench = Device(2, mode)
    for seqno in (1, 2, 3):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    prepared(bench, 4)
    join(bench, 5)
    bench.feed(bench.view_change(3, 5))
    return bench


def test_memory_without_identity_makes_it_stand_aside():
    for mode in MODES:
        for octet in (0, 255, 0x5A):
            bench = said_much(mode)
            bench.store.wipe(octet)
            bench.restart()
            assert aside(bench)
            tempt(bench, False)


def test_memory_that_was_never_formatted_is_nobodys():
    bench = Device(2)
    bench.store = Store(areas(bench.config)["size"])
    bench.restart()
    assert aside(bench)


def test_rotten_identity_makes_it_stand_aside():
    bench = said_much()
    bench.rot("identity", 5)
    bench.restart()
    assert aside(bench)


def test_rotten_record_makes_it_stand_aside():
    """One bit, in each kind of record, wherever it is in use."""
    for mode in (MIRROR, PROTOCOL):
        stable = 4 + 3 + 8
        for area, offset in (("stable", stable), ("view", 30), ("acks", 3 * 44 + 10)):
            bench = said_much(mode)
            bench.rot(area, offset)
            bench.restart()
            assert aside(bench), area
            tempt(bench, False)


def slot_at(bench, index):
    return index * ((bench.map["stable"] - bench.map["slots"]) // bench.config.SLOT_COUNT)


def test_rotten_slot_header_makes_it_stand_aside():
    for index in (0, 3):
        bench = said_much()
        bench.rot("slots", slot_at(bench, index) + 20)
        bench.restart()
        assert aside(bench)


def test_rotten_batch_that_prepared_makes_it_stand_aside():
    """It said COMMIT for it, and cannot give it to anybody any more."""
    for mode in MODES:
        bench = Device(2, mode)
        prepared(bench, 1)
        bench.rot("slots", slot_at(bench, 1) + SLOT_HEADER_LENGTH + 8 + 12)
        bench.restart()
        assert aside(bench)


def test_rotten_batch_that_did_not_prepare_is_one_that_was_not_written():
    for mode in MODES:
        bench = Device(2, mode)
        digest = pre_prepared(bench, 1)
        bench.rot("slots", slot_at(bench, 1) + SLOT_HEADER_LENGTH + 8 + 12)
        bench.restart()
        assert bench.core.durability.trusted_at_boot
        assert bench.pre_prepare(0, 1, one(bench, 7)) != 0
        assert bench.pre_prepare(0, 1, one(bench, 1)) == 0
        assert [m[16:48] for m in bench.sent(wire.PREPARE, -1)] == [digest]


def test_flag_with_a_flipped_bit_says_the_same():
    for bit in range(8):
        bench = Device(2)
        digest = prepared(bench, 1)
        pre_prepared(bench, 2)
        for index in (1, 2):
            bench.rot("slots", slot_at(bench, index), 1 << bit)
        bench.restart()
        assert bench.core.durability.trusted_at_boot
        assert leave(bench)[1] == [(1, 0, digest)]


def test_committed_flag_with_a_flipped_bit_says_the_same():
    for bit in range(8):
        bench = Device(2)
        for seqno in (1, 2):
            bench.execute(seqno, seqno)
        prepared(bench, 3)
        for index in (1, 2, 3):
            bench.rot("slots", slot_at(bench, index) + 1, 1 << bit)
        bench.restart()
        assert bench.progress.last_executed == 2


# --- records that cannot be ---


def forge(bench, index, seqno, view, digest=bytes(32), kind=1):
    """A good record with this content in the first place of a slot's header."""
    headers = bench.core.durability.headers
    payload = u32(seqno) + u32(view) + digest + bytes((kind,))
    headers.stage[headers.at : headers.at + 41] = payload
    headers.write(2 * index, 41)


def test_header_in_the_wrong_place_is_not_believed():
    for index, seqno, view in ((1, 2, 0), (1, 9, 0), (1, 5, 0), (1, 1, 1), (5, 1, 1)):
        bench = Device(2)
        forge(bench, index, seqno, view)
        bench.restart()
        assert aside(bench), (index, seqno, view)


def test_header_of_a_stable_batch_is_no_matter():
    bench = Device(2)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    forge(bench, 1, 1, 0)
    bench.restart()
    assert bench.core.durability.trusted_at_boot


# --- torn: what was being written was not said ---


def torn_by(bench, area, action, length=0):
    """The memory as it is in the middle of the last write of `area` that `action` causes;
    `length`: of the one that is meant."""
    del bench.writes[:]
    action()
    end = min([at for at in bench.map.values() if at > bench.map[area]])
    inside = [row for row in bench.writes if bench.map[area] <= row[2] < end]
    inside = [row for row in inside if len(row[3]) == length or (not length and row[3][9:])]
    image, _, address, octets = inside[-1]
    half = len(octets) // 2
    return image[:address] + octets[:half] + image[address + half :]


def test_torn_header_was_never_said():
    bench = Device(2)
    image = torn_by(bench, "slots", lambda: pre_prepared(bench, 1), 51)
    bench.unsay([])
    bench.restart(image)
    assert bench.core.durability.trusted_at_boot
    other = one(bench, 7)
    assert bench.pre_prepare(0, 1, other) == 0
    assert [m[16:48] for m in bench.sent(wire.PREPARE, -1)] == [other.digest]


def test_torn_view_record_is_the_view_before():
    bench = Device(2)
    digest = prepared(bench, 1)
    join(bench, 1)
    said = list(bench.out)
    image = torn_by(bench, "view", lambda: join(bench, 5))
    bench.unsay(said)
    bench.restart(image)
    assert (bench.progress.view, bench.progress.active) == (1, False)
    ask(bench)
    assert leave(bench)[1] == [(1, 0, digest)]


def test_torn_first_view_record_is_view_0():
    bench = Device(2)
    digest = prepared(bench, 1)
    said = list(bench.out)
    image = torn_by(bench, "view", lambda: join(bench, 1))
    bench.unsay(said)
    bench.restart(image)
    assert bench.progress.view == 0 and bench.progress.active
    ask(bench)
    assert leave(bench)[1] == [(1, 0, digest)]


# --- power goes while it stands aside for the first time ---


def test_memory_that_is_not_trusted_never_becomes_so_by_a_power_cut():
    for mode in (MIRROR, PROTOCOL):
        for area, offset in (("view", 30), ("slots", 20)):
            for moments in (every_write, every_cut):
                bench = said_much(mode)
                bench.rot(area, offset)
                bench.restart()
                for count in moments(bench):
                    assert aside(bench), (area, count)


def test_ram_is_what_the_table_says():
    for mode in MODES:
        bench = Device(2, mode)
        rows = durable_rows(bench.config)
        assert bench.core.durability.bytes_reserved() == sum([row[2] for row in rows])
