"""The module `espnow`. Known defects that are imitated:

* a packet longer than the caller's buffer raises ValueError and empties the ring;
* `rxbuf` changed while active confuses the ring until it is made anew (`confused`);
* a packet of no bytes reads as 0, which also means that there is none;
* broadcasts return True whatever happens to them;
* with RSSI each new source address stays in `peers_table` for ever; without, the first element
  of the caller's list must be six writable bytes;
* when the transmit pool is full (`board.wedged`), each `send` blocks for 2 s and then raises
  ESP_ERR_ESPNOW_NO_MEM, until WiFi is switched off and on.
"""

from tests.hal.fakes import board as boards
from tests.hal.fakes import clock
from tinybft.octets import copy, get_u16, put_u16

MAX_DATA_LEN = 1470
ADDR_LEN = 6

_NOT_INIT = (-12389, "ESP_ERR_ESPNOW_NOT_INIT")
_ARG = (-12390, "ESP_ERR_ESPNOW_ARG")
_NO_MEM = (-12391, "ESP_ERR_ESPNOW_NO_MEM")
_NOT_FOUND = (-12393, "ESP_ERR_ESPNOW_NOT_FOUND")
_EXIST = (-12395, "ESP_ERR_ESPNOW_EXIST")
_IF = (-12396, "ESP_ERR_ESPNOW_IF")
_HEADER = 14  # magic 1, length 2, time 4, RSSI 1, source 6


class Ring:
    """The driver's ring of bytes."""

    def __init__(self, size, board):
        self._octets = bytearray(size + 1)
        self._board = board
        self._header = bytearray(_HEADER)
        self.confused = False
        self.clear()

    def clear(self):
        self._in = self._out = 0

    def used(self):
        return (self._in - self._out) % len(self._octets)

    def put_packet(self, mac, buf, length):
        if _HEADER + length >= len(self._octets) - 1 - self.used():
            self._board.dropped_count += 1
            return
        header = self._header
        header[0] = 0x99
        put_u16(header, 1, length)
        copy(header, 8, mac, 0, 6)
        self._put(header, _HEADER)
        self._put(buf, length)
        self._board.heard_count += 1

    def _put(self, buf, length):
        first = min(length, len(self._octets) - self._in)
        copy(self._octets, self._in, buf, 0, first)
        copy(self._octets, 0, buf, first, length - first)
        self._in = (self._in + length) % len(self._octets)

    def get(self, buf, length):
        first = min(length, len(self._octets) - self._out)
        copy(buf, 0, self._octets, self._out, first)
        copy(buf, first, self._octets, 0, length - first)
        self._out = (self._out + length) % len(self._octets)


class _ESPNow:
    def __init__(self, board):
        self._board = board
        self._ring_size = 2 * (_HEADER + 250)
        self._header = bytearray(_HEADER)
        self._source = bytearray(6)
        if board.rssi:
            self.peers_table = {}

    def _ring(self):
        ring = self._board.espnow_ring
        if ring is None:
            raise OSError(*_NOT_INIT)
        return ring

    def active(self, flag=None):
        board = self._board
        if flag is not None and flag and board.espnow_ring is None:
            board.espnow_ring = Ring(self._ring_size, board)
        elif flag is not None and not flag:
            board.espnow_ring = None
            board.peers.clear()
        return board.espnow_ring is not None

    def config(self, param=None, *, rxbuf=-1, timeout_ms=None, rate=-1):
        if rxbuf >= 0:
            self._ring_size = rxbuf
            if self._board.espnow_ring is not None:
                self._board.espnow_ring.confused = True
        if rate >= 0:
            if not self._board.wifi_on:
                raise OSError(-0x3002, "ESP_ERR_WIFI_NOT_STARTED")
            self._board.rate = rate
        if param == "rxbuf":
            return self._ring_size
        if param is not None:
            raise ValueError("unknown config param")

    def irq(self, callback):
        if callback is not None and not callable(callback):
            raise ValueError("invalid handler")
        self._board.on_packet = callback
        self._board.on_packet_argument = self

    def any(self):
        return self._ring().used() > 0

    def recvinto(self, data, timeout_ms=None):
        ring = self._ring()
        assert timeout_ms == 0, "a blocking receive wakes at the 10 ms tick only"
        if type(data) is not list or len(data) < 2:
            raise ValueError("ESPNow.recvinto(): Invalid argument")
        if not self._board.rssi and len(data[0]) != 6:  # None has no buffer: TypeError
            raise ValueError("invalid buffer length")
        if ring.confused:
            raise ValueError("ESPNow.recv(): buffer error")
        if not ring.used():
            return 0
        ring.get(self._header, _HEADER)
        length = get_u16(self._header, 1)
        if length > len(data[1]):
            ring.clear()
            raise ValueError("ESPNow.recv(): buffer error")
        ring.get(data[1], length)
        if self._board.rssi:
            data[0] = self._known(self._header)
        else:
            copy(data[0], 0, self._header, 8, 6)
        return length

    def _known(self, header):
        for mac in self.peers_table:
            if mac[5] == header[13] and mac[4] == header[12] and mac == header[8:]:
                return mac
        mac = bytes(header[8:])
        self.peers_table[mac] = [0, 0]
        return mac

    def send(self, mac, msg, sync=True):
        board = self._board
        self._ring()
        if mac not in board.peers:
            raise OSError(*_NOT_FOUND)
        if not 0 < len(msg) <= MAX_DATA_LEN:
            raise OSError(*_ARG)
        if not board.wifi_on:
            raise OSError(*_IF)
        if board.sent_count == board.wedge_after:
            board.wedged = True
            board.wedge_after = -1
        if board.wedged:
            clock.skip(2000)
            raise OSError(*_NO_MEM)
        board.sent_count += 1
        board.ether.carry(board, msg, len(msg))
        return True

    def add_peer(self, mac):
        self._ring()
        if mac in self._board.peers:
            raise OSError(*_EXIST)
        self._board.peers.append(mac)


def ESPNow():  # noqa: N802 - a class there
    board = boards.current
    if board.espnow is None:
        board.espnow = _ESPNow(board)
    return board.espnow
