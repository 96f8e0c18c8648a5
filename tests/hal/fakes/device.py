"""The HAL of the ESP32-C3, imported with the fake modules in the place of the real ones."""

import sys

from tests.hal.fakes import clock, esp32, espnow, lwip, machine, network

_FAKES = {
    "esp32": esp32,
    "espnow": espnow,
    "machine": machine,
    "network": network,
    "socket": lwip,
}


def _imported():
    before = {name: sys.modules.get(name) for name in _FAKES}
    sys.modules.update(_FAKES)
    try:
        from hal import esp32c3, espnow_air, identity_nvs, nvs_store, wifi_air
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    esp32c3.time = espnow_air.time = wifi_air.time = clock
    return esp32c3, espnow_air, identity_nvs, nvs_store, wifi_air


esp32c3, espnow_air, identity_nvs, nvs_store, wifi_air = _imported()
