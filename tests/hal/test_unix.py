"""The HAL of a host as a whole: injected faults, waiting, store, and no allocation."""

import os

from hal import BROADCAST
from tests.hal.support import (
    bytes_allocated,
    message_of,
    raises,
    received,
    temporary_path,
    with_nodes,
)


def test_own_mistakes_are_errors():
    def check(config, hals):
        for length in (0, 1153):
            raises(ValueError, hals[0].send, BROADCAST, bytes(2000), length)
        raises(ValueError, hals[0].receive_into, bytearray(1151))

    with_nodes(1, check)


def test_injected_loss_is_on_the_receiving_side():
    def check(config, hals):
        for i in range(40):
            hals[1].send(0, bytes((i, 7)), 2)
        come = 0
        while received(hals[0], 20) is not None:
            come += 1
        faults = hals[0].faults
        assert come == 40 - faults.injected_loss and 0 < come < 40
        assert received(hals[1], 0) is None

    with_nodes(2, check, loss=0.5, seed=3)


def test_injected_delay_wakes_the_waiting_one():
    def check(config, hals):
        start = hals[0].now_ms()
        hals[1].send(0, b"abc", 3)
        assert received(hals[0]) == b"abc" and received(hals[0]) == b"abc"
        assert hals[0].now_ms() - start >= 30
        assert received(hals[0], 60) is None

    with_nodes(2, check, delay_ms=30, duplicate=1.0)


def test_wait_returns_for_a_message_and_for_the_time():
    def check(config, hals):
        hals[0].wait(0)
        start = hals[0].now_ms()
        hals[0].wait(15)
        assert hals[0].now_ms() - start >= 14
        hals[1].send(0, b"abc", 3)
        hals[0].wait(600000)
        assert received(hals[0], 0) == b"abc"

    with_nodes(2, check)


def test_store_and_entropy():
    path = temporary_path("hal")

    def check(config, hals):
        assert hals[0].store.size == 128
        hals[0].store.write(0, b"abc", 3)
        one, two = bytearray(16), bytearray(16)
        hals[0].entropy(one)
        hals[0].entropy(two)
        assert one != two and any(one)

    try:
        with_nodes(1, check, store_path=path, store_length=128)
    finally:
        os.remove(path)


def test_clocks_stay_below_two_to_the_thirty():
    def check(config, hals):
        assert 0 <= hals[0].now_ms() < 1 << 30 and 0 <= hals[0].cycles() < 1 << 30

    with_nodes(1, check)


def test_messages_allocate_nothing():
    def check(config, hals):
        buf, message = bytearray(1152), message_of(1152)
        left, right = hals
        targets = (BROADCAST, 1)

        def talk():
            for target in targets:
                for length in (72, 1152):
                    left.send(target, message, length)
                    right.wait(100)
                    while not right.receive_into(buf):
                        right.wait(1)
            while left.receive_into(buf):
                pass
            left.wait(0)
            left.wait(1)
            left.now_ms()
            left.cycles()

        assert bytes_allocated(talk) == 0

    with_nodes(2, check)
    with_nodes(2, check, multicast=False)
    with_nodes(2, check, delay_ms=1, seed=1)
