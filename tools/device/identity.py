"""Who a board is: group, node and its keys, in a key file and in the board's NVS.

Namespace "tinybft" of the NVS: i32 "format", "group_id", "node_id", "replica_count",
"client_count"; blob "keys": per peer, rising, its id u16 little-endian and 16 bytes of key;
blobs "wifi_ssid" and, unless the network is open, "wifi_pass" for a group on WiFi. Nothing of it
is ever printed but the numbers. The keys are plaintext in the flash unless its encryption is on.

The node itself adds the blob "ids": how far its request ids have risen (hal/nvs_store.py). It
stays when the same node is provisioned anew, or the group would take new requests for old ones.
"""

import json
import struct
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import rich_click as click

from hal.keys import FORMAT, KeyFileError, load_keys
from tools.device import nvs
from tools.refusal import Refusal

NAMESPACE = "tinybft"
_REQUEST_IDS = "ids"
_IDS_EPOCH = 1735689600  # 2025-01-01; 32 bits last for 17 years
_NUMBERS = ("group_id", "node_id", "replica_count", "client_count")
# What ESP-IDF writes by itself on any board and makes anew when it is gone.
_OF_THE_SYSTEM = {"nvs.net80211", "phy", "misc", "dhcp_state"}


@dataclass(frozen=True)
class Identity:
    """wifi: (ssid, password) in bytes, or None. request_ids: what the node wrote, or None."""

    group_id: int
    node_id: int
    replica_count: int
    client_count: int
    keys: dict[int, bytes] = field(repr=False)
    wifi: tuple[bytes, bytes] | None = field(default=None, repr=False)
    request_ids: bytes | None = field(default=None, repr=False, compare=False)

    def __str__(self):
        return f"group {self.group_id} node {self.node_id}"

    def image(self):
        """The NVS partition with this identity and nothing else."""
        values = {"format": FORMAT} | {name: getattr(self, name) for name in _NUMBERS}
        values["keys"] = b"".join(
            struct.pack("<H", peer) + self.keys[peer] for peer in sorted(self.keys)
        )
        if self.wifi:
            names = ("wifi_ssid", "wifi_pass")
            values |= {name: text for name, text in zip(names, self.wifi, strict=True) if text}
        if self.request_ids:
            values[_REQUEST_IDS] = self.request_ids
        return nvs.image(NAMESPACE, values)


def first_request_ids(now):
    """What a board's "ids" begin with, that may take the place of a lost one: the group would
    take ids that it knows already for old requests. They count from the time (s since 1970), so
    they lie above all earlier ones while a node asks for less than 8 things a second."""
    limit = max(0, int(now) - _IDS_EPOCH) * 8 & ~255
    return struct.pack("<II8x", limit, limit ^ 0xFFFFFFFF)


@dataclass(frozen=True)
class Found:
    """What the NVS of a board holds.

    kind: "blank" (nothing of anybody), "provisioned", "incomplete" (an identity that lacks
    something: of an interrupted write, or another format), "foreign" (of other software),
    "damaged" (no NVS at all, or broken). identity: with "provisioned" only. claims: (group_id,
    node_id) as far as they are there.
    """

    kind: str
    words: str
    identity: Identity | None = None
    claims: tuple[int | None, int | None] = (None, None)

    def __str__(self):
        return self.words


def found_in(content):
    """What the bytes of a board's NVS partition say."""
    try:
        table = nvs.parse(content)
    except nvs.NvsError as error:
        return Found("damaged", f"damaged ({error})")
    if NAMESPACE not in table:
        others = sorted(set(table) - _OF_THE_SYSTEM)
        if others:
            return Found("foreign", f"foreign (data of {', '.join(others)})")
        return Found("blank", "blank")
    values = table[NAMESPACE]
    claims = values.get("group_id"), values.get("node_id")
    identity = _identity(values)
    if identity is None:
        return Found(
            "incomplete", "incomplete identity of group {} node {}".format(*claims), None, claims
        )
    return Found("provisioned", str(identity), identity, claims)


def _identity(values):
    numbers = [values.get(name) for name in _NUMBERS]
    blob = values.get("keys")
    whole = all(isinstance(number, int) for number in numbers) and isinstance(blob, bytes)
    if not whole or values.get("format") != FORMAT or len(blob) % 18:
        return None
    keys = {peer: key for peer, key in struct.iter_unpack("<H16s", blob)}
    wifi = None
    if "wifi_ssid" in values:
        wifi = values["wifi_ssid"], values.get("wifi_pass", b"")
    return Identity(*numbers, keys, wifi, values.get(_REQUEST_IDS))


def from_key_file(folder, node_id, config=None):
    """The identity of one node from the folder that `tinybft keys` made; raises Refusal.

    config: GROUP_ID, REPLICA_COUNT and CLIENT_COUNT that the firmware has, if that is known.
    """
    path = Path(folder) / f"node-{node_id}.key.json"
    if not Path(folder).is_dir():
        raise Refusal(f"--keys {folder}: no such folder; make the keys with `tinybft keys`")
    if not path.is_file():
        raise Refusal(
            f"{path}: there are no keys for node {node_id}; make them with `tinybft keys`,"
            " or choose another --keys or --node"
        )
    config = config or _own_numbers(path)
    try:
        own_id, keys = load_keys(str(path), config)
    except KeyFileError as error:
        raise Refusal(str(error)) from error
    if own_id != node_id:
        raise Refusal(
            f"{path}: is the file of node {own_id}, not of {node_id}; was it renamed?"
            " Copy the files anew from where `tinybft keys` made them"
        )
    return Identity(config.GROUP_ID, own_id, config.REPLICA_COUNT, config.CLIENT_COUNT, keys)


def _own_numbers(path):
    """What the key file says of its group; load_keys complains about anything odd."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        table = None
    table = table if isinstance(table, dict) else {}
    numbers = {
        name.upper(): table[name] if type(table.get(name)) is int else 0 for name in _NUMBERS
    }
    return SimpleNamespace(**numbers)


def wifi_from_file(path):
    """(ssid, password) of a TOML file: ssid = "...", password = "..."; raises Refusal."""
    remedy = 'it must have two lines: ssid = "..." and password = "..."'
    try:
        if Path(path).stat().st_mode & 0o077:
            raise Refusal(f"{path}: other users may read it; run `chmod 600 {path}`")
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except ValueError:
        # the parser's words are left out: they can quote the password
        raise Refusal(f"{path}: is not TOML; {remedy}") from None
    if set(table) != {"ssid", "password"}:
        raise Refusal(f"{path}: has {', '.join(sorted(table)) or 'nothing'}; {remedy}")
    return _checked_wifi(path, table["ssid"], table["password"])


def wifi_from_prompt():
    """Ask for (ssid, password) at the terminal; raises Refusal."""
    ssid = click.prompt("WiFi network (SSID)")
    password = click.prompt("WiFi password", hide_input=True, default="", show_default=False)
    return _checked_wifi("WiFi", ssid, password)


def _checked_wifi(place, ssid, password):
    if not isinstance(ssid, str) or not isinstance(password, str):
        raise Refusal(f"{place}: ssid and password must be texts in quotes")
    ssid, password = ssid.encode(), password.encode()
    if not 1 <= len(ssid) <= 32:
        raise Refusal(f"{place}: the ssid has {len(ssid)} bytes, must be 1..32")
    if password and not 8 <= len(password) <= 63:
        raise Refusal(
            f"{place}: the password has {len(password)} bytes, must be 8..63, or empty for an"
            " open network"
        )
    return ssid, password
