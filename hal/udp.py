"""Frames in UDP datagrams: the air of nodes that live on hosts.

Broadcast is UDP multicast (of loopback or a LAN); where that is not to be had, it fans out by
unicast and says so once. All nodes of a group must then do so (multicast=False), because who
multicasts does not reach who cannot hear it.

A frame length of 0 (hal/datagrams.py) is a node's own probe at boot and is ignored by all.

Measured on 64-bit MicroPython: `sendto`, `readinto`, `ipoll` allocate 0 bytes; only an OSError
does. A refused `sendto` is counted, never raised.
"""

import os
import select
import sys

from hal import BROADCAST
from hal.datagrams import Datagrams
from hal.udp_sockets import (
    address_of,
    echoes,
    open_multicast,
    open_unicast,
    reader_of,
    unicast_addresses,
)
from tinybft.compat import const, micropython
from tinybft.octets import put_u16

# One socket is emptied before the other gets its turn, because alternating would interleave the
# fragments of two messages; but a flood of one must not starve the other. This many datagrams
# fill a receive buffer of the usual size.
_FRAMES_PER_TURN = const(256)
_PROBE_MS = const(200)
# EPERM, ENODEV, ENETDOWN, ENETUNREACH: the group will not come back by itself.
_NO_GROUP = (1, 19, 100, 101)


class UdpAir(Datagrams):
    """One node's sockets: frames come in `frame_in` and leave from `frame_out`."""

    def __init__(self, config, node_id, faults, multicast=True):
        super().__init__(config, faults)
        self._node_id = node_id
        self._addresses = unicast_addresses(config)
        self._others = [a for i, a in enumerate(self._addresses) if a and i != node_id]
        self._group = address_of(config.MULTICAST_GROUP, config.PORT)
        self._turn = 0
        self._turn_left = _FRAMES_PER_TURN
        self.multicast = True
        self.multicast_reason = ""
        unicast = open_unicast(config, node_id)
        self._sendto = unicast.sendto
        self.sockets = [unicast]
        if multicast:
            self._join(config, unicast)
        else:
            self.multicast = False
            self.multicast_reason = "switched off"
        reads = tuple(reader_of(sock) for sock in self.sockets)
        self._reading = (reads, self._received)  # to unpack a tuple is one attribute looked up
        poll = select.poll()
        for sock in self.sockets:
            poll.register(sock, select.POLLIN)
        # MicroPython's ipoll waits when it is called, and allocates nothing if nobody iterates.
        self.wait = poll.ipoll if hasattr(poll, "ipoll") else poll.poll

    def _join(self, config, unicast):
        probe = bytearray(os.urandom(self._datagram_length))
        put_u16(probe, 0, 0)
        try:
            self.sockets.append(open_multicast(config, self._node_id, unicast))
            if not echoes(unicast, self._group, self.sockets[1], probe, _PROBE_MS):
                self._lost_group("what is sent to the group does not come back")
        except OSError as error:
            self._lost_group(error)

    def _lost_group(self, reason):
        self.multicast = False
        self.multicast_reason = str(reason)
        print(
            "node %d: no multicast (%s), sends to each node by itself" % (self._node_id, reason),
            file=sys.stderr,
        )

    @micropython.native
    def receive(self):
        reads, received = self._reading
        turn = self._turn
        left = self._turn_left - 1
        try:
            size = reads[turn](received) if left else None
            if size is None:
                self._turn = turn = len(reads) - 1 - turn  # there are one or two
                left = _FRAMES_PER_TURN
                size = reads[turn](received)
        except OSError:
            self._faults.receive_error += 1
            return 0
        self._turn_left = left
        return 0 if size is None else self._frame_of(size)

    def reaches(self, target):
        """Whether there is a way to `target`; counts where there is none."""
        if target == BROADCAST or self._address(target) is not None:
            return True
        self._faults.send_target += 1
        return False

    @micropython.native
    def send(self, target, frame_length):
        """Send frame_out[0:frame_length]; requires `reaches(target)`. False = refused."""
        put_u16(self._sent, 0, frame_length)
        if target != BROADCAST:
            return self._give(self._addresses[target] or self._group)
        if self.multicast and self._give(self._group):
            return True
        # Refused for now: repair will come. Lost for ever: `multicast` has just changed.
        return not self.multicast and self._give_to_each()

    def _address(self, target):
        """Where to reach one other node: an external client on a LAN hears the group only."""
        if not 0 <= target < len(self._addresses) or target == self._node_id:
            return None
        address = self._addresses[target]
        return self._group if address is None and self.multicast else address

    def _give_to_each(self):
        sent = True
        for address in self._others:
            if not self._give(address):
                sent = False
        return sent

    def _refused(self, address, error):
        if address is self._group and self.multicast and error.errno in _NO_GROUP:
            self._lost_group(error)

    def close(self):
        for sock in self.sockets:
            sock.close()
