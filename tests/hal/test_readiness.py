"""Waiting inside asyncio: wakes, shares the loop, leaves nothing behind."""

import asyncio

from hal import BROADCAST
from tests.hal.support import received, with_nodes


def test_wait_async_leaves_the_loop_to_others():
    def check(config, hals):
        come = []

        async def listen():
            while len(come) < 5:
                await hals[0].wait_async(600000)
                message = received(hals[0], 0)
                while message is not None:
                    come.append(message)
                    message = received(hals[0], 0)

        async def talk():
            for i in range(5):
                await asyncio.sleep(0.002)
                hals[1].send(BROADCAST if i & 1 else 0, bytes((i + 1,)), 1)

        async def both():
            await hals[0].wait_async(0)
            start = hals[0].now_ms()
            await hals[0].wait_async(12)
            assert hals[0].now_ms() - start >= 11
            talking = asyncio.create_task(talk())
            await listen()
            await talking

        for _ in range(2):
            asyncio.run(both())
            assert come == [bytes((i + 1,)) for i in range(5)]
            come.clear()

    with_nodes(2, check)


def test_wait_async_of_two_tasks_at_once():
    """One that times out every 2 ms must not take the wake-up from the other."""

    def check(config, hals):
        served = []

        async def serve():
            await hals[0].wait_async(600000)
            served.append(received(hals[0], 0))

        async def await_reply():
            while not served:
                await hals[0].wait_async(2)

        async def both():
            serving = asyncio.create_task(serve())
            waiting = asyncio.create_task(await_reply())
            await asyncio.sleep(0.02)
            assert not served
            hals[1].send(0, b"abc", 3)
            await serving
            await waiting
            assert served == [b"abc"]

        asyncio.run(both())

    with_nodes(2, check)


def test_wait_async_that_is_cancelled_leaves_nothing_behind():
    def check(config, hals):
        async def cancelled():
            waiting = asyncio.create_task(hals[0].wait_async(600000))
            await asyncio.sleep(0.005)
            waiting.cancel()
            ended = "returned"
            try:
                await waiting
            except asyncio.CancelledError:
                ended = "cancelled"
            assert ended == "cancelled"
            hals[1].send(0, b"abc", 3)
            await hals[0].wait_async(600000)
            assert received(hals[0], 0) == b"abc"

        asyncio.run(cancelled())

    with_nodes(2, check)
