# The board's main.py between two measurements of the heap (tools/virt/heap.py), which leave no
# name behind: a name is an entry in a dict.
__import__("gc").collect()
print("heap: bare", __import__("gc").mem_alloc())

from hal.boot import boot  # noqa: E402
from tinybft.apps.kv import KeyValueStore  # noqa: E402

node = boot(KeyValueStore())

__import__("gc").collect()
print("heap: started", __import__("gc").mem_alloc())
