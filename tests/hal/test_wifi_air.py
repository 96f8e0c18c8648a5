"""Frames over a fake WiFi network: joining, losing it, joining again, and what comes from it."""

from hal import BROADCAST, HalError
from hal.keys import KeyFileError
from tests.hal.fakes import clock, device
from tests.hal.fakes.scenes import board_config, make_boards, make_hals, take_all
from tests.hal.support import bytes_allocated, counted, message_of, raises

BUF = bytearray(1152)
GROUP = ("239.66.84.1", 47000)


def settle(boards, hals, ms=1000):
    """Time passes, and everybody looks at the air now and then."""
    for _ in range(ms // 50):
        clock.advance(50)
        for i in range(len(hals)):
            with boards[i]:
                hals[i].receive_into(BUF)


def joined(count=2, **changed):
    ether, boards = make_boards(count)
    hals = make_hals(boards, board_config(TRANSPORT="wifi", **changed))
    settle(boards, hals)
    assert all(board.groups == {GROUP[0]} for board in boards)
    return ether, boards, hals


def test_every_length_and_target():
    _, _, hals = joined(3)
    for length in (1, 72, 246, 247, 1152):
        for source in hals:
            message = bytes(message_of(length, source.node_id))
            assert source.send(BROADCAST, message, length)
            for hal in hals:
                assert take_all(hal, BUF) == ([] if hal is source else [message])
            target = hals[(source.node_id + 1) % 3]
            assert source.send(target.node_id, message, length)
            for hal in hals:
                assert take_all(hal, BUF) == ([message] if hal is target else [])
    assert [counted(hal) for hal in hals] == [{}] * 3


def test_before_it_has_joined():
    _, boards = make_boards(1)
    (hal,) = make_hals(boards, board_config(TRANSPORT="wifi"))
    assert not hal.send(BROADCAST, b"abc", 3)
    assert counted(hal) == {"send_error": 1}


def test_settings():
    _, boards, _ = joined(2)
    assert (boards[0].pm, boards[0].reconnects) == (0, 0)
    _, boards, _ = joined(2, RADIO_POWER_SAVE=True)
    assert boards[0].pm == 1


def test_connects_and_joins_again():
    ether, boards, hals = joined()
    ether.switch_access_point(False)
    settle(boards, hals, 30000)
    assert not hals[0].send(BROADCAST, b"abc", 3)
    faults = counted(hals[0])
    assert faults.pop("association_lost") == 1 and faults.pop("send_error") == 1
    assert 2 <= faults.pop("radio_failure") <= 3 and not faults
    ether.switch_access_point(True)
    settle(boards, hals, 12000)
    assert all(board.groups == {GROUP[0]} for board in boards)
    assert hals[0].send(BROADCAST, b"abc", 3) and take_all(hals[1], BUF) == [b"abc"]


def test_a_short_loss_is_noticed():
    ether, boards, hals = joined()
    ether.switch_access_point(False)
    ether.switch_access_point(True)
    settle(boards, hals, 1500)
    assert hals[0].send(BROADCAST, b"abc", 3) and take_all(hals[1], BUF) == [b"abc"]


def test_losing_the_network_never_stops_the_node():
    ether, boards, hals = joined()
    ether.switch_access_point(False)
    begin = clock.now_ms
    for _ in range(100):
        hals[0].send(BROADCAST, b"abc", 3)
        hals[0].receive_into(BUF)
    assert clock.now_ms == begin


def test_wrong_password_is_tried_again_for_ever():
    ether, boards = make_boards(1)
    ether.password = "changed"
    hals = make_hals(boards, board_config(TRANSPORT="wifi"))
    settle(boards, hals, 60000)
    assert 5 <= hals[0].faults.radio_failure <= 6


def test_foreign_datagrams_cost_at_most_the_frame_behind_them():
    ether, _, (left, right) = joined()
    for foreign in (b"x", b"xy", b"x" * 251, b"\xff" * 252, b"x" * 253, b"x" * 1400):
        ether.distribute(foreign, len(foreign), GROUP)
        left.send(BROADCAST, b"spoilt", 6)
        left.send(BROADCAST, b"whole 1", 7)
        left.send(BROADCAST, b"whole 2", 7)
        come = take_all(right, BUF)
        assert come[-2:] == [b"whole 1", b"whole 2"], (foreign, come)
    assert right.faults.datagram_length >= 3


def test_a_datagram_of_no_bytes_does_not_end_the_socket():
    ether, boards, (left, right) = joined()
    for _ in range(50):
        ether.distribute(b"", 0, GROUP)
        for board, hal in zip(boards, (left, right)):  # noqa: B905 - MicroPython
            with board:
                assert take_all(hal, BUF) == []
        assert len(boards[1].sockets) == 1
    left.send(BROADCAST, b"abc", 3)
    assert take_all(right, BUF) == [b"abc"]
    assert right.faults.datagram_length == 50


def test_a_socket_that_cannot_be_opened_again_is_tried_again():
    ether, boards, hals = joined()
    boards[1].refuse_sockets = True
    ether.distribute(b"", 0, GROUP)
    settle(boards, hals, 1000)
    assert not boards[1].sockets and 3 <= hals[1].faults.radio_failure <= 6
    boards[1].refuse_sockets = False
    settle(boards, hals, 300)
    hals[0].send(BROADCAST, b"abc", 3)
    assert take_all(hals[1], BUF) == [b"abc"]


def test_messages_allocate_nothing():
    _, _, (left, right) = joined()
    message = message_of(1152)
    targets = (BROADCAST, 1)

    def talk():
        for target in targets:
            for length in (1, 72, 246, 247, 1152):
                left.send(target, message, length)
                right.wait(100)
                while not right.receive_into(BUF):
                    right.wait(1)
                left.receive_into(BUF)
        left.wait(3)

    assert bytes_allocated(talk) == 0


def test_network_name_that_was_not_provided():
    _, (board,) = make_boards(1)
    config = board_config(TRANSPORT="wifi")
    del board.nvs[("tinybft", "wifi_ssid")]
    with board:
        error = str(raises(KeyFileError, device.esp32c3.Hal, config, 0))
    assert "wifi_ssid" in error and "tinybft provision" in error
    board.nvs[("tinybft", "wifi_ssid")] = b"open"
    del board.nvs[("tinybft", "wifi_pass")]
    with board:
        assert device.identity_nvs.read_network() == ("open", None)


def test_wifi_that_does_not_start():
    _, (board,) = make_boards(1)
    board.refuse_start = True
    with board:
        error = raises(HalError, device.esp32c3.Hal, board_config(TRANSPORT="wifi"), 0)
    assert "ESP_ERR_NO_MEM" in str(error)
