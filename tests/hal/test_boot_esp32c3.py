"""hal.boot on fake ESP32-C3 boards: from NVS to a group that agrees in the background."""

import sys

import hal
from tests.hal.fakes import clock, device
from tests.hal.fakes.scenes import make_boards, with_radio
from tests.tinybft.group import pairwise_key
from tests.tinybft.scenes import small_config
from tinybft.apps.kv import KeyValueStore

PLATFORM = "virt" if sys.platform == "qemu" else "unix_board"  # hal.boot takes it from hal


def _imported():
    """hal.boot with the fake boards' HAL in the place of this platform's."""
    name = "hal." + PLATFORM
    before = sys.modules.get(name)
    sys.modules[name] = device.esp32c3
    setattr(hal, PLATFORM, device.esp32c3)
    try:
        from hal.boot import boot
    finally:
        delattr(hal, PLATFORM)
        del sys.modules[name], sys.modules["hal.boot"]
        if before is not None:
            sys.modules[name] = before
            setattr(hal, PLATFORM, before)
    return boot


boot = _imported()


def provision(board, node_id, config):
    """What `tinybft provision` writes into NVS."""
    numbers = {
        "format": 1,
        "group_id": config.GROUP_ID,
        "node_id": node_id,
        "replica_count": config.REPLICA_COUNT,
        "client_count": config.CLIENT_COUNT,
    }
    for name in numbers:
        board.nvs[("tinybft", name)] = numbers[name]
    peers = [peer for peer in range(config.CLIENT_COUNT) if peer != node_id]
    entries = [bytes((peer, 0)) + pairwise_key(node_id, peer) for peer in peers]
    board.nvs[("tinybft", "keys")] = b"".join(entries)


def booted(**changed):
    config = with_radio(small_config(CLIENT_COUNT=4), **changed)
    config.FRAME_LENGTH = 250
    _, boards = make_boards(4)
    nodes = []
    for i in range(4):
        provision(boards[i], i, config)
        with boards[i]:
            nodes.append(boot(KeyValueStore(), config))
    return config, boards, nodes


def put(node, number):
    node.start(b"\x01\x01k%d" % number)
    for _ in range(3000):
        if not node.client.busy:
            return
        clock.advance(1)
    raise AssertionError("no reply: " + node.stopped)


def test_four_boards_start_and_agree_in_the_background():
    for transport in ("esp_now", "wifi"):
        _, _, nodes = booted(TRANSPORT=transport)
        clock.advance(1000)
        for i in range(12):
            put(nodes[i % 4], i)
        assert not any(node.stopped for node in nodes)


def test_a_board_that_restarts_comes_back_with_new_request_ids():
    config, boards, nodes = booted()
    for i in range(4):
        put(nodes[0], i)
    boards[0].soft_reset()
    with boards[0]:
        nodes[0] = boot(KeyValueStore(), config)
    for i in range(4):
        put(nodes[0], i)
    assert nodes[0].hal.store.size == 16


def test_what_hinders_a_start_is_said_and_nothing_runs():
    config = with_radio(small_config(CLIENT_COUNT=4))
    config.FRAME_LENGTH = 250
    _, (board,) = make_boards(1)
    with board:
        assert boot(KeyValueStore(), config) is None  # no identity
        provision(board, 0, config)
        board.refuse_start = True
        assert boot(KeyValueStore(), config) is None
        board.refuse_start = False
        config.TRANSPORT = "unix"
        assert boot(KeyValueStore(), config) is None
    assert board.timer is None
