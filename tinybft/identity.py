"""Whose non-volatile memory this is: the record in front, and how a memory is made a replica's.

    0   "TBFT"
    4   layout version u16     6  group id u16     8  replica id u16
    10  12 bytes of SHA-256 over CONFIG_HASH and the map: configurations that differ in either
        do not share memory
    22  state: MEMBER, or REJOINING while the replica does not know what it said before

A memory of another group, replica, version or configuration is refused with words: somebody
put the wrong part in, or flashed another configuration. One without any identity (new, wiped,
damaged) is nobody's.
"""

from tinybft.compat import const
from tinybft.layout import IDENTITY_LENGTH, LAYOUT_VERSION, area_rows, areas
from tinybft.octets import equal, get_u16, put_u16
from tinybft.records import GOOD, Records
from tinybft.request_ids import StoreError

NOBODY = const(0)
MEMBER = const(1)
REJOINING = const(2)

_MAGIC = b"TBFT"
_HASH = const(10)
_STATE = const(22)
_CHUNK = const(64)


def put_identity(out, at, config, replica_id, state, digest_into):
    """Write the identity's payload to out[at:]."""
    out[at : at + 4] = _MAGIC
    put_u16(out, at + 4, LAYOUT_VERSION)
    put_u16(out, at + 6, config.GROUP_ID)
    put_u16(out, at + 8, replica_id)
    digest = bytearray(32)
    text = config.CONFIG_HASH
    for name, length, _ in area_rows(config):
        text += " " + name + " " + str(length)
    text = text.encode()
    digest_into(text, 0, len(text), digest, 0)
    out[at + _HASH : at + _STATE] = digest[: _STATE - _HASH]
    out[at + _STATE] = state


def format_store(store, config, replica_id, digest_into):
    """Make a store a new replica's, at the beginning of its group. Whatever it held is lost.

    Never for a replica that has been a member: it would forget what it said, and might say
    something else. StoreError if it is too small.
    """
    require_room(store, config)
    zeros = bytearray(_CHUNK)
    at = 0
    end = areas(config)["size"]
    while at < end:
        length = min(_CHUNK, end - at)
        store.write(at, zeros, length)
        at += length
    stage = bytearray(_CHUNK)
    address = areas(config)["identity"]
    identity = Records(store, digest_into, stage, address, IDENTITY_LENGTH)
    put_identity(stage, identity.at, config, replica_id, MEMBER, digest_into)
    identity.write(0, IDENTITY_LENGTH)


def require_room(store, config):
    """StoreError unless the store holds the map."""
    needed = areas(config)["size"]
    if store is None or store.size < needed:
        found = 0 if store is None else store.size
        raise StoreError(
            "the regions of this configuration need " + str(needed) + " bytes of non-volatile"
            " memory, the store has " + str(found) + ": take a larger part, or lower"
            " state_length, window or request_length_max"
        )


class Identity:
    def __init__(self, config, replica_id, records, digest_into):
        self._config = config
        self._replica_id = replica_id
        self._records = records
        self._digest_into = digest_into

    def read(self):
        """MEMBER, REJOINING or NOBODY. StoreError: it is the memory of somebody else."""
        records = self._records
        if records.read(0) != GOOD or records.length != IDENTITY_LENGTH:
            return NOBODY
        stage = records.stage
        at = records.at
        expected = bytearray(IDENTITY_LENGTH)
        put_identity(expected, 0, self._config, self._replica_id, 0, self._digest_into)
        if not equal(stage, at, expected, 0, 4):
            return NOBODY
        self._compare(expected, 4, "layout version", "another version of this library")
        self._compare(expected, 6, "group id", "another group")
        self._compare(expected, 8, "replica id", "another replica")
        if not equal(stage, at + _HASH, expected, _HASH, _STATE - _HASH):
            raise StoreError(
                "the non-volatile memory was laid out for another configuration; give the"
                " replica the configuration that it had, or wipe the memory and let it rejoin"
            )
        return stage[at + _STATE]

    def _compare(self, expected, field, name, whose):
        records = self._records
        found = get_u16(records.stage, records.at + field)
        if found != get_u16(expected, field):
            numbers = name + " " + str(found) + ", here " + str(get_u16(expected, field))
            raise StoreError(
                "the non-volatile memory is that of " + whose + " (" + numbers + "); put the"
                " right part back, or wipe it and let the replica rejoin"
            )

    def is_intact(self):
        """The record is there and can be believed."""
        return self._records.read(0) == GOOD

    def write(self, state):
        records = self._records
        put_identity(
            records.stage, records.at, self._config, self._replica_id, state, self._digest_into
        )
        records.write(0, IDENTITY_LENGTH)
