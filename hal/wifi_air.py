"""Frames over WiFi: UDP multicast in the network of an access point (datagrams: hal.datagrams).

Every frame goes to the group; who is meant stands in the frame. The association is looked after
from within `receive`: what is lost is connected again and joins the group again, without ever
waiting for it. Frames that cannot leave meanwhile are counted as send_error.

What the sockets of MicroPython on the ESP32 do, and what is done about it here:

* The group is joined at the network interface, not at the socket; only IP_ADD_MEMBERSHIP
  exists, and it is asked for again after each association.
* A datagram of no bytes counts as the end of the connection: the socket reads nothing ever
  after. It is closed and opened anew.
* At most 6 datagrams wait in a socket unless CONFIG_LWIP_UDP_RECVMBOX_SIZE says otherwise.
* Own datagrams come back, and are dropped by hal.frames.

Only errors, a new socket and a new association allocate after `__init__`.
"""

import socket
import time

import network

from hal import BROADCAST, HalError
from hal.datagrams import Datagrams
from hal.wifi_station import restart
from tinybft.compat import const, micropython
from tinybft.octets import put_u16

_CHECK_MS = const(250)
# Longer than it takes to associate and to get an address.
_CONNECT_MS = const(10000)


def octets_of(host):
    """The four bytes of a dotted IPv4 address."""
    return bytes([int(part) for part in host.split(".")])


class WifiAir(Datagrams):
    """One socket in the group, as soon as there is an association."""

    def __init__(self, config, node_id, faults, network_name, password):
        super().__init__(config, faults)
        self._node_id = node_id
        self._node_count = config.CLIENT_COUNT
        self._port = config.PORT
        self._group = (config.MULTICAST_GROUP, config.PORT)
        self._network_name = network_name
        self._password = password
        self._associated = False
        self._waiting = -1  # bytes of the datagram that `any` has found; -1 = none
        self._wlan = network.WLAN(network.WLAN.IF_STA)
        try:
            restart(self._wlan, config.RADIO_POWER_SAVE)
            self._open()
        except OSError as error:
            raise HalError(
                "WiFi does not start (%s): switch the board off and on" % error
            ) from None
        self._checked_at = time.ticks_ms()
        self._connect()

    def _open(self):
        self._socket = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("0.0.0.0", self._port))
        self._readinto = sock.readinto
        self._sendto = sock.sendto
        self._usable = True

    @micropython.native
    def receive(self):
        if not self.any():
            self._look_after()
            return 0
        size = self._waiting
        self._waiting = -1
        return self._frame_of(size)

    def any(self):
        """Whether `receive` has a datagram to look at."""
        if self._waiting < 0:
            if not self._usable:
                return False
            try:
                size = self._readinto(self._received)
            except OSError:
                self._faults.receive_error += 1
                size = 0
            if size is None:
                return False
            self._waiting = size
            if size == 0:
                self._reopen()
        return True

    def _reopen(self):
        """A new socket; tried again when the association is looked after."""
        self._usable = False
        try:
            self._socket.close()
            self._open()
        except OSError:
            self._faults.radio_failure += 1

    def reaches(self, target):
        """Whether `target` is another node; counts where it is not."""
        if target == BROADCAST or 0 <= target < self._node_count and target != self._node_id:
            return True
        self._faults.send_target += 1
        return False

    @micropython.native
    def send(self, _target, frame_length):
        """Send frame_out[0:frame_length] to the group; False = refused."""
        if not self._associated:
            self._faults.send_error += 1
            return False
        put_u16(self._sent, 0, frame_length)
        return self._give(self._group)

    def _refused(self, _address, _error):
        """Counted already; whether the access point is still there is seen in a moment."""

    def _look_after(self):
        """Every quarter of a second while nothing comes: is there still an association?"""
        now = time.ticks_ms()
        if time.ticks_diff(now, self._checked_at) < _CHECK_MS:
            return
        self._checked_at = now
        if not self._usable:
            self._reopen()
        if self._wlan.isconnected():
            if not self._associated:
                self._join()
            return
        if self._associated:
            self._associated = False
            self._faults.association_lost += 1
            self._connect()
        elif time.ticks_diff(now, self._connected_at) >= _CONNECT_MS:
            self._faults.radio_failure += 1
            self._connect()

    def _connect(self):
        """Begin to associate; takes seconds, and is not waited for."""
        self._connected_at = time.ticks_ms()
        try:
            self._wlan.disconnect()
            self._wlan.connect(self._network_name, self._password)
        except OSError:
            self._faults.radio_failure += 1

    def _join(self):
        own = self._wlan.ifconfig()[0]
        membership = octets_of(self._group[0]) + octets_of(own)
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            self._associated = True
        except OSError:
            self._faults.radio_failure += 1  # tried again at the next look

    def on_frame(self, callback):
        """Sockets tell nobody; the timer of hal.esp32c3 looks."""

    def close(self):
        self._socket.close()
        self._wlan.active(False)
