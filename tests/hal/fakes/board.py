"""One board: what its fake modules share, and the ether between boards.

`Board` holds the radio's state (which outlives a soft reset, as the chip's does), NVS, the I2C
bus, the queue of MicroPython's scheduler (8 entries, more are dropped) and the timer.
"""

from tests.hal.fakes import clock

_QUEUE = 8
current = None


def set_current(board):
    """Whose modules they are from now on; returns whose they were."""
    global current
    before = current
    current = board
    return before


class Ether:
    """Carries ESP-NOW packets between boards, and datagrams through one access point."""

    def __init__(self):
        self.boards = []
        self.lost = None  # f(sender, receiver) -> whether a packet gets lost
        self.access_point = True
        self.network_name = "barn"
        self.password = "hay and oats"

    def carry(self, sender, buf, length):
        """A packet of `sender` to all boards that listen on its channel."""
        for board in self.boards:
            listens = board.espnow_ring and board.channel == sender.channel
            lost = self.lost is not None and self.lost(sender, board)
            if board is not sender and listens and not lost:
                board.hear(sender.mac, buf, length)

    def shout(self, mac, packet, channel=1):
        """A packet of a stranger."""
        for board in self.boards:
            if board.channel == channel and board.espnow_ring:
                board.hear(mac, packet, len(packet))

    def distribute(self, buf, length, address):
        """A datagram to the group: the access point sends it to all, the sender included."""
        for board in self.boards:
            if board.is_associated() and address[0] in board.groups:
                for sock in board.sockets:
                    if sock.port == address[1]:
                        sock.put(buf, length)

    def switch_access_point(self, on):
        self.access_point = on
        for board in self.boards:
            if not on:
                board.associating_since = -1
                board.groups.clear()


class Board:
    """`rssi`: whether the firmware was built with MICROPY_PY_ESPNOW_RSSI."""

    def __init__(self, ether, mac, rssi=False):
        self.ether = ether
        self.mac = mac
        self.rssi = rssi
        self.nvs = {}
        self.nvs_uncommitted = {}
        self.i2c_bus = None
        self.i2c_settings = None
        self.resets = 0
        # WiFi
        self.wifi_on = False
        self.channel = 0
        self.pm = 1
        self.reconnects = -1
        self.wifi_starts = 0
        self.refuse_start = False
        self.associating_since = -1
        self.groups = set()
        self.sockets = []
        self.refuse_sockets = False
        # ESP-NOW
        self.wedged = False
        self.wedge_after = -1  # packets until the transmit pool is full for ever
        self.sent_count = 0
        self.heard_count = 0
        self.dropped_count = 0
        self.rate = 0
        self.soft_reset()
        ether.boards.append(self)
        clock.boards.append(self)

    def soft_reset(self):
        """Ctrl-D: the heap is new, ESP-NOW and timers are off; WiFi stays as it was."""
        self.espnow = None
        self.espnow_ring = None
        self.peers = []
        self.on_packet = None
        self.on_packet_argument = None
        self.timer = None
        self.watchdog = None
        self._queue = [None] * _QUEUE
        self._arguments = [None] * _QUEUE
        self._queued = 0
        self._locked = False
        self.unscheduled = 0

    def __enter__(self):
        self._before = set_current(self)
        return self

    def __exit__(self, *_):
        set_current(self._before)

    def is_associated(self):
        since = self.associating_since
        return self.ether.access_point and since >= 0 and clock.now_ms - since >= 300

    def hear(self, mac, buf, length):
        """The driver's callback, in the task of WiFi."""
        self.espnow_ring.put_packet(mac, buf, length)
        if self.on_packet is not None:
            self.schedule(self.on_packet, self.on_packet_argument)

    def schedule(self, function, argument):
        if self._queued == _QUEUE:
            self.unscheduled += 1
            return
        self._queue[self._queued] = function
        self._arguments[self._queued] = argument
        self._queued += 1

    def tick(self):
        """A millisecond later."""
        timer = self.timer
        if timer is not None and timer.is_due():
            self.schedule(timer.callback, timer)
        if self.watchdog is not None and self.watchdog.is_due():
            self.resets += 1
            self.watchdog = None
        self.run_scheduled()

    def run_scheduled(self):
        """What was scheduled so far; never within a callback."""
        if self._locked or not self._queued:
            return
        self._locked = True
        left = self._queued
        while left:
            left -= 1
            function, argument = self._queue[0], self._arguments[0]
            for i in range(self._queued - 1):
                self._queue[i] = self._queue[i + 1]
                self._arguments[i] = self._arguments[i + 1]
            self._queued -= 1
            before = set_current(self)
            function(argument)
            set_current(before)
        self._locked = False


def forget_all():
    """Between two tests."""
    clock.boards.clear()
