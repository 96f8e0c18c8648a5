"""What a node raises, to who asks something of it (node.py): imported with the first of them."""


class TinyBFTError(Exception):
    """Base of what `submit` raises."""


class RequestTooLarge(TinyBFTError):
    pass


class Busy(TinyBFTError):
    """A client has one outstanding request at a time."""


class Rejoining(TinyBFTError):
    """This replica lost its non-volatile memory and does not know its request ids yet."""


class Timeout(TinyBFTError):
    """No f + 1 matching replies came in time. The operation may still be executed."""


class Stopped(TinyBFTError):
    """An exception escaped from a step of this node: it does nothing any more."""
