"""A frame in a UDP datagram of fixed size: what hal.udp and hal.wifi_air have in common.

    datagram, always 2 + FRAME_LENGTH bytes:  0 u16 frame length · 2 frame · padding

The size is fixed because MicroPython's `readinto`, the only way to receive without allocating,
concatenates waiting datagrams until the buffer is full. A foreign datagram of another size
thus spoils at most the one behind it: that one is cut, the next starts afresh.

Measured on 64-bit MicroPython: `sendto` and `readinto` allocate 0 bytes; only an OSError does.
A refused `sendto` is counted, never raised.
"""

from tinybft.compat import const, micropython
from tinybft.octets import get_u16

_PREFIX_LENGTH = const(2)


class Datagrams:
    """Frames come in `frame_in` and leave from `frame_out`. An heir has

    receive()                 of an air; what came to `_received` is `_frame_of` so many bytes
    _sendto(buf, address)     of a socket
    _refused(address, error)  called when that raised OSError
    """

    def __init__(self, config, faults):
        self._faults = faults
        self._frame_length_max = config.FRAME_LENGTH
        self._datagram_length = _PREFIX_LENGTH + config.FRAME_LENGTH
        self._received = bytearray(self._datagram_length)
        self._sent = bytearray(self._datagram_length)
        self.frame_in = memoryview(self._received)[_PREFIX_LENGTH:]
        self.frame_out = memoryview(self._sent)[_PREFIX_LENGTH:]

    @micropython.native
    def _frame_of(self, size):
        """Length of the frame that is now in `frame_in`; -1 = the datagram came to nothing."""
        length = get_u16(self._received, 0)
        if size != self._datagram_length or length > self._frame_length_max:
            self._faults.datagram_length += 1
            return -1
        return length or -1

    @micropython.native
    def _give(self, address):
        """Send the datagram in `_sent`; False = refused."""
        try:
            self._sendto(self._sent, address)
            return True
        except OSError as error:
            self._faults.send_error += 1
            self._refused(address, error)
            return False
