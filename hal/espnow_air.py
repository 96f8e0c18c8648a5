"""Frames over ESP-NOW, the ESP32's connectionless radio: everything is broadcast.

A frame (hal.frames) is one packet of at most 250 bytes. Nothing is acknowledged or encrypted,
and `send` reports no loss. Who is meant stands in the frame; there are no unicast peers.

What the driver of MicroPython (1.26 to 1.29) does, and what is done about it here:

* `recvinto` of [six bytes, view] and `send` of a view allocate nothing; so there is a view per
  frame length. The receive buffer has MAX_DATA_LEN bytes, or one long packet empties the ring.
  Without MICROPY_PY_ESPNOW_RSSI the six bytes are written; with it they are replaced by an
  entry of `peers_table`, which grows by each new source address and never shrinks: the
  firmware of this project is built without.
* A packet of no bytes reads as "nothing there", so `any` is asked first.
* `rxbuf` counts from the next `active(True)` on; changed under way it confuses the ring.
* A full transmit pool makes `send` try for two seconds, then raise ESP_ERR_ESPNOW_NO_MEM. The
  pool may stay full for ever (esp-idf#18682, after some 78 000 broadcasts): a second refusal in
  a row restarts the radio. So does a ring that cannot be read several times in a row.
* A restart makes the ring anew, so the old one is collected before.

Only errors and a restart allocate after `__init__`.
"""

import gc
import time

import espnow
import network

from hal import BROADCAST, HalError
from hal.espnow_sizes import ring_length
from hal.wifi_station import restart
from tinybft.compat import const, micropython

_EVERYBODY = b"\xff\xff\xff\xff\xff\xff"
_REFUSALS_MAX = const(2)
_UNREADABLE_MAX = const(4)
_RESTART_INTERVAL_MS = const(1000)
# kbit/s: number of the rate in ESP-IDF (wifi_phy_rate_t)
_RATES = {
    1000: 0,
    2000: 1,
    5500: 2,
    11000: 3,
    6000: 11,
    9000: 15,
    12000: 10,
    18000: 14,
    24000: 9,
    36000: 13,
    48000: 8,
    54000: 12,
}


class EspNowAir:
    """The radio of this board: frames come in `frame_in` and leave from `frame_out`."""

    def __init__(self, config, node_id, faults):
        self._node_id = node_id
        self._node_count = config.CLIENT_COUNT
        self._frame_length_max = config.FRAME_LENGTH
        self._faults = faults
        self._channel = config.RADIO_CHANNEL
        self._power_save = config.RADIO_POWER_SAVE
        self._rate = config.RADIO_RATE_KBIT
        self._ring_length = ring_length(config)
        self._packet = [bytearray(6), memoryview(bytearray(espnow.MAX_DATA_LEN))]
        self.frame_in = self._packet[1]
        self.frame_out = memoryview(bytearray(config.FRAME_LENGTH))
        self._views = [self.frame_out[:length] for length in range(config.FRAME_LENGTH + 1)]
        self._refusals = self._unreadable = 0
        self._wlan = network.WLAN(network.WLAN.IF_STA)
        self._espnow = espnow.ESPNow()
        self._any = self._espnow.any
        self._recvinto = self._espnow.recvinto
        self._send = self._espnow.send
        self._restarted_at = time.ticks_add(time.ticks_ms(), -_RESTART_INTERVAL_MS)
        try:
            self._start()
        except (OSError, ValueError) as error:
            raise HalError(
                "the radio does not start (%s): correct [radio] channel (is %d) and rate_mbit"
                " (is %s) in config.toml, or switch the board off and on"
                % (error, self._channel, self._rate / 1000)
            ) from None

    def _start(self):
        self._espnow.active(False)
        restart(self._wlan, self._power_save, self._channel)
        self._espnow.config(rxbuf=self._ring_length)
        gc.collect()
        self._espnow.active(True)
        self._espnow.add_peer(_EVERYBODY)
        if self._rate != 1000:
            self._espnow.config(rate=_RATES[self._rate])

    def any(self):
        """Whether `receive` has something to do."""
        try:
            return self._any()
        except OSError:
            return True

    @micropython.native
    def receive(self):
        """Length of the next frame in `frame_in`; 0 = none waits, -1 = it came to nothing."""
        try:
            if not self._any():
                return 0
            length = self._recvinto(self._packet, 0)
        except (OSError, ValueError, MemoryError):
            self._cannot_read()
            return 0
        self._unreadable = 0
        if 0 < length <= self._frame_length_max:
            return length
        self._faults.frame_length += 1
        return -1

    def reaches(self, target):
        """Whether `target` is another node; counts where it is not."""
        if target == BROADCAST or 0 <= target < self._node_count and target != self._node_id:
            return True
        self._faults.send_target += 1
        return False

    @micropython.native
    def send(self, _target, frame_length):
        """Send frame_out[0:frame_length] to all; False = refused."""
        try:
            self._send(_EVERYBODY, self._views[frame_length], False)
        except OSError:
            self._cannot_send()
            return False
        self._refusals = 0
        return True

    def _cannot_send(self):
        self._faults.send_error += 1
        self._refusals += 1
        if self._refusals >= _REFUSALS_MAX:
            self._restart()

    def _cannot_read(self):
        self._faults.receive_error += 1
        self._unreadable += 1
        if self._unreadable >= _UNREADABLE_MAX:
            self._restart()

    def _restart(self):
        """All of the radio anew, at most once in a while; what it had received is lost."""
        now = time.ticks_ms()
        if time.ticks_diff(now, self._restarted_at) < _RESTART_INTERVAL_MS:
            return
        self._restarted_at = now
        self._refusals = self._unreadable = 0
        self._faults.radio_restart += 1
        try:
            self._start()
        except (OSError, ValueError, MemoryError):
            self._faults.radio_failure += 1

    def on_frame(self, callback):
        """From now on callback(any object) is scheduled for every packet; None ends it."""
        self._espnow.irq(callback)

    def close(self):
        self.on_frame(None)
        self._espnow.active(False)
        self._wlan.active(False)
