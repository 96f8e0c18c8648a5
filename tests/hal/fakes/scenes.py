"""Configurations and boards that the tests of the ESP32-C3 share."""

from tests.hal.fakes import Board, Ether, device
from tests.hal.fakes.board import forget_all
from tests.hal.support import Config

RADIO = {
    "TRANSPORT": "esp_now",
    "MULTICAST_GROUP": "239.66.84.1",
    "PORT": 47000,
    "RADIO_CHANNEL": 6,
    "RADIO_RATE_KBIT": 1000,
    "RADIO_POWER_SAVE": False,
    "WATCHDOG_MS": 0,
    "FRAM_SDA": 6,
    "FRAM_SCL": 7,
    "FRAM_FREQUENCY": 400000,
    "FRAM_PARTS": (),
    "NVM_LENGTH": 0,
    "DURABLE": False,
}


def with_radio(config, **changed):
    """The configuration, with what the HAL of a board reads besides."""
    for values in (RADIO, changed):
        for name in values:
            setattr(config, name, values[name])
    return config


def board_config(**changed):
    return with_radio(Config(), **changed)


def mac_of(number):
    return bytes((2, 0, 0, 0, number >> 8 & 255, number & 255))


def provide_network(board):
    """What `tinybft provision` puts into NVS for WiFi."""
    board.nvs[("tinybft", "wifi_ssid")] = board.ether.network_name.encode()
    board.nvs[("tinybft", "wifi_pass")] = board.ether.password.encode()


def make_boards(count, rssi=False):
    """(ether, boards): the only ones of this test."""
    forget_all()
    ether = Ether()
    boards = [Board(ether, mac_of(i), rssi) for i in range(count)]
    for board in boards:
        provide_network(board)
    return ether, boards


def make_hals(boards, config):
    hals = []
    for i in range(len(boards)):
        with boards[i]:
            hals.append(device.esp32c3.Hal(config, i))
    return hals


def take_all(hal, buf):
    """Every message that waits."""
    messages = []
    length = hal.receive_into(buf)
    while length:
        messages.append(bytes(buf[:length]))
        length = hal.receive_into(buf)
    return messages
