# As ../main.py, with the smallest service: for a state without room for the key-value store.
__import__("gc").collect()
print("heap: bare", __import__("gc").mem_alloc())

from hal.boot import boot  # noqa: E402
from tinybft.service import Service  # noqa: E402


class Counter(Service):
    name = "counter"
    state_length = 4
    reads_view = False

    def execute(self, state, op, length, reply, ctx):
        state.put_u32(0, state.get_u32(0) + 1)
        state.read(0, reply, 0, 4)
        return 4


node = boot(Counter())

__import__("gc").collect()
print("heap: started", __import__("gc").mem_alloc())
