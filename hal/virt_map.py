"""Where guest and host meet: memory of the emulated board that is also a file of the host.

    ADDRESS    control block   u32 MAGIC, written last by the host
                               u8 heads and tails of the two rings, at the offsets below; an
                               entry is there when its head has moved on, free when its tail has
                               entropy: 32 bytes, other ones at each power-on
                               u32 length of the identity, u32 length of the store
    SENT       ring of frames on their way to the radio (guest writes head, host tail)
    RECEIVED   ring of frames that it brought (host writes head, guest tail)
               entry: u16 length, u16 target node id or 0xFFFF, the frame
    IDENTITY   the node's key file (hal.keys), UTF-8
    STORE      non-volatile memory: survives the guest, which is killed to cut its power

One byte at a time is atomic for both. Offsets count from ADDRESS; the host's file begins at
RAM_ADDRESS. Used by hal.virt and tools.virt.
"""

from tinybft.compat import const

RAM_ADDRESS = const(0x80000000)
ADDRESS = const(0x80700000)
LENGTH = const(0x50000)
MAGIC = const(0x7B)  # one byte: written last, read first

SENT_HEAD = const(4)
SENT_TAIL = const(5)
RECEIVED_HEAD = const(6)
RECEIVED_TAIL = const(7)
IDENTITY_LENGTH = const(8)
STORE_LENGTH = const(12)
ENTROPY = const(16)
ENTROPY_LENGTH = const(32)

RING_COUNT = const(64)  # entries; one is always free
ENTRY_LENGTH = const(256)
ENTRY_HEADER = const(4)
TO_ALL = const(0xFFFF)

SENT = const(0x1000)
RECEIVED = const(0x8000)
IDENTITY = const(0x10000)
IDENTITY_LENGTH_MAX = const(0x4000)
STORE = const(0x20000)
STORE_LENGTH_MAX = const(0x30000)
