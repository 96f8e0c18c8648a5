"""The parameters of config.toml: where each one stands, its type, its limits and why.

One table; the parser, the messages, the generated module and its hash are made from it.
A parameter alone is checked here, what ties several together in `config_rules`.

    kind        TOML value                     in tinybft/config.py
    Whole       integer within low..high       int
    Choice      one of a few strings           str
    Switch      true or false                  bool
    Rate        Mbit/s that the radio has      int, kbit/s
    Address     IPv4 address (or multicast)    str
    Addresses   list of IPv4 addresses         tuple of str
    Parts       list of "ADDRESS:PART"         tuple of (int, str)

A kind whose constant is not the TOML value itself has `constant(value)`.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from hal.fram_i2c import PARTS, check_places
from hal.store import StoreError

_TICKS_MAX = 2**29 - 1


@dataclass(frozen=True)
class Whole:
    low: int
    high: int
    why: str

    def complaint(self, value):
        """What is wrong with a value, in words that follow `section.key = value:`; or ''."""
        if type(value) is not int:
            return f"must be an integer, not {_type_of(value)}; write a plain number"
        if not self.low <= value <= self.high:
            return f"must lie in {self.low}..{self.high} ({self.why}); choose a value in it"
        return ""


@dataclass(frozen=True)
class Choice:
    options: tuple
    later: tuple = ()

    def complaint(self, value):
        shown = ", ".join(f'"{option}"' for option in self.options)
        if type(value) is not str:
            return f"must be a string, not {_type_of(value)}; use {shown}"
        if value in self.later:
            return f"is not available yet in this version; use {shown}"
        if value not in self.options:
            return f"is not a known choice; use {shown}"
        return ""


@dataclass(frozen=True)
class Switch:
    def complaint(self, value):
        if type(value) is not bool:
            return f"must be true or false, not {_type_of(value)}; write true or false"
        return ""


@dataclass(frozen=True)
class Rate:
    options: tuple

    def complaint(self, value):
        if type(value) not in (int, float) or value not in self.options:
            shown = ", ".join(str(option) for option in self.options)
            return f"is no rate that the radio has; use one of {shown}"
        return ""

    def constant(self, value):
        return round(value * 1000)


@dataclass(frozen=True)
class Address:
    multicast: bool = False

    def complaint(self, value):
        if type(value) is not str:
            return f'must be a string, not {_type_of(value)}; write it as "192.168.1.2"'
        try:
            address = IPv4Address(value)
        except ValueError:
            return 'is not an IPv4 address; write four numbers such as "192.168.1.2"'
        if address.is_multicast is not self.multicast:
            if self.multicast:
                return "is not a multicast group; choose one in 224.0.0.0..239.255.255.255"
            return "is a multicast group, but one host is meant; give the address of a host"
        return ""


@dataclass(frozen=True)
class Addresses:
    def complaint(self, value):
        if type(value) is not list:
            return f'must be a list, not {_type_of(value)}; write [] or ["192.168.1.2", ...]'
        for item in value:
            wrong = Address().complaint(item)
            if wrong:
                return f"{shown(item)} {wrong}"
        if len(set(value)) < len(value):
            return "names a host twice; give each replica an address of its own"
        return ""


@dataclass(frozen=True)
class Parts:
    """FRAM chips: I2C address in hexadecimal, part of hal.fram_i2c."""

    def complaint(self, value):
        if type(value) is not list:
            return f'must be a list, not {_type_of(value)}; write [] or ["0x50:MB85RC256V"]'
        for item in value:
            if type(item) is not str:
                return f'{shown(item)} must be a string; write it as "0x50:MB85RC256V"'
            if not _PART.fullmatch(item):
                known = ", ".join(sorted(PARTS))
                return (
                    f"{shown(item)} is no chip; write its I2C address, a colon and its part,"
                    f' as "0x50:MB85RC256V" (parts: {known})'
                )
        try:
            check_places(self.constant(value) or ((0x50, "MB85RC256V"),))
        except StoreError as error:
            return str(error)
        return ""

    def constant(self, value):
        return tuple((int(item[:4], 16), item[5:]) for item in value)


_PART = re.compile(r"0x[0-9a-fA-F]{2}:\w+")


@dataclass(frozen=True)
class Parameter:
    section: str
    key: str
    kind: Whole | Choice | Switch | Rate | Address | Addresses | Parts
    name: str = ""
    agreed: bool = False
    """Whether all members must have the same value (it enters CONFIG_HASH)."""

    @property
    def constant(self):
        """Its name in tinybft/config.py."""
        return self.name or self.key.upper()

    @property
    def path(self):
        return f"[{self.section}] {self.key}"


def _type_of(value):
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    return names.get(type(value), "a " + type(value).__name__)


def shown(value):
    """A value as TOML spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return str(value)


def constant_of(kind, value):
    """What tinybft/config.py has for a sound TOML value."""
    if hasattr(kind, "constant"):
        return kind.constant(value)
    return tuple(value) if isinstance(value, list) else value


def _agreed(section, key, kind):
    return Parameter(section, key, kind, agreed=True)


def _timeout(key, agreed=False):
    kind = Whole(1, _TICKS_MAX, "milliseconds; half the range of a tick counter of 2**30")
    return Parameter("timeouts", key, kind, agreed=agreed)


def _region(key):
    kind = Choice(("ram", "mirror", "nvm"))
    return Parameter("storage", key, kind, name="STORAGE_" + key.upper())


def _radio(key, kind, name=""):
    return Parameter("radio", key, kind, name=name or "RADIO_" + key.upper())


def _fram(key, kind):
    return Parameter("fram", key, kind, name="FRAM_" + key.upper())


PARAMETERS = (
    _agreed("group", "fault_count", Whole(1, 10, "vote masks are 31 bits wide and n = 3f+1")),
    _agreed("group", "group_id", Whole(0, 65535, "two bytes of every message")),
    _agreed("group", "client_count", Whole(4, 65535, "a node id is two bytes")),
    _agreed("agreement", "window", Whole(2, 255, "slots, counted in one byte")),
    _agreed("agreement", "checkpoint_interval", Whole(1, 127, "at most half of the window")),
    _agreed("agreement", "batch_count_max", Whole(1, 16, "requests in one pre-prepare")),
    _agreed("agreement", "pipeline", Whole(1, 255, "at most the window")),
    _agreed("agreement", "read_only", Switch()),
    _agreed("agreement", "tentative", Switch()),
    _agreed("sizes", "request_length_max", Whole(1, 65535, "bytes of one operation")),
    _agreed("sizes", "reply_length_max", Whole(1, 65535, "bytes of one result")),
    _agreed("sizes", "message_length_max", Whole(64, 16384, "bytes of one message")),
    _agreed("sizes", "inline_length_max", Whole(0, 16384, "bytes of a whole REQUEST")),
    _agreed("state", "state_length", Whole(16, 2**24, "bytes of application state")),
    _agreed("state", "block_length", Whole(16, 16384, "bytes, hashed and fetched as a whole")),
    _agreed("state", "batch_pages_max", Whole(1, 65535, "a page is named by two bytes")),
    _agreed("authentication", "tag_length", Whole(8, 16, "bytes of an AES-CMAC, 16 when whole")),
    _timeout("repair_ms"),
    _timeout("retry_ms"),
    _timeout("status_ms"),
    _timeout("request_ms"),
    _timeout("view_change_ms"),
    _timeout("retry_max_ms"),
    _timeout("clock_skew_ms", agreed=True),
    Parameter("timeouts", "stagger_ms", Whole(0, 1000, "milliseconds; 0 = all at once")),
    _region("agreement"),
    _region("checkpoint"),
    _region("event"),
    _region("state"),
    Parameter("storage", "nvm_length", Whole(0, 2**24, "bytes of non-volatile memory")),
    Parameter("budget", "ram_max", Whole(1, 2**30 - 1, "bytes of all regions together")),
    Parameter("transport", "kind", Choice(("unix", "esp_now", "wifi")), name="TRANSPORT"),
    _agreed("transport", "frame_length", Whole(64, 1400, "bytes in one radio frame or datagram")),
    Parameter("transport", "multicast_group", Address(multicast=True)),
    Parameter("transport", "port", Whole(1024, 65535, "UDP ports open to ordinary programs")),
    Parameter("transport", "interface", Address()),
    Parameter("transport", "hosts", Addresses()),
    _radio("channel", Whole(1, 13, "the channels of 2.4 GHz that every country's rules know")),
    _radio("rate_mbit", Rate((1, 2, 5.5, 11, 6, 9, 12, 18, 24, 36, 48, 54)), "RADIO_RATE_KBIT"),
    _radio("power_save", Switch()),
    _radio(
        "watchdog_ms", Whole(0, 600000, "milliseconds up to ten minutes; 0 = off"), "WATCHDOG_MS"
    ),
    _fram("sda", Whole(0, 21, "GPIO numbers of the ESP32-C3")),
    _fram("scl", Whole(0, 21, "GPIO numbers of the ESP32-C3")),
    _fram("frequency", Whole(10000, 400000, "Hz; the ESP32-C3's I2C does 400 kHz")),
    _fram("parts", Parts()),
)

SECTIONS = tuple(dict.fromkeys(parameter.section for parameter in PARAMETERS))
BY_CONSTANT = {parameter.constant: parameter for parameter in PARAMETERS}
