"""An application on asyncio, as a user writes it: `application.py PORT`, on either interpreter.

Four replicas run as tasks beside the application's own, each on its own real sockets.
"""

import asyncio
import sys

from hal.unix import Hal
from tests.tinybft.group import make_crypto
from tinybft import Busy, Node, RequestTooLarge, config
from tinybft.apps.kv import KeyValueStore
from tinybft.apps.kv_client import KeyValue


class Settings:
    """The configuration of config.toml on another port."""


class RamStore:
    """A store for the length of this program: nothing here is restarted."""

    size = 64

    def __init__(self):
        self._bytes = bytearray(self.size)

    def read_into(self, address, buf, length):
        buf[:length] = self._bytes[address : address + length]

    def write(self, address, buf, length):
        self._bytes[address : address + length] = buf[:length]


def make_node(settings, node_id):
    hal = Hal(settings, node_id, make_crypto(settings, node_id), multicast=False)
    hal.store = RamStore()
    return Node(hal, settings, KeyValueStore())


async def application(nodes):
    store = KeyValue(nodes[1])
    await store.put("lamp", "on")
    assert await KeyValue(nodes[2]).get("lamp") == b"on"
    assert not await store.cas("lamp", "off", "on")
    for expected in range(1, 6):
        assert await KeyValue(nodes[expected % 4]).increment("visits", 1) == expected
    assert await store.scan("") == [b"lamp", b"visits"]
    await refusals(nodes[0])
    assert nodes[3].status()["last_executed"] > 0


async def refusals(node):
    try:
        await node.submit(bytes(node.config.REQUEST_LENGTH_MAX + 1))
    except RequestTooLarge as error:
        assert "request_length_max" in str(error)
    else:
        raise AssertionError("an oversize operation was taken")
    first = asyncio.create_task(KeyValue(node).count(""))
    await asyncio.sleep(0)
    try:
        await node.submit(b"second")
    except Busy:
        pass
    else:
        raise AssertionError("a second request was taken while one is outstanding")
    assert await first == 2


async def main(port):
    settings = Settings()
    for name in dir(config):
        if name.isupper():
            setattr(settings, name, getattr(config, name))
    settings.PORT = port
    nodes = [make_node(settings, node_id) for node_id in range(settings.REPLICA_COUNT)]
    tasks = [asyncio.create_task(node.serve()) for node in nodes]
    await asyncio.wait_for(application(nodes), 30)
    for task in tasks:
        task.cancel()
    print("done")


asyncio.run(main(int(sys.argv[1])))
