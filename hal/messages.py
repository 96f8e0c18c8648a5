"""Whole messages over an air of frames: what the HALs of all platforms have in common.

    send -> hal.frames -> air ~~~> air -> hal.frames -> receive_into

An air (hal.udp, hal.espnow_air, hal.wifi_air) moves single frames:

    frame_in, frame_out      buffers of one frame or more
    receive() -> length      of the frame that is now in frame_in; 0 = none waits, -1 = what
                             waited came to nothing
    reaches(target)          whether there is a way to it; counts where there is none
    send(target, length)     frame_out[0:length]; False = refused, and counted
    close()

Nothing here allocates after `__init__`.
"""

import os

from hal.frames import Fragments, Reassembly
from tinybft.compat import const, micropython

# Frames looked at per call of receive_into: bounded work under a flood.
_FRAMES_PER_CALL = const(64)


class Messages:
    """The part of the contract of `hal` that is about messages, for one node on one air."""

    def __init__(self, config, node_id, air, faults):
        self.node_id = node_id
        self.faults = faults
        self._air = air
        self._message_length_max = config.MESSAGE_LENGTH_MAX
        self._reassembly = Reassembly(config, node_id, faults)
        # A random first number: the others may still know the one before a reboot.
        self._fragments = Fragments(config, node_id, air.frame_out, os.urandom(1)[0])
        self.receive_through(air.receive)

    def receive_through(self, receive):
        """Frames come by `receive()` in place of the air's."""
        offer = self._reassembly.offer
        # To unpack a tuple costs less than to look up two of its items.
        self._receiving = (self._message_length_max, receive, self._air.frame_in, offer)

    @micropython.native
    def receive_into(self, buf):
        """Length of one whole message in buf, 0 when none is there."""
        length_max, receive, frame, offer = self._receiving
        if len(buf) < length_max:
            raise ValueError("receive buffer shorter than MESSAGE_LENGTH_MAX")
        left = _FRAMES_PER_CALL
        while left:
            left -= 1
            length = receive()
            if length == 0:
                return 0
            if length > 0:
                length = offer(frame, length, buf)
                if length:
                    return length
        return 0

    @micropython.native
    def send(self, target, buf, length):
        """Send buf[0:length] to a node id or to BROADCAST; False when a frame was refused."""
        air = self._air
        if not air.reaches(target):
            return False
        fragments = self._fragments
        whole = fragments.put_whole(buf, length, target)
        if whole:
            return air.send(target, whole)
        fragments.begin(buf, length, target)
        sent = True
        while True:
            frame_length = fragments.put_next()
            if frame_length == 0:
                return sent
            if not air.send(target, frame_length):
                sent = False
