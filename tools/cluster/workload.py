"""The operations that one client performs, and what it expects to be answered.

Runs on MicroPython and CPython. Each client has keys of its own, one or two per value size,
and knows at any moment what each holds: a *generation* that rises with every change, odd
while the key exists, even while it does not; the value follows from it. All clients increment
one shared counter, whose final value must be the number of acknowledged increments: an
operation executed twice, or not at all, shows.

    mix "all"    of 16: 6 put, 3 get, 2 compare-and-swap, 1 delete, 3 increment, 1 count
    mix "put"    put only (for measurements)
    mix "get"    get only, but for the first access to each key, which puts it

Keys are `c<client>/<size>/<index>`; values start with generation, client and key index (as
far as they are long enough) and are filled up with the generation's low byte.

A client that was killed goes on where its ledger ends. Whether its outstanding operation was
executed it finds out by reading the key: a later request of the same client, so the earlier
one is executed before it or never. Of an increment the outcome stays unknown.
"""

from tinybft.apps.kv_format import (
    NOT_FOUND,
    OK,
    encode_cas,
    encode_count,
    encode_delete,
    encode_get,
    encode_increment,
    encode_put,
    number_from,
)
from tinybft.octets import equal, fill, get_u16
from tools.cluster.ledger import (
    ACKNOWLEDGED,
    INCREMENTED,
    MISMATCHED,
    OUTSTANDING,
    OUTSTANDING_GENERATION,
    OUTSTANDING_KEY,
    UNSURE,
)

PUT = 1
GET = 2
CAS = 3
DELETE = 4
INCREMENT = 5
COUNT = 6
KIND_NAMES = ("nothing", "put", "get", "cas", "delete", "increment", "count")
MIXES = {
    "all": (PUT,) * 6 + (GET,) * 3 + (CAS,) * 2 + (DELETE,) + (INCREMENT,) * 3 + (COUNT,),
    "put": (PUT,),
    "get": (GET,),
}
CHANGING = (PUT, CAS, DELETE)
SHARED_KEY = b"shared"
GROUP_NAMES = ("increment, count",)  # groups of latencies; one per value size follows
LARGE = 256  # values longer than this have one key per client, others two


def layout_of(sizes):
    """[(size index, index within the size)] of a client's keys."""
    keys = []
    for i in range(len(sizes)):
        for j in range(1 if sizes[i] > LARGE else 2):
            keys.append((i, j))
    return keys


def key_name(client_id, size, index):
    return b"c%d/%d/%d" % (client_id, size, index)


def value_into(buf, client_id, key, generation):
    """Fill `buf` (as long as the value) with what `key` holds in a generation."""
    fill(buf, 0, len(buf), generation & 255)
    marks = (generation >> 8 & 255, generation >> 16 & 255, client_id, key)
    for i in range(min(4, len(buf))):
        buf[i] = marks[i]


def exists(generation):
    return generation & 1 == 1


def following(generation, kind):
    """The generation of a key after an operation of this kind on it."""
    if kind == DELETE:
        return generation + 1 if exists(generation) else generation
    return generation + 2 if exists(generation) else generation + 1


class Workload:
    """`next_into` makes the next operation, `accept` judges its reply."""

    def __init__(self, client_id, sizes, mix, seed, ledger, request_length_max):
        layout = layout_of(sizes)
        self.mismatch = ""  # the first wrong reply, in words
        self.group = 0  # of the outstanding operation, see GROUP_NAMES
        self.reads = False  # it may be sent as a read-only request
        self.group_count = len(GROUP_NAMES) + len(sizes)
        self._client_id = client_id
        self._ledger = ledger
        self._mix = MIXES[mix]
        self._gets_only = mix == "get"
        self._groups = [len(GROUP_NAMES) + i for i, _ in layout]
        self._keys = [key_name(client_id, sizes[i], j) for i, j in layout]
        self._prefix = b"c%d/" % client_id
        values = [bytearray(size) for size in sizes]
        others = [bytearray(size) for size in sizes]
        self._values = [values[i] for i, _ in layout]
        self._others = [others[i] for i, _ in layout]
        lengths = [4 + len(self._keys[k]) + 2 * len(self._values[k]) for k in range(len(layout))]
        self._can_cas = [length <= request_length_max for length in lengths]
        self._random = seed * 2654435761 + 1 & 0xFFFFFFFF or 1
        self._counter = 0  # the sum in the latest reply to an increment
        self._is_settling = False  # finding out an outcome that a killed process left unknown

    def resume(self):
        """Go on where the ledger of a killed process ends; nothing to do if it is new."""
        ledger = self._ledger
        kind = ledger.get(OUTSTANDING)
        self._is_settling = kind in CHANGING
        if kind == INCREMENT:
            ledger.add(UNSURE)
        if not self._is_settling:
            ledger.put(OUTSTANDING, 0)

    def next_into(self, buf):
        """Choose an operation, note it as outstanding and write it; returns its length."""
        ledger = self._ledger
        if self._is_settling:
            key = ledger.get(OUTSTANDING_KEY)
            self.group = self._groups[key]
            self.reads = False  # only its place in the order tells what happened before
            return self.get_into(buf, key)
        kind = self._mix[self._below(len(self._mix))]
        key = self._below(len(self._keys))
        held = ledger.generation(key)
        if kind == CAS and not self._can_cas[key]:
            kind = PUT
        if self._gets_only and not exists(held):
            kind = PUT
        self.group = 0 if kind in (INCREMENT, COUNT) else self._groups[key]
        self.reads = kind in (GET, COUNT)
        ledger.put(OUTSTANDING, kind)
        ledger.put(OUTSTANDING_KEY, key)
        ledger.put(OUTSTANDING_GENERATION, following(held, kind))
        return self._encode(buf, kind, key, held)

    def _encode(self, buf, kind, key, held):
        name = self._keys[key]
        if kind == GET:
            return encode_get(buf, name)
        if kind == DELETE:
            return encode_delete(buf, name)
        if kind == INCREMENT:
            return encode_increment(buf, SHARED_KEY, b"1")
        if kind == COUNT:
            return encode_count(buf, self._prefix)
        value = self._values[key]
        value_into(value, self._client_id, key, following(held, kind))
        if kind == PUT:
            return encode_put(buf, name, value)
        expected = None
        if exists(held):
            expected = self._others[key]
            value_into(expected, self._client_id, key, held)
        return encode_cas(buf, name, expected, value)

    def accept(self, reply, length):
        """Judge the reply to the outstanding operation and enter it into the ledger."""
        ledger = self._ledger
        kind = ledger.get(OUTSTANDING)
        key = ledger.get(OUTSTANDING_KEY)
        if self._is_settling:
            kind = GET
            self._settle(key, reply, length)
        if self._expected(kind, key, reply, length):
            ledger.add(ACKNOWLEDGED)
            if kind in CHANGING:
                ledger.put_generation(key, ledger.get(OUTSTANDING_GENERATION))
            elif kind == INCREMENT:
                ledger.add(INCREMENTED)
        else:
            ledger.add(MISMATCHED)
            if not self.mismatch:
                name = self._keys[key].decode()
                got = "status " + str(reply[0]) + ", " + str(length) + " bytes"
                self.mismatch = KIND_NAMES[kind] + " " + name + ": " + got
        ledger.put(OUTSTANDING, 0)

    def _settle(self, key, reply, length):
        self._is_settling = False
        generation = self._ledger.get(OUTSTANDING_GENERATION)
        if self.holds(key, generation, reply, length):
            self._ledger.put_generation(key, generation)

    def _expected(self, kind, key, reply, length):
        held = self._ledger.generation(key)
        if kind == GET:
            return self.holds(key, held, reply, length)
        if kind == DELETE:
            return length == 1 and reply[0] == (OK if exists(held) else NOT_FOUND)
        if reply[0] != OK:
            return False
        if kind == INCREMENT:
            before = self._counter
            self._counter = number_from(reply, 1, length - 1) or 0
            return self._counter > before
        if kind == COUNT:
            return length == 3 and get_u16(reply, 1) == self._present()
        return length == 1

    def holds(self, key, generation, reply, length):
        """Whether a reply to GET is what the key holds in a generation."""
        if not exists(generation):
            return length == 1 and reply[0] == NOT_FOUND
        value = self._others[key]
        value_into(value, self._client_id, key, generation)
        size = len(value)
        return reply[0] == OK and length == 1 + size and equal(reply, 1, value, 0, size)

    def get_into(self, buf, key):
        """Write the operation that reads a key back; returns its length."""
        return encode_get(buf, self._keys[key])

    def _present(self):
        count = 0
        for key in range(len(self._keys)):
            count += self._ledger.generation(key) & 1
        return count

    def _below(self, limit):
        x = self._random
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._random = x
        return (x >> 3) % limit
