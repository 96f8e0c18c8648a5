"""Frames over a fake ESP-NOW: settings, all that the air can bring, a radio that gets stuck."""

import gc

from hal import BROADCAST, HalError
from hal.espnow_sizes import ring_length
from hal.frames import Fragments
from tests.hal.fakes import clock, device
from tests.hal.fakes.scenes import board_config, mac_of, make_boards, make_hals, take_all
from tests.hal.support import ON_MICROPYTHON, bytes_allocated, counted, message_of, raises

BUF = bytearray(1152)


def two(**changed):
    ether, boards = make_boards(2)
    config = board_config(**changed)
    return ether, boards, make_hals(boards, config)


def test_every_length_and_target():
    ether, boards = make_boards(4)
    hals = make_hals(boards, board_config())
    for length in (1, 72, 246, 247, 1000, 1152):
        for source in hals:
            message = bytes(message_of(length, source.node_id))
            assert source.send(BROADCAST, message, length)
            for hal in hals:
                assert take_all(hal, BUF) == ([] if hal is source else [message])
            for target in hals:
                if target is not source:
                    assert source.send(target.node_id, message, length)
                    for hal in hals:
                        assert take_all(hal, BUF) == ([message] if hal is target else [])
    assert [counted(hal) for hal in hals] == [{}] * 4


def test_targets_that_do_not_exist():
    _, _, (left, _) = two()
    for target in (0, 5, 1000, -2):
        assert not left.send(target, b"abc", 3)
    assert counted(left) == {"send_target": 4}


def test_settings():
    _, (board, _), _ = two(RADIO_CHANNEL=11, RADIO_RATE_KBIT=24000, RADIO_POWER_SAVE=True)
    assert (board.channel, board.rate, board.pm, board.reconnects) == (11, 9, 1, 0)
    _, (board, _), _ = two()
    assert (board.channel, board.rate, board.pm, board.reconnects) == (6, 0, 0, 0)
    assert board.peers == [b"\xff" * 6]


def test_a_soft_reset_leaves_no_old_settings():
    ether, boards = make_boards(2)
    make_hals(boards, board_config(RADIO_CHANNEL=3, RADIO_POWER_SAVE=True))
    for board in boards:
        board.soft_reset()
        assert board.channel == 3
    left, right = make_hals(boards, board_config())
    assert boards[0].channel == 6 and boards[0].pm == 0
    left.send(BROADCAST, b"abc", 3)
    assert take_all(right, BUF) == [b"abc"]


def test_a_radio_that_does_not_start():
    _, (board,) = make_boards(1)
    board.refuse_start = True
    with board:
        error = str(raises(HalError, device.esp32c3.Hal, board_config(), 0))
    assert "ESP_ERR_NO_MEM" in error and "channel (is 6)" in error


def test_the_ring_holds_a_message_of_every_other_node():
    config = board_config()
    ether, boards = make_boards(5)
    hals = make_hals(boards, config)
    for hal in hals[1:]:
        hal.send(BROADCAST, message_of(1152, hal.node_id), 1152)
    assert boards[0].dropped_count == 0
    assert [m[0] for m in take_all(hals[0], BUF)] == [1, 2, 3, 4]
    assert ring_length(config) == 4 * 5 * 264
    assert ring_length(board_config(CLIENT_COUNT=60)) == 30000
    assert ring_length(board_config(MESSAGE_LENGTH_MAX=200)) == 2 * 1484


def test_foreign_packets_are_counted_and_harmless():
    ether, _, (left, right) = two()
    stranger = mac_of(999)
    for packet in (b"", b"x", b"xyz", b"\xff" * 250, b"\x01" * 251, bytes(1470)):
        ether.shout(stranger, packet, 6)
        left.send(BROADCAST, b"behind it", 9)
        assert take_all(right, BUF) == [b"behind it"], packet
    faults = counted(right)
    assert faults.pop("frame_length") == 5 and faults.pop("frame_transmitter") == 1
    assert not faults


def test_packets_of_no_bytes_do_not_hide_what_is_behind():
    ether, _, (left, right) = two()
    for _ in range(63):
        ether.shout(mac_of(7), b"", 6)
    left.send(BROADCAST, b"abc", 3)
    assert take_all(right, BUF) == [b"abc"]
    assert counted(right) == {"frame_length": 63}


def test_another_group_on_the_channel():
    ether, boards = make_boards(4)
    hals = make_hals(boards[:2], board_config())
    for i in (0, 1):
        with boards[2 + i]:
            hals.append(device.esp32c3.Hal(board_config(GROUP_ID=2), i))
    for i in range(20):
        for hal in hals:
            hal.send(BROADCAST, message_of(1000, i), 1000)
        for hal in hals:
            assert take_all(hal, BUF) == [bytes(message_of(1000, i))]


def flood(ether, count, packet):
    for i in range(count):
        ether.shout(mac_of(i), packet(i), 6)


def test_floods_are_bounded_work_and_bounded_memory():
    ether, boards, (left, right) = two()
    config = board_config()
    fragments = Fragments(config, 0)

    def attack(i):
        """A reassembly attack: ever new numbers, first fragments, in the name of each node."""
        frame = bytearray(250)
        fragments.begin(b"x" * 1152, 1152)
        fragments.put_next()
        frame[:250] = fragments.frame
        frame[2] = i * 5 & 255
        frame[0] = (fragments.frame[0] + i % 5) & 255
        return frame

    for packet in (lambda i: bytes(i % 1471), lambda i: b"\xa5" * 250, attack):
        flood(ether, 500, packet)
        kept = boards[1].espnow_ring.used()
        assert kept <= ring_length(config) and boards[1].dropped_count > 0
        while right._air.any():
            right.receive_into(BUF)
        in_use = [0] * 10
        for k in range(10):
            for i in range(50):
                ether.shout(mac_of(i), attack(i), 6)
                right.receive_into(BUF)
            gc.collect()
            in_use[k] = gc.mem_alloc() if ON_MICROPYTHON else 0
        assert max(in_use) == in_use[0]
        left.send(BROADCAST, b"still here", 10)
        assert take_all(right, BUF)[-1:] == [b"still here"]
        for _ in range(6):  # the number of the first is random, the attack's may be close to it
            left.send(BROADCAST, message_of(1152), 1152)
            come = take_all(right, BUF)
        assert come == [bytes(message_of(1152))]
    assert right.faults.frame_length and right.faults.frame_transmitter
    assert right.faults.message_unfinished


def test_source_addresses_take_no_memory_without_rssi():
    ether, boards = make_boards(2)
    hals = make_hals(boards, board_config())
    ether.shout(mac_of(1), b"abc", 6)
    hals[0].receive_into(BUF)

    def flood_and_take():
        for i in range(200):
            ether.shout(MACS[i], b"abc", 6)
            hals[0].receive_into(BUF)

    assert bytes_allocated(flood_and_take) == 0


MACS = [mac_of(i) for i in range(200)]


def test_with_rssi_the_driver_remembers_them_all():
    """The firmware of MicroPython itself: it works, but that much memory is a stranger's."""
    ether, boards = make_boards(2, rssi=True)
    left, right = make_hals(boards, board_config())
    for mac in MACS:
        ether.shout(mac, b"abc", 6)
        right.receive_into(BUF)
    assert len(boards[1].espnow.peers_table) == 200
    left.send(BROADCAST, b"abc", 3)
    assert take_all(right, BUF) == [b"abc"]


def test_messages_allocate_nothing():
    for changed in ({}, {"RADIO_POWER_SAVE": True}):
        _, _, (left, right) = two(**changed)
        message = message_of(1152)
        targets = (BROADCAST, 1)

        def talk():
            for target in targets:  # noqa: B023
                for length in (1, 72, 246, 247, 1152):
                    left.send(target, message, length)  # noqa: B023
                    right.wait(100)  # noqa: B023
                    while not right.receive_into(BUF):  # noqa: B023
                        right.wait(1)  # noqa: B023
            left.wait(0)  # noqa: B023
            left.wait(3)  # noqa: B023
            left.now_ms()  # noqa: B023
            left.cycles()  # noqa: B023

        assert bytes_allocated(talk) == 0


def test_a_stuck_radio_is_restarted():
    _, (board, _), (left, right) = two(RADIO_RATE_KBIT=6000)
    board.wedged = True
    starts = board.wifi_starts
    assert not left.send(BROADCAST, b"one", 3) and not left.send(BROADCAST, b"two", 3)
    assert board.wifi_starts == starts + 1
    assert (board.channel, board.rate, board.pm, board.reconnects) == (6, 11, 0, 0)
    assert left.send(BROADCAST, b"three", 5) and take_all(right, BUF) == [b"three"]
    right.send(BROADCAST, b"back", 4)
    assert take_all(left, BUF) == [b"back"]
    assert counted(left) == {"send_error": 2, "radio_restart": 1}


def test_one_refusal_restarts_nothing():
    _, (board, _), (left, _) = two()
    for _ in range(3):
        board.wedged = True
        left.send(BROADCAST, b"one", 3)
        board.wedged = False
        left.send(BROADCAST, b"two", 3)
    assert counted(left) == {"send_error": 3}


def test_a_radio_that_does_not_start_again_is_tried_again():
    _, (board, _), (left, right) = two()
    board.wedged = board.refuse_start = True
    for _ in range(4):
        left.send(BROADCAST, b"one", 3)
        clock.advance(300)
    faults = counted(left)
    assert faults["radio_restart"] == faults["radio_failure"] >= 1
    board.refuse_start = False
    clock.advance(1000)
    for _ in range(3):
        left.send(BROADCAST, b"two", 3)
    assert take_all(right, BUF)[-1:] == [b"two"]


def test_restarts_do_not_grow_the_heap():
    _, (board, _), (left, _) = two()

    def break_down(times):
        for _ in range(times):
            board.wedged = True
            left.send(BROADCAST, b"one", 3)
            left.send(BROADCAST, b"two", 3)
            clock.advance(1000)
        gc.collect()
        return gc.mem_alloc() if ON_MICROPYTHON else 0

    first = break_down(3)
    assert break_down(30) <= first
    assert left.faults.radio_restart == 33


def test_a_ring_that_is_confused_is_made_anew():
    _, (_, board), (left, right) = two()
    board.espnow_ring.confused = True
    left.send(BROADCAST, b"abc", 3)
    for _ in range(4):
        assert take_all(right, BUF) == []
    left.send(BROADCAST, b"def", 3)
    assert take_all(right, BUF) == [b"def"]
    assert counted(right) == {"receive_error": 4, "radio_restart": 1}


def test_a_radio_that_somebody_switched_off_comes_back():
    _, (_, board), (left, right) = two()
    board.espnow.active(False)
    right.wait(50)
    for _ in range(4):
        assert take_all(right, BUF) == []
    left.send(BROADCAST, b"def", 3)
    assert take_all(right, BUF) == [b"def"]


def test_close_switches_off():
    _, (board, _), (left, _) = two()
    left.close()
    assert not board.wifi_on and board.espnow_ring is None
