"""Who this board is: its identity and keys in NVS, where `tinybft provision` has put them.

    namespace "tinybft"
    i32     format, group_id, node_id, replica_count, client_count     as in a key file
    blob    keys: per peer, ids rising, u16 peer id (little-endian) and the 16 bytes of the key
    blob    wifi_ssid, wifi_pass: UTF-8; for [transport] kind = "wifi" only

NVS is plain flash unless the board's flash is encrypted. Boot time only: allocates, and says
what is wrong as KeyFileError; a node never runs with half of its keys, and never invents one.
"""

from binascii import hexlify

import esp32

from hal.keys import KeyFileError, check_keys
from tinybft.octets import get_u16

NAMESPACE = "tinybft"
PLACE = "NVS namespace tinybft"
_REMEDY = "; put this board's identity there with `tinybft provision`"
_NUMBERS = ("format", "group_id", "node_id", "replica_count", "client_count")
_ENTRY_LENGTH = 18
_TEXT_LENGTH_MAX = 64


def read(config):
    """(node_id, {peer_id: 16 bytes}) of this board."""
    return check_keys(table_of(opened(), config.CLIENT_COUNT), config, PLACE)


def opened():
    try:
        return esp32.NVS(NAMESPACE)
    except OSError as error:
        raise KeyFileError("%s: cannot be opened (%s)%s" % (PLACE, error, _REMEDY)) from None


def table_of(nvs, client_count):
    """The identity in the form that `hal.keys.check_keys` takes."""
    table = {}
    for name in _NUMBERS:
        try:
            table[name] = nvs.get_i32(name)
        except OSError as error:
            raise KeyFileError(
                "%s: %s cannot be read (%s)%s" % (PLACE, name, error, _REMEDY)
            ) from None
    blob = _blob(nvs, "keys", _ENTRY_LENGTH * client_count)
    if len(blob) % _ENTRY_LENGTH:
        raise KeyFileError(
            "%s: keys has %d bytes, must be a multiple of %d%s"
            % (PLACE, len(blob), _ENTRY_LENGTH, _REMEDY)
        )
    table["keys"] = keys = {}
    before = -1
    for at in range(0, len(blob), _ENTRY_LENGTH):
        peer = get_u16(blob, at)
        if peer <= before:
            raise KeyFileError("%s: the peers of keys do not rise%s" % (PLACE, _REMEDY))
        keys[str(peer)] = hexlify(blob[at + 2 : at + _ENTRY_LENGTH]).decode()
        before = peer
    return table


def read_network():
    """(name, password) of the WiFi network; an open one has no password: None."""
    nvs = opened()
    name = _text(nvs, "wifi_ssid")
    password = _text(nvs, "wifi_pass")
    if not name:
        raise KeyFileError(
            '%s: wifi_ssid is missing or empty, but [transport] kind is "wifi"%s'
            % (PLACE, _REMEDY)
        )
    return name, password or None


def _text(nvs, name):
    try:
        return str(_blob(nvs, name, _TEXT_LENGTH_MAX), "utf-8")
    except UnicodeError:
        raise KeyFileError("%s: %s is not UTF-8%s" % (PLACE, name, _REMEDY)) from None
    except KeyFileError:
        if name == "wifi_pass":
            return ""
        raise


def _blob(nvs, name, length_max):
    octets = bytearray(length_max)
    try:
        return octets[: nvs.get_blob(name, octets)]
    except OSError as error:
        raise KeyFileError(
            "%s: %s cannot be read (%s)%s" % (PLACE, name, error, _REMEDY)
        ) from None
