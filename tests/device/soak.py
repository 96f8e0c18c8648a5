"""Constant memory: `micropython tests/device/soak.py [OPERATIONS]` (20 000).

Four replicas and an external client in one process serve a key-value load over lossy air, with
the collector on, as in the field. After a warm-up the heap in use, garbage collected, must be
the same to the byte at every look.
"""

import gc
import sys

from tests.device.allocation import Story
from tests.tinybft.modes import RAM

_WARM_UP = 500
_LOOKS = 20


class Unmeasured:
    """Takes the place of `Measure`: a look at the heap costs more than a hundred messages."""

    def __init__(self):
        self.calls = {}

    def call(self, _name, function, *arguments):
        function(*arguments)

    def collect(self):
        pass


def acknowledged(story):
    return sum(node.client.acknowledged for node in story.nodes)


def heap_in_use():
    gc.collect()
    return gc.mem_alloc()


def main(arguments):
    operations = int(arguments[0]) if arguments else 20000
    story = Story(Unmeasured(), RAM)
    story.run(1 << 29, lambda: acknowledged(story) >= _WARM_UP)
    first = changed = 0
    for look in range(1, _LOOKS + 1):
        goal = _WARM_UP + operations * look // _LOOKS
        story.run(1 << 29, lambda goal=goal: acknowledged(story) >= goal)
        used = heap_in_use()
        # The first look is inside the loop: what the stack holds by chance is the same then.
        first = first or used
        changed += used != first
        print(f"{acknowledged(story):6d} operations {used:8d} bytes in use")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
