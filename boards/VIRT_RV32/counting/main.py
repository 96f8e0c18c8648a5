"""What runs on the board at power-on: the measurement that the host has put into the mailbox."""

import gc

gc.collect()
bare = gc.mem_alloc()

from counting import start  # noqa: E402 - the heap is measured first

start.main(bare)
