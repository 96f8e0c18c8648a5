"""The module `socket`. Known defects that are imitated:

* `readinto` joins waiting datagrams until the buffer is full, and cuts the last one;
* a datagram of no bytes counts as the end: the socket reads 0 bytes ever after;
* 6 datagrams wait, further ones are lost;
* a group is joined at the interface, and is left when the association ends.
"""

from tests.hal.fakes import board as boards
from tinybft.octets import copy

AF_INET = 2
SOCK_DGRAM = 2
SOL_SOCKET = 4095
SO_REUSEADDR = 4
IPPROTO_IP = 0
IP_ADD_MEMBERSHIP = 3

_MAILBOX = 6
_EHOSTUNREACH = 118


class socket:  # noqa: N801 - its name there
    def __init__(self, family=AF_INET, kind=SOCK_DGRAM):
        self._board = boards.current
        if self._board.refuse_sockets:
            raise OSError(23, "ENFILE")
        self.port = 0
        self._blocking = True
        self._ended = False
        self._boxes = [bytearray(1472) for _ in range(_MAILBOX)]
        self._lengths = [0] * _MAILBOX
        self._first = self._count = 0
        self.lost_count = 0

    def setblocking(self, flag):
        self._blocking = flag

    def bind(self, address):
        self.port = address[1]
        self._board.sockets.append(self)

    def setsockopt(self, level, option, value):
        if option == IP_ADD_MEMBERSHIP:
            if len(value) != 8:
                raise ValueError()
            if not self._board.is_associated():
                raise OSError(6)
            self._board.groups.add(".".join([str(octet) for octet in value[:4]]))
        elif option != SO_REUSEADDR:
            print("Warning: lwip.setsockopt() option not implemented")

    def put(self, buf, length):
        if self._count == _MAILBOX:
            self.lost_count += 1
            return
        at = (self._first + self._count) % _MAILBOX
        copy(self._boxes[at], 0, buf, 0, length)
        self._lengths[at] = length
        self._count += 1

    def readinto(self, buf):
        assert not self._blocking
        if self not in self._board.sockets:
            raise OSError(9)
        done = 0
        while done < len(buf):
            if self._ended:
                return done
            if not self._count:
                return done or None
            at = self._first
            length = min(self._lengths[at], len(buf) - done)
            copy(buf, done, self._boxes[at], 0, length)
            self._ended = self._lengths[at] == 0
            self._first = (at + 1) % _MAILBOX
            self._count -= 1
            done += length
        return done

    def sendto(self, buf, address):
        if not self._board.is_associated():
            raise OSError(_EHOSTUNREACH)
        self._board.ether.distribute(buf, len(buf), address)
        return len(buf)

    def close(self):
        if self in self._board.sockets:
            self._board.sockets.remove(self)
