"""Reads a node's key file: the pairwise keys that it shares with the others.

    {"format": 1, "group_id": 1, "node_id": 0, "replica_count": 4, "client_count": 5,
     "keys": {"1": "<32 hex digits>", ...}}

A replica shares a key with every other node, an external client (id >= replica_count) with the
replicas only. Boot time only: allocates, and says what is wrong as KeyFileError; a node never
runs with half of its keys, and never invents one.
"""

import json
from binascii import unhexlify

FORMAT = 1
_KEY_LENGTH = 16
_REMEDY = "; make the keys anew with `tinybft keys` and copy this node's file again"


class KeyFileError(Exception):
    """The key file cannot be used; the text names the file, the rule, the values, the remedy."""


def load_keys(path, config):
    """(node_id, {peer_id: 16 bytes}) of the key file at `path`."""
    try:
        with open(path) as file:
            text = file.read()
    except OSError as error:
        raise KeyFileError(
            "%s: cannot be read (%s); make it with `tinybft keys`" % (path, error)
        ) from None
    except UnicodeError:
        raise KeyFileError("%s: is not text, but must be JSON%s" % (path, _REMEDY)) from None
    try:
        table = json.loads(text)
    except ValueError:
        raise KeyFileError("%s: is not JSON%s" % (path, _REMEDY)) from None
    return check_keys(table, config, path)


def check_keys(table, config, place):
    """The same from the parsed file, for a device that has it elsewhere than in a file."""
    if not isinstance(table, dict):
        raise KeyFileError("%s: must hold one JSON object%s" % (place, _REMEDY))
    _expect(place, table, "format", FORMAT, "this version of the library reads")
    _expect(place, table, "group_id", config.GROUP_ID, "the configuration says")
    _expect(place, table, "replica_count", config.REPLICA_COUNT, "the configuration says")
    _expect(place, table, "client_count", config.CLIENT_COUNT, "the configuration says")
    node_id = table.get("node_id")
    if type(node_id) is not int or not 0 <= node_id < config.CLIENT_COUNT:
        raise KeyFileError(
            "%s: node_id is %r, must be 0..%d%s"
            % (place, node_id, config.CLIENT_COUNT - 1, _REMEDY)
        )
    return node_id, _peer_keys(place, table.get("keys"), node_id, config)


def _expect(place, table, name, value, who):
    found = table.get(name)
    if type(found) is not int or found != value:
        raise KeyFileError("%s: %s is %r, but %s %d%s" % (place, name, found, who, value, _REMEDY))


def _peer_keys(place, named, node_id, config):
    if not isinstance(named, dict):
        raise KeyFileError("%s: keys must be an object {peer id: key}%s" % (place, _REMEDY))
    count = config.CLIENT_COUNT if node_id < config.REPLICA_COUNT else config.REPLICA_COUNT
    keys = {}
    for peer in range(count):
        if peer != node_id:
            if str(peer) not in named:
                raise KeyFileError("%s: the key of node %d is missing%s" % (place, peer, _REMEDY))
            keys[peer] = _key(place, peer, named[str(peer)])
    if len(named) != len(keys):
        extra = sorted(peer for peer in named if not (peer.isdigit() and int(peer) in keys))
        raise KeyFileError(
            "%s: keys of %s, whom node %d shares no key with%s"
            % (place, ", ".join(extra), node_id, _REMEDY)
        )
    return keys


def _key(place, peer, digits):
    try:
        key = unhexlify(digits)
    except (ValueError, TypeError):
        key = b""
    if len(key) != _KEY_LENGTH:
        raise KeyFileError(
            "%s: the key of node %d must be %d hexadecimal digits%s"
            % (place, peer, 2 * _KEY_LENGTH, _REMEDY)
        )
    if not any(key):
        raise KeyFileError("%s: the key of node %d is all zeros%s" % (place, peer, _REMEDY))
    return key
