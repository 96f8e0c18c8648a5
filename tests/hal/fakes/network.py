"""The module `network`. Channel and power saving can be set only while the interface is active,
and are back at their defaults (1, PM_PERFORMANCE) after it was off. Switching it off and on is
what empties a full transmit pool. Associating takes 300 ms, and is not waited for."""

from tests.hal.fakes import board as boards
from tests.hal.fakes import clock

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010


class WLAN:
    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    def __init__(self, interface=0):
        assert interface == self.IF_STA
        self._board = boards.current

    def active(self, on=None):
        board = self._board
        if on is None:
            return board.wifi_on
        if on and board.refuse_start:
            raise OSError(-0x101, "ESP_ERR_NO_MEM")
        if on and not board.wifi_on:
            board.wifi_starts += 1
            board.channel = 1
            board.pm = self.PM_PERFORMANCE
        if not on:
            board.channel = 0
            board.wedged = False
            board.associating_since = -1
            board.groups.clear()
        board.wifi_on = bool(on)

    def config(self, param=None, **values):
        board = self._board
        if not board.wifi_on:
            raise OSError(-0x3002, "Wifi Not Started")
        if param == "channel":
            return board.channel
        for name, value in values.items():
            if name == "channel":
                if not 1 <= value <= 13:
                    raise OSError(-0x102, "ESP_ERR_INVALID_ARG")
                board.channel = value
            elif name == "pm":
                board.pm = value
            elif name == "reconnects":
                board.reconnects = value
            else:
                raise ValueError("unknown config param")

    def connect(self, name=None, password=None):
        board = self._board
        if not board.wifi_on:
            raise OSError(-0x3002, "Wifi Not Started")
        ether = board.ether
        known = (name, password) == (ether.network_name, ether.password)
        if known and ether.access_point:
            board.associating_since = clock.now_ms

    def disconnect(self):
        if not self._board.wifi_on:
            raise OSError(-0x3002, "Wifi Not Started")
        self._board.associating_since = -1
        self._board.groups.clear()

    def isconnected(self):
        return self._board.is_associated()

    def status(self):
        if self.isconnected():
            return STAT_GOT_IP
        return STAT_IDLE if self._board.associating_since < 0 else STAT_CONNECTING

    def ifconfig(self):
        own = "192.168.4.%d" % (2 + self._board.mac[5])
        return (own, "255.255.255.0", "192.168.4.1", "192.168.4.1")
