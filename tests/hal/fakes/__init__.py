"""The modules of MicroPython's ESP32 port, for several boards in one process and virtual time.

API, errors and allocation are those of MicroPython 1.29 (ports/esp32), its known defects
included; each file says which. What does not allocate there does not allocate here. Runs on
CPython and on MicroPython's unix port.

    from tests.hal.fakes import Board, Ether, clock, device
    ether = Ether()
    with Board(ether, mac=b"......") as board:      # its modules are now this board's
        hal = device.esp32c3.Hal(config, 0)
    clock.advance(5)                                # milliseconds; timers, scheduler
"""

from tests.hal.fakes import clock
from tests.hal.fakes.board import Board, Ether

__all__ = ("Board", "Ether", "clock", "device")

from tests.hal.fakes import device
