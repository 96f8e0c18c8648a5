"""Rot while the replica runs: found, counted, mended, and nothing contradicted by any of it."""

from tests.tinybft.durable import (
    MIRROR,
    MODES,
    PROTOCOL,
    Device,
    every_cut,
    every_write,
    leave,
    tempt,
)
from tests.tinybft.views import join, pre_prepared, prepared
from tinybft import faults, wire


def busy(mode=MIRROR):
    """Every kind of record is in use."""
    bench = Device(2, mode)
    for seqno in (1, 2, 3):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    prepared(bench, 4)
    pre_prepared(bench, 5)
    join(bench, 5)
    bench.feed(bench.view_change(3, 5))
    return bench


def pieces(bench):
    return 2 * bench.config.BLOCK_COUNT + bench.config.SLOT_COUNT + 4 + 3


def scrub(bench, rounds=1):
    """Look at everything; returns how much was mended."""
    before = bench.core.faults.counts[faults.ROTTEN]
    for _ in range(rounds * (pieces(bench) + 1)):
        bench.core.scrub.step()
    return bench.core.faults.counts[faults.ROTTEN] - before


def slot_at(bench, index):
    return index * ((bench.map["stable"] - bench.map["slots"]) // bench.config.SLOT_COUNT)


def page_in_use(bench):
    """Address of a byte of the image that counts: of block 0, which the operations change."""
    image = bench.core.durability.image
    return image._address(0, image._place(0)) - bench.map["pages"]


def places(bench):
    """(area, offset) of one byte in each kind of record, and in the second of the pairs."""
    stable = (bench.map["view"] - bench.map["stable"]) // 2
    view = (bench.map["acks"] - bench.map["view"]) // 2
    return (
        ("identity", 5),
        ("slots", slot_at(bench, 0) + 20),
        ("slots", slot_at(bench, 1) + 20),
        ("stable", 16),
        ("stable", stable + 16),
        ("view", 30),
        ("view", view + 30),
        ("acks", 3 * 44 + 10),
    )


def test_nothing_is_written_where_nothing_is_rotten():
    for mode in MODES + (PROTOCOL,):
        bench = busy(mode)
        del bench.writes[:]
        assert scrub(bench, 2) == 0
        assert bench.writes == [] and not bench.core.transfer.running


def test_one_piece_is_looked_at_in_every_status_interval():
    bench = busy()
    steps = []
    bench.core.scrub.step = lambda: steps.append(bench.now)
    bench.tick(10 * bench.config.STATUS_MS)
    assert 9 <= len(steps) <= 10


def test_rotten_records_are_mended_and_say_the_same():
    claims = leave(busy())
    for mode in (MIRROR, PROTOCOL):
        for i in range(len(places(busy(mode)))):
            bench = busy(mode)
            area, offset = places(bench)[i]
            at = bench.map[area] + offset
            if not any(bench.store.octets[at - 3 : at + 3]):
                continue  # not in use
            bench.rot(area, offset, 4)
            assert scrub(bench) == 1, (area, offset)
            assert scrub(bench) == 0, (area, offset)
            bench.restart()
            assert bench.core.durability.trusted_at_boot, (area, offset)
            assert (bench.progress.view, bench.progress.low_mark) == (5, 2)
            assert leave(bench)[1:] == claims[1:]


def test_power_cut_amid_mending_is_one_of_mended_and_rotten():
    """It never looks like a record that was torn while it was first written."""
    for i in range(len(places(busy()))):
        for moments in (every_write, every_cut):
            bench = busy()
            area, offset = places(bench)[i]
            said = len(bench.out)
            bench.rot(area, offset, 4)
            del bench.writes[:]
            scrub(bench)
            for count in moments(bench):
                assert count == said
                tempt(bench, bench.core.durability.trusted_at_boot)


def test_flags_are_mended():
    for offset in (0, 1):
        bench = Device(2)
        for seqno in (1, 2):
            bench.execute(seqno, seqno)
        bench.rot("slots", slot_at(bench, 1) + offset, 2)
        assert scrub(bench) == 1
        assert scrub(bench) == 0
        bench.rot("slots", slot_at(bench, 1) + offset, 255)
        assert scrub(bench) == 1
        bench.restart()
        assert bench.progress.last_executed == 2
        assert [row[0] for row in leave(bench)[1]] == [1, 2]


def test_flag_that_was_never_set_is_mended_too():
    bench = Device(2)
    digest = pre_prepared(bench, 1)
    for offset in (0, 1):
        bench.rot("slots", slot_at(bench, 1) + offset, 255)
    assert scrub(bench) == 2
    bench.restart()
    assert bench.progress.last_executed == 0
    assert leave(bench)[1:] == ([], [(1, 0, digest)])


def test_record_that_is_not_in_use_is_cleared():
    """Else the next boot would take it for a memory that cannot be believed."""
    bench = Device(2)
    for area, offset in (("slots", slot_at(bench, 3) + 20), ("acks", 44 + 9)):
        bench.rot(area, offset)
    scrub(bench)
    assert not bench.core.durability.abstains
    bench.restart()
    assert bench.core.durability.trusted_at_boot


def test_page_of_the_image_is_mended():
    for mode in MODES:
        bench = Device(2, mode)
        for seqno in (1, 2):
            bench.execute(seqno, seqno)
        bench.stabilise(2)
        digest = bench.own_checkpoint(2)
        bench.rot("pages", page_in_use(bench), 4)
        assert scrub(bench) == 1
        assert scrub(bench) == 0
        bench.restart()
        assert not bench.core.transfer.running
        assert bench.progress.last_executed == 2
        assert bench.core.durability.image_digest == digest


def test_power_cut_amid_mending_the_image():
    for moments in (every_write, every_cut):
        bench = Device(2)
        for seqno in (1, 2):
            bench.execute(seqno, seqno)
        bench.stabilise(2)
        bench.rot("pages", page_in_use(bench), 4)
        del bench.writes[:]
        scrub(bench)
        for _ in moments(bench):
            assert bench.core.durability.trusted_at_boot
            assert bench.progress.low_mark == 2
            assert bench.core.transfer.running or bench.progress.last_executed == 2


def test_block_in_ram_is_loaded_from_the_image():
    bench = Device(2)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    before = bytes(bench.core.state.raw)
    bench.core.state.raw[1] ^= 4
    assert scrub(bench) == 1
    assert bytes(bench.core.state.raw) == before
    assert not bench.core.transfer.running


def test_block_that_the_image_does_not_have_is_fetched():
    for mode in (PROTOCOL, {}):
        bench = Device(2, mode)
        for seqno in (1, 2):
            bench.execute(seqno, seqno)
        bench.stabilise(2)
        bench.core.state.raw[1] ^= 4
        assert scrub(bench) >= 1
        assert bench.core.transfer.running and bench.sent(wire.FETCH)


def test_block_that_changed_since_the_image_waits_for_the_next_checkpoint():
    """The image has it as it was; nobody could tell what it should be now."""
    bench = Device(2)
    for seqno in (1, 2, 3, 4):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    wrong = bytearray(bench.core.state.raw)
    wrong[1] ^= 4
    bench.core.state.raw[1] ^= 4
    scrub(bench)
    assert bytes(bench.core.state.raw) == bytes(wrong) or bench.core.transfer.running


def test_view_that_was_restored_is_mended_as_it_was():
    """Left and not begun: the record that is written anew must not say that it is active."""
    for is_active in (True, False):
        bench = Device(2)
        if is_active:
            bench.begin_view(1)
        else:
            join(bench, 1)
        bench.restart()
        bench.rot("view", 30)
        second = (bench.map["acks"] - bench.map["view"]) // 2
        bench.rot("view", second + 30)
        assert scrub(bench) == 1
        bench.restart()
        assert bench.core.durability.trusted_at_boot
        assert (bench.progress.view, bool(bench.progress.active)) == (1, is_active)
