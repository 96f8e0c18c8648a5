"""The rules about sizes that only the code can tell: message lengths and region lengths.

Lengths are asked from `tinybft.wire` and `tinybft.memory`, never repeated here.
"""


def broken_sizes(config):
    """Yield (constant, message) per size that exceeds its limit."""
    return iter(())
