"""The keys of a key file: what is taken, and which message each mistake gets."""

from hal.keys import KeyFileError, check_keys
from tests.hal.support import Config, raises

CONFIG = Config()


def table_of(own_id, **changes):
    count = 5 if own_id < 4 else 4
    keys = {str(i): "%032x" % (17 * i + 1) for i in range(count) if i != own_id}
    table = {
        "format": 1,
        "group_id": 1,
        "node_id": own_id,
        "replica_count": 4,
        "client_count": 5,
        "keys": keys,
    }
    table.update(changes)
    return table


def refusal(table):
    text = str(raises(KeyFileError, check_keys, table, CONFIG, "here.json"))
    assert text.startswith("here.json: ") and "tinybft keys" in text
    return text


def test_replica_and_external_client():
    node_id, keys = check_keys(table_of(0), CONFIG, "here")
    assert node_id == 0 and sorted(keys) == [1, 2, 3, 4]
    assert keys[2] == bytes(15) + b"\x23"
    node_id, keys = check_keys(table_of(4), CONFIG, "here")
    assert node_id == 4 and sorted(keys) == [0, 1, 2, 3]


def test_wrong_values():
    assert "format is 2" in refusal(table_of(0, format=2))
    assert "group_id is 7, but the configuration says 1" in refusal(table_of(0, group_id=7))
    assert "replica_count is 7" in refusal(table_of(0, replica_count=7))
    assert "client_count is '5'" in refusal(table_of(0, client_count="5"))
    for node_id in (-1, 5, "0", None, 1.5):
        assert "must be 0..4" in refusal(table_of(0, node_id=node_id))
    for table in (None, [], "text", 3):
        assert "one JSON object" in refusal(table)


def test_wrong_keys():
    for keys in (None, [], "x"):
        assert "must be an object" in refusal(table_of(0, keys=keys))
    keys = table_of(0)["keys"]
    for wrong in ("", "00", "g" * 32, "0" * 31 + "g", "1" * 34, 5, None):
        assert "32 hexadecimal" in refusal(table_of(0, keys=dict(keys, **{"2": wrong})))
    assert "all zeros" in refusal(table_of(0, keys=dict(keys, **{"2": "0" * 32})))
    extra = dict(keys, **{"x": "1" * 32, "9": "1" * 32})
    assert "keys of 9, x, whom node 0" in refusal(table_of(0, keys=extra))
    del keys["3"]
    assert "key of node 3 is missing" in refusal(table_of(0, keys=keys))
