"""One counter per named fault of the HAL: what came wrong from outside is counted, not raised.

    faults.frame_length += 1          names() -> every name, in the order of the receive path

Counters start at zero at boot and only grow; a counter that stays at zero is the good news.
"""

NAMES = (
    # datagrams (hal.udp, hal.wifi_air)
    "datagram_length",  # not of the fixed size, or with a length field out of range
    "receive_error",  # the operating system, or the radio, refused to receive
    "send_error",  # ... to send: buffers full, no route, nobody listens
    "send_target",  # a target that is no other node, or whose address is unknown
    # injected on purpose (hal.impairment)
    "injected_loss",
    "injected_duplicate",
    "delay_full",  # more frames under way than the ring of delayed frames holds: lost
    # the radio of a board (hal.espnow_air, hal.wifi_air)
    "radio_restart",  # it refused to send, or could not be read, twice or more in a row
    "radio_failure",  # ... and did not start again, or did not connect: will be tried again
    "association_lost",  # the access point is gone: connects again
    # frames (hal.frames)
    "frame_length",  # shorter than a header and one byte, or longer than FRAME_LENGTH
    "frame_transmitter",  # of another group, or of no node
    "fragment_index",  # index beyond the count
    "fragment_length",  # not the last fragment, yet not full
    "fragment_overflow",  # would end behind MESSAGE_LENGTH_MAX
    "fragment_count",  # differs from that of the fragments that are there
    "fragment_repeat",  # is there already
    "fragment_late",  # belongs to a message that a newer one has replaced
    "message_unfinished",  # replaced by a newer message before all fragments had come
    # non-volatile memory (hal.fram)
    "store_transfer",  # a transfer was not acknowledged, or timed out: tried again
    "store_mismatch",  # was read back otherwise than written: written again
)


class Faults:
    """An int attribute per name; counting allocates nothing (below 2**30 on 32 bits)."""

    def __init__(self):
        for name in NAMES:
            setattr(self, name, 0)

    def names(self):
        return NAMES
