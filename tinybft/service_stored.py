"""`AppState` with the state outside of RAM; imported where [storage] state = "nvm" asks for it."""

from tinybft.octets import equal, get_u16, get_u32
from tinybft.service import AppState


class StoredAppState(AppState):
    """The same with the state outside of RAM: no `view`, each reading is a copy."""

    def __init__(self, read, length, sink):
        """read(offset, out, at, length): `State.read`. length: of the application's part."""
        self._state_read = read
        self._prepare(length, sink)
        self._octets = bytearray(64)

    def read(self, offset, out, at, length):
        self._state_read(offset, out, at, length)

    def equal(self, offset, buf, at, length):
        octets = self._octets
        while length:
            part = length if length < 64 else 64
            self._state_read(offset, octets, 0, part)
            if not equal(octets, 0, buf, at, part):
                return False
            offset += part
            at += part
            length -= part
        return True

    def get_u8(self, offset):
        self._state_read(offset, self._octets, 0, 1)
        return self._octets[0]

    def get_u16(self, offset):
        self._state_read(offset, self._octets, 0, 2)
        return get_u16(self._octets, 0)

    def get_u32(self, offset):
        self._state_read(offset, self._octets, 0, 4)
        return get_u32(self._octets, 0)
