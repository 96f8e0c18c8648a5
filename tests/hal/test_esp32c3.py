"""The HAL of the ESP32-C3 as a whole: waiting, background, watchdog, stores, refusals."""

import asyncio

from hal import BROADCAST, HalError
from hal.store import StoreError
from tests.hal.fakes import clock, device
from tests.hal.fakes.scenes import board_config, make_boards, make_hals, take_all
from tests.hal.fram_chip import I2cBus, I2cChip
from tests.hal.support import bytes_allocated, counted, message_of, raises

BUF = bytearray(1152)


def two(**changed):
    _, boards = make_boards(2)
    return boards, make_hals(boards, board_config(**changed))


def test_own_mistakes_are_errors():
    _, (left, _) = two()
    for length in (0, 1153):
        raises(ValueError, left.send, BROADCAST, bytes(2000), length)
    raises(ValueError, left.receive_into, bytearray(1151))


def test_transport_of_a_host():
    _, (board,) = make_boards(1)
    with board:
        error = raises(HalError, device.esp32c3.Hal, board_config(TRANSPORT="unix"), 0)
    assert 'kind is "unix", a board has "esp_now" or "wifi"' in str(error)


def test_clocks_wrap_below_two_to_the_thirty():
    _, (left, _) = two()
    clock.skip(1 << 14)
    assert 0 <= left.now_ms() < 1 << 30 and 0 <= left.cycles() < 1 << 30
    before = left.cycles()
    clock.skip(1)
    assert (left.cycles() - before) & 0x3FFFFFFF == 160000


def test_wait_returns_for_a_packet_and_for_the_time():
    boards, (left, right) = two()
    begin = left.now_ms()
    left.wait(0)
    assert left.now_ms() == begin
    left.wait(15)
    assert left.now_ms() - begin == 15
    right.send(0, b"abc", 3)
    left.wait(600000)
    assert left.now_ms() - begin == 15 and take_all(left, BUF) == [b"abc"]


def test_wait_inside_asyncio():
    _, (left, right) = two()
    seen = []

    async def other():
        for _ in range(5):
            seen.append(left.now_ms())
            await asyncio.sleep(0)
        right.send(0, b"abc", 3)

    async def main():
        task = asyncio.create_task(other())
        await left.wait_async(60000)
        await task

    asyncio.run(main())
    assert len(seen) == 5 and take_all(left, BUF) == [b"abc"]


def test_background_steps_after_a_packet_and_every_few_milliseconds():
    boards, (left, right) = two()
    steps = []

    def step():
        steps.append((left.now_ms(), take_all(left, BUF)))

    with boards[0]:
        left.background(step)
    begin = left.now_ms()
    clock.advance(20)
    assert 9 <= len(steps) <= 10
    right.send(0, b"abc", 3)
    boards[0].run_scheduled()
    assert steps[-1] == (begin + 20, [b"abc"])
    with boards[0]:
        left.background(None)
    count = len(steps)
    right.send(0, b"def", 3)
    clock.advance(20)
    assert len(steps) == count and take_all(left, BUF) == [b"def"]


def test_a_long_step_is_not_followed_by_many():
    """While it runs, eight events are noted; they are looked at, not answered by a step each."""
    boards, (left, right) = two()
    steps = []

    def step():
        if not steps:
            clock.advance(60)
            for _ in range(30):
                right.send(0, message_of(700), 700)
        steps.append(len(take_all(left, BUF)))

    with boards[0]:
        left.background(step)
    clock.advance(2)
    assert steps == [sum(steps)] and boards[0].unscheduled > 0
    clock.advance(2)
    assert len(steps) <= 2 + 1


def test_background_allocates_nothing():
    for transport in ("esp_now", "wifi"):
        boards, (left, right) = two(TRANSPORT=transport)

        def step():
            left.receive_into(BUF)  # noqa: B023

        with boards[0]:
            left.background(step)
        clock.advance(1000)

        def live():
            right.send(0, b"abc", 3)  # noqa: B023
            for _ in range(10):
                clock.advance(1)

        assert bytes_allocated(live) == 0


def test_watchdog():
    boards, (left, _) = two(WATCHDOG_MS=6000)
    clock.advance(10000)
    assert boards[0].resets == 0  # nobody has fed it yet
    with boards[0]:
        for _ in range(5):
            left.watchdog()
            clock.advance(5900)
    assert boards[0].resets == 0
    clock.advance(200)
    assert boards[0].resets == 1
    boards, (left, _) = two()
    left.watchdog()
    clock.advance(10000)
    assert boards[0].resets == 0 and boards[0].watchdog is None


def test_entropy():
    _, (left, _) = two()
    one, two_ = bytearray(16), bytearray(16)
    left.entropy(one)
    left.entropy(two_)
    assert one != two_ and any(one)


def with_chips(board, *chips):
    board.i2c_bus = I2cBus([I2cChip(part, device_) for device_, part in chips])


def test_fram_on_the_configured_pins():
    parts = ((0x50, "MB85RC256V"), (0x52, "MB85RC1MT"))
    _, (board,) = make_boards(1)
    with_chips(board, *parts)
    config = board_config(FRAM_PARTS=parts, FRAM_SDA=4, FRAM_SCL=5, NVM_LENGTH=163840)
    config.DURABLE = True
    with board:
        hal = device.esp32c3.Hal(config, 0)
    assert board.i2c_settings == (5, 4, 400000) and hal.store.size == 163840
    hal.store.write(32766, b"abcd", 4)
    found = bytearray(4)
    hal.store.read_into(32766, found, 4)
    assert found == b"abcd" and counted(hal) == {}


def test_fram_that_is_not_what_it_must_be():
    _, (board,) = make_boards(1)
    config = board_config(FRAM_PARTS=((0x50, "MB85RC256V"),), NVM_LENGTH=32769)
    with_chips(board, (0x50, "MB85RC256V"))
    with board:
        error = str(raises(HalError, device.esp32c3.Hal, config, 0))
        assert "have 32768 bytes, [storage] nvm_length asks for 32769" in error
        with_chips(board)
        assert "does not answer" in str(raises(StoreError, device.esp32c3.Hal, config, 0))


def test_durable_without_chips():
    _, (board,) = make_boards(1)
    config = board_config(DURABLE=True)
    with board:
        error = str(raises(HalError, device.esp32c3.Hal, config, 0))
        assert "[fram] parts names no chip" in error
        assert device.esp32c3.Hal(config, 4).store.size == 16  # an external client
