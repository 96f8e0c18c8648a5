"""What ESP-NOW takes of a board's heap; reckoned on the host, too (`tinybft memory`)."""

from hal.frames import fragment_count
from tinybft.compat import const

PACKET_LENGTH_MAX = 1470  # ESP-NOW version 2; a receive buffer must hold that
# In the driver's ring before each packet: magic 1, length 2, time and RSSI 5, source 6.
_RING_HEADER_LENGTH = const(14)
_RING_LENGTH_MAX = const(30000)  # the driver's indices are 16 bits wide; 32768 fails
_VIEW_LENGTH = const(20)  # a memoryview and its place in a list, on 32 bits


def ring_length(config):
    """Bytes for one message of the longest from every other node: while this one is busy with
    a message, the others send one each."""
    others = config.CLIENT_COUNT - 1
    burst = others * fragment_count(config) * (_RING_HEADER_LENGTH + config.FRAME_LENGTH)
    at_least = 2 * (_RING_HEADER_LENGTH + PACKET_LENGTH_MAX)
    return min(max(burst, at_least), _RING_LENGTH_MAX)


def espnow_memory_rows(config):
    """Rows as of hal.frames.frame_memory_rows, on top of those; none without ESP-NOW."""
    if config.TRANSPORT != "esp_now":
        return ()
    packet = PACKET_LENGTH_MAX - config.FRAME_LENGTH
    views = (config.FRAME_LENGTH + 1) * _VIEW_LENGTH
    return (
        ("frames", "packet", packet, "longest foreign packet - one frame", "other"),
        ("frames", "ring", ring_length(config), "one longest message per other node", "other"),
        ("frames", "views", views, "one per frame length x 20", "other"),
    )
