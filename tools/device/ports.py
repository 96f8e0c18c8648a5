"""Serial ports with boards: those that are named, or those whose USB adapter is of a board."""

import errno
import os

import serial
from serial.tools import list_ports

from tools.refusal import Refusal

# USB vendors: Espressif (the C3's own USB), Silicon Labs CP210x, WCH CH34x, FTDI
_VENDORS = (0x303A, 0x10C4, 0x1A86, 0x0403)
SPEED = 115200


def chosen_ports(given):
    """The ports to use, in order: those given, else all with a board; raises Refusal."""
    for port in given:
        if given.count(port) > 1:
            raise Refusal(f"--port {port}: given twice; name each board's port once")
        if "://" not in port and os.name == "posix" and not os.path.exists(port):
            raise Refusal(
                f"--port {port}: there is no such port; is the board plugged in, and is its cable"
                " not one for charging only? `tinybft devices` lists what is there"
            )
    ports = list(given) or detected()
    if not ports:
        raise Refusal(
            "no board found: no serial port of Espressif, CP210x, CH34x or FTDI is there; plug a"
            " board in with a data cable, or name its port with --port"
        )
    return ports


def detected():
    """Names of the ports whose USB vendor makes boards or their adapters, sorted."""
    return sorted(port.device for port in list_ports.comports() if port.vid in _VENDORS)


def opened(port, **options):
    """The open serial port, for this process alone; raises Refusal."""
    try:
        return serial.serial_for_url(port, SPEED, exclusive=True, **options)
    except ValueError as error:
        raise Refusal(f"{port}: is not a port ({error}); see `tinybft devices`") from error
    except OSError as error:
        raise Refusal(f"{port}: {_why(error)}") from error


def _why(error):
    text = str(error)
    if error.errno in (errno.EAGAIN, errno.EBUSY) or "exclusive" in text or "denied" in text:
        return "is busy: another program has it open; close that one, and try again"
    if error.errno == errno.EACCES:
        return (
            "may not be opened by this user; join the group that owns it"
            " (`sudo usermod -aG dialout $USER`, then log in again)"
        )
    if error.errno == errno.ENOENT or "refused" in text:
        return "there is no such port, or nobody behind it; is the board plugged in?"
    return f"cannot be opened ({text})"
