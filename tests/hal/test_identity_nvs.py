"""Identity in NVS: what is read, and which message each mistake gets; request ids beside it."""

from hal.keys import KeyFileError
from hal.store import StoreError
from tests.hal.fakes import device
from tests.hal.fakes.scenes import board_config, make_boards
from tests.hal.support import raises
from tinybft.request_ids import RequestIds

NUMBERS = {"format": 1, "group_id": 1, "node_id": 2, "replica_count": 4, "client_count": 5}


def key(peer):
    return bytes((peer + 1,)) * 16


def blob(peers):
    return b"".join([bytes((peer, 0)) + key(peer) for peer in peers])


def provisioned(**changed):
    """A board with the identity of replica 2; None removes."""
    _, (board,) = make_boards(1)
    values = dict(NUMBERS)
    values["keys"] = blob((0, 1, 3, 4))
    values.update(changed)
    for name in values:
        if values[name] is not None:
            board.nvs[("tinybft", name)] = values[name]
    return board


def refusal(**changed):
    with provisioned(**changed):
        error = raises(KeyFileError, device.identity_nvs.read, board_config())
    assert str(error).startswith("NVS namespace tinybft: ")
    return str(error)


def test_identity_and_keys():
    with provisioned():
        node_id, keys = device.esp32c3.read_identity(board_config())
    assert node_id == 2 and keys == {peer: key(peer) for peer in (0, 1, 3, 4)}
    with provisioned(node_id=4, keys=blob((0, 1, 2, 3))):
        assert device.identity_nvs.read(board_config())[0] == 4


def test_what_is_missing():
    for name in NUMBERS:
        text = refusal(**{name: None})
        assert name in text and "tinybft provision" in text
    assert "keys" in refusal(keys=None)
    _, (board,) = make_boards(1)
    board.nvs.clear()
    with board:
        error = str(raises(KeyFileError, device.identity_nvs.read, board_config()))
    assert "ESP_ERR_NVS_NOT_FOUND" in error


def test_what_does_not_fit():
    assert "group_id is 7" in refusal(group_id=7)
    assert "client_count is 6" in refusal(client_count=6)
    assert "node_id is 5" in refusal(node_id=5)
    assert "multiple of 18" in refusal(keys=blob((0, 1, 3, 4))[:-1])
    assert "do not rise" in refusal(keys=blob((0, 3, 1, 4)))
    assert "do not rise" in refusal(keys=blob((0, 0, 1, 3)))
    assert "key of node 4 is missing" in refusal(keys=blob((0, 1, 3)))
    assert "INVALID_LENGTH" in refusal(keys=blob((0, 1, 3, 4, 5, 6)))
    assert "all zeros" in refusal(keys=blob((0, 1, 3)) + b"\x04\x00" + bytes(16))


def test_request_ids_rise_over_restarts():
    board = provisioned()
    last = 0
    for _ in range(5):
        with board:
            ids = RequestIds(device.nvs_store.NvsStore())
        for _ in range(300):
            one = ids.next()
            assert one > last
            last = one
        board.nvs_uncommitted.clear()  # power cut
        board.soft_reset()
    assert board.nvs[("tinybft", "node_id")] == 2


def test_store_that_cannot_be_used():
    with provisioned(ids=bytes(15)):
        assert "15 bytes" in str(raises(StoreError, device.nvs_store.NvsStore))
    with provisioned(ids=bytes(17)):
        assert "INVALID_LENGTH" in str(raises(StoreError, device.nvs_store.NvsStore))
    with provisioned():
        store = device.nvs_store.NvsStore()
    store._nvs.full = True
    assert "NOT_ENOUGH_SPACE" in str(raises(StoreError, store.write, 0, bytes(8), 8))
    raises(ValueError, store.write, 12, bytes(8), 8)
