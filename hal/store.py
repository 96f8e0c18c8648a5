"""What all non-volatile stores of the HAL have in common: the contract, its error, its bounds.

    store.size                            bytes, at addresses 0..size - 1
    store.read_into(address, buf, length)  fill buf[0:length]
    store.write(address, buf, length)      buf[0:length] is persistent when it returns

Bytes are written one by one in rising order of addresses: a power cut leaves a prefix of one
write, and the byte in flight is undefined. Neither call allocates on MicroPython. A span outside
of the store is our own bug and a ValueError; a store that fails for good is a StoreError.
"""


class StoreError(OSError):
    """The store cannot be used; the text names the part, the rule, the values, the remedy.

    An OSError, so that the core can tell it from its own bugs without knowing the HAL.
    """


def check_span(address, buf, length, size):
    """Requires buf[0:length] and address..address + length - 1 to exist; else ValueError."""
    if length > len(buf):
        raise ValueError("%d bytes of a buffer of %d" % (length, len(buf)))
    if address < 0 or length < 0 or address + length > size:
        raise ValueError("%d bytes at %d are outside of a store of %d" % (length, address, size))
