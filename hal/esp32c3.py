"""The HAL of the ESP32-C3: ESP-NOW or WiFi, FRAM, watchdog, and a node in the background.

    node_id, keys = read_identity(config)
    hal = Hal(config, node_id, Crypto(node_id, keys, config.TAG_LENGTH))

Make it before everything that takes memory: the radio's driver needs room of its own, which the
growing heap would take. After `__init__` it allocates nothing but what hal.espnow_air and
hal.wifi_air say.

MicroPython wakes from its own ways to wait for a packet at the 10 ms tick only, so `wait` looks
once per millisecond. In the background a timer looks every 2 ms, and ESP-NOW reports packets
between two instructions of whatever runs.
"""

import os
import time

import machine

from hal import HalError
from hal.faults import Faults
from hal.identity_nvs import read as read_identity
from hal.identity_nvs import read_network
from hal.messages import Messages
from hal.nvs_store import NvsStore
from tinybft.compat import const
from tinybft.octets import copy

__all__ = ("Hal", "HalError", "read_identity")

_TIMER_MS = const(2)
_SLEEP_MS = const(20)  # while saving power: two ticks


def now_ms():
    return time.ticks_ms()


def cycles():
    return time.ticks_cpu()


class Hal(Messages):
    """The contract of `hal` on a board; HalError, KeyFileError or StoreError in words."""

    def __init__(self, config, node_id, crypto=None):
        faults = Faults()
        super().__init__(config, node_id, _open_air(config, node_id, faults), faults)
        self.crypto = crypto
        self.now_ms = now_ms
        self.cycles = cycles
        self.store = _open_store(config, node_id, faults)
        self._nap_ms = _SLEEP_MS if config.RADIO_POWER_SAVE else 1
        self._callback = None
        self._stepped_at = time.ticks_ms()
        self._look_bound = self._look
        self._timer = None
        self._watchdog_ms = config.WATCHDOG_MS
        self._watchdog = None

    def wait(self, ms):
        """Sleep until a frame may be there, or ms milliseconds; what is scheduled runs."""
        begin = time.ticks_ms()
        while not self._air.any():
            left = ms - time.ticks_diff(time.ticks_ms(), begin)
            if left <= 0:
                return
            time.sleep_ms(min(left, self._nap_ms))

    async def wait_async(self, ms):
        """The same inside asyncio: the other tasks have their turn each time; allocates."""
        import asyncio  # takes kilobytes, and not every application uses it

        begin = time.ticks_ms()
        while True:
            await asyncio.sleep(0)
            left = ms - time.ticks_diff(time.ticks_ms(), begin)
            if left <= 0 or self._air.any():
                return
            self.wait(1)

    def background(self, callback):
        """From now on call callback() soon after a frame came, and every few milliseconds, from
        MicroPython's scheduler; None ends it. Never called while it still runs."""
        self._callback = callback
        if callback is None:
            self._air.on_frame(None)
            if self._timer is not None:
                self._timer.deinit()
                self._timer = None
            return
        self._air.on_frame(self._look_bound)
        if self._timer is None:
            self._timer = machine.Timer(0)
            self._timer.init(
                mode=machine.Timer.PERIODIC, period=_TIMER_MS, callback=self._look_bound
            )

    def _look(self, _source):
        """For every packet and every tick of the timer, some of which may be late: while the
        callback ran, up to eight of them were noted. They cost a look each, not a call."""
        callback = self._callback
        if callback is None:
            return
        late = time.ticks_diff(time.ticks_ms(), self._stepped_at) >= _TIMER_MS
        if late or self._air.any():
            callback()
            self._stepped_at = time.ticks_ms()

    def watchdog(self):
        """To be called at least every WATCHDOG_MS from now on, or the board restarts."""
        if self._watchdog_ms:
            if self._watchdog is None:
                self._watchdog = machine.WDT(timeout=self._watchdog_ms)
            self._watchdog.feed()

    def entropy(self, buf):
        """Fill buf with random bytes (true ones while the radio is on); allocates as many."""
        copy(buf, 0, os.urandom(len(buf)), 0, len(buf))

    def close(self):
        """Switch the radio off; the object is of no use afterwards."""
        self.background(None)
        self._air.close()


def _open_air(config, node_id, faults):
    if config.TRANSPORT == "esp_now":
        from hal.espnow_air import EspNowAir

        return EspNowAir(config, node_id, faults)
    if config.TRANSPORT == "wifi":
        from hal.wifi_air import WifiAir

        name, password = read_network()
        return WifiAir(config, node_id, faults, name, password)
    raise HalError(
        '[transport] kind is "%s", a board has "esp_now" or "wifi": correct config.toml and build'
        " its firmware again" % config.TRANSPORT
    )


def _open_store(config, node_id, faults):
    """FRAM if chips are named, else sixteen bytes in NVS, which is enough for regions in RAM."""
    if not config.FRAM_PARTS:
        if config.DURABLE and node_id < config.REPLICA_COUNT:
            raise HalError(
                "[storage] is durable, but [fram] parts names no chip: correct config.toml and"
                " build the firmware again"
            )
        return NvsStore()
    from hal.fram_i2c import FramI2c

    i2c = machine.I2C(
        0,
        scl=machine.Pin(config.FRAM_SCL),
        sda=machine.Pin(config.FRAM_SDA),
        freq=config.FRAM_FREQUENCY,
    )
    store = FramI2c(i2c, faults, config.FRAM_PARTS)
    if store.size < config.NVM_LENGTH:
        raise HalError(
            "the chips of [fram] parts have %d bytes, [storage] nvm_length asks for %d: name more"
            " of them, or lower nvm_length" % (store.size, config.NVM_LENGTH)
        )
    return store
