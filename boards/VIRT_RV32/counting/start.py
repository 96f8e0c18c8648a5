"""Chooses the measurement by what stands where a board's identity is, and prints its result.

    {"measure": "group", ...}      instructions of a whole group in this one machine (stories.py)
    {"measure": "profile", ...}    the same by function (functions.py)
    an identity, "measure": "objects"    its heap by module and by class (objects.py)
    an identity                    heap in use by one replica, started as any board starts it

Nothing is printed, and no interrupt comes, before all is measured: a run is the same
instructions as the one before. The result is one line of JSON.
"""

import gc
import json

import machine
import uctypes

from hal import virt_map

RESULT = "counted: "
_MTIMECMP = 0x02004000


def request():
    """What the host wants, as a dict."""
    control = uctypes.bytearray_at(virt_map.ADDRESS, 16)
    length = control[virt_map.IDENTITY_LENGTH] | control[virt_map.IDENTITY_LENGTH + 1] << 8
    text = uctypes.bytearray_at(virt_map.ADDRESS + virt_map.IDENTITY, length)
    return json.loads(bytes(text))


def main(bare):
    # The port's millisecond tick goes away; whoever reads the clock sees it go on.
    machine.mem32[_MTIMECMP + 4] = 0xFFFFFFFF
    wanted = request()
    measure = wanted.get("measure")
    if measure == "group":
        from counting.stories import tell

        result = tell(wanted)
    elif measure == "profile":
        from counting.functions import profile

        result = profile(wanted)
    elif measure == "objects":
        from counting.objects import tell as tell_objects

        result = tell_objects(started)
    else:
        result = heap(bare)
    print(RESULT + json.dumps(result))


def started():
    """A replica, by the lines of a board's main.py."""
    from hal.boot import boot
    from tinybft.apps.kv import KeyValueStore

    return boot(KeyValueStore(), background=False)


def heap(bare):
    """Bytes in use: bare interpreter, modules imported, replica started; one collection."""
    import hal.boot
    import hal.crypto
    import tinybft.apps.kv
    import tinybft.node

    gc.collect()
    imported = gc.mem_alloc()
    node = hal.boot.boot(tinybft.apps.kv.KeyValueStore(), background=False)
    gc.collect()
    started = gc.mem_alloc()
    assert node is not None
    result = {"bare": bare, "imported": imported, "started": started}
    result.update(collection(started))
    return result


def collection(in_use):
    """Instructions of one collection when the rest of the heap is full of old digests."""
    from virt import instructions

    from tinybft import config

    digest = bytes(32)
    hashed = bytearray(64)
    from hal.crypto import digest_into

    before = gc.mem_alloc()
    digest_into(hashed, 0, 64, hashed, 0)
    per_digest = gc.mem_alloc() - before
    while gc.mem_alloc() < HEAP_LENGTH - 256:
        digest_into(hashed, 0, 64, hashed, 0)
    begin = instructions()
    gc.collect()
    took = instructions() - begin & 0x3FFFFFFF
    assert len(digest) == 32 and config
    return {"collect": took, "garbage": HEAP_LENGTH - 256 - in_use, "digest": per_digest}


HEAP_LENGTH = 160000
