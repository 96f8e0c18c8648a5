"""The module `esp32`: NVS, 32-bit integers and blobs; what was not committed is lost with the
power."""

from tests.hal.fakes import board as boards

_NOT_FOUND = (-0x1102, "ESP_ERR_NVS_NOT_FOUND")
_INVALID_LENGTH = (-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
_NOT_ENOUGH_SPACE = (-0x1105, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")


class NVS:
    def __init__(self, namespace):
        if not 0 < len(namespace) <= 15:
            raise OSError(-0x1109, "ESP_ERR_NVS_KEY_TOO_LONG")
        self._board = boards.current
        self._space = namespace
        self.full = False

    def _get(self, key, kind):
        found = self._board.nvs_uncommitted.get((self._space, key))
        if found is None:
            found = self._board.nvs.get((self._space, key))
        if found is None or not isinstance(found, kind):
            raise OSError(*_NOT_FOUND)
        return found

    def get_i32(self, key):
        return self._get(key, int)

    def set_i32(self, key, value):
        assert -(1 << 31) <= value < 1 << 31
        self._board.nvs_uncommitted[(self._space, key)] = value

    def get_blob(self, key, buf):
        found = self._get(key, bytes)
        if len(found) > len(buf):
            raise OSError(*_INVALID_LENGTH)
        buf[: len(found)] = found
        return len(found)

    def set_blob(self, key, value):
        if self.full:
            raise OSError(*_NOT_ENOUGH_SPACE)
        self._board.nvs_uncommitted[(self._space, key)] = bytes(value)

    def commit(self):
        self._board.nvs.update(self._board.nvs_uncommitted)
        self._board.nvs_uncommitted.clear()
