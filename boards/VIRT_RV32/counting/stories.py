"""What the group does while it is counted. Each story begins with a group at rest."""

import gc

import hal.crypto
from counting.group import Group
from tinybft import config
from tinybft.apps.kv_format import encode_get, encode_put

_WARM_UP = 8
_ALLOCATING = 4  # operations of which allocation is measured: that is slow
_PAUSE_MS = 20  # between two operations: what is late, or waits for its turn, is through


def operation(what, length, number):
    """A put or get of `length` bytes; 0: the longest request that the configuration allows."""
    buf = bytearray(config.REQUEST_LENGTH_MAX)
    key = b"k%d" % (number % 4)
    if not length:
        length = config.REQUEST_LENGTH_MAX - 2 - len(key)
    if what == "put":
        return bytes(buf[: encode_put(buf, key, bytes((number & 255,)) * length)])
    return bytes(buf[: encode_get(buf, key)])


def perform(group, client, what, length, count, totals=None):
    """`count` operations of one client one after the other; returns the status of the last."""
    status = -1
    for number in range(count):
        before = group.total()
        reply = group.execute(client, operation(what, length, number), what == "read")
        status = reply[0]
        group.pass_ms(_PAUSE_MS)
        if totals is not None:
            totals.append([a - b for a, b in zip(group.total(), before)])
    return status


def tell(wanted):
    gc.collect()
    gc.disable()
    count = wanted["operations"]
    result = {"operations": [], "allocation": allocation(_ALLOCATING)}
    gc.collect()
    group = Group(config)
    for client in wanted["clients"]:
        for what, length in wanted["stories"]:
            if what != "put":
                perform(group, client, "put", length, 4)
            perform(group, client, what, length, _WARM_UP)
            group.clear()
            totals = []
            status = perform(group, client, what, length, count, totals)
            result["operations"].append(
                {
                    "what": what,
                    "length": length,
                    "client": client,
                    "status": status,
                    "view": group.nodes[0].replica.progress.view,
                    "totals": totals,
                    "spans": group.clear(),
                }
            )
    result["idle"] = idle(group)
    result["transfer"] = transfer(group)
    result["view_change"] = view_change(group)
    return result


def idle(group):
    """Steps without a message and without a timer that is due; then seconds of nothing."""
    group.pass_ms(20)
    group.clear()
    for _ in range(20):
        for node in group.nodes:
            group.step(node.node_id, "nothing due")
    nothing_due = group.clear()
    seconds = 4
    group.pass_ms(seconds * 1000)
    return {"steps": nothing_due, "seconds": seconds, "spans": group.clear()}


def transfer(group):
    """The last replica misses more than the window holds, and fetches the blocks."""
    last = config.REPLICA_COUNT - 1
    client = config.CLIENT_COUNT - 1
    core = group.nodes[last].replica.core
    group.down = last
    for number in range(3 * config.WINDOW):
        group.execute(client, operation("put", 900, number))
        group.pass_ms(1)
    group.down = -1
    fetched = core.transfer.fetched
    group.clear()
    waited = 0
    leader = group.nodes[0].replica.progress
    while core.transfer.running or core.progress.last_executed < leader.last_executed:
        group.pass_ms(1)
        waited += 1
        assert waited < 5000, "no state was fetched"
    return {"blocks": core.transfer.fetched - fetched, "spans": group.clear()}


def view_change(group):
    """The primary falls silent while a request waits; until that is executed."""
    client = config.CLIENT_COUNT - 1
    progress = group.nodes[1].replica.progress
    assert progress.view == 0
    group.pass_ms(100)
    group.down = 0
    group.clear()
    group.execute(client, operation("put", 64, 1), False, 60000)
    assert progress.view == 1 and progress.active
    spans = group.clear()
    group.down = -1
    returned = group.nodes[0].replica.progress
    waited = 0
    while returned.view != progress.view or not returned.active:
        group.pass_ms(1)
        waited += 1
        assert waited < 20000, "the old primary did not return"
    return {"spans": spans, "returned": group.clear()}


def allocation(count):
    """Bytes that one node takes from the heap: {what: [outside hashing, by hashing]}."""
    real = hal.crypto.digest_into
    hashed = [0]

    def digest_into(buf, start, length, out, at):
        before = gc.mem_alloc()
        real(buf, start, length, out, at)
        hashed[0] += gc.mem_alloc() - before

    hal.crypto.digest_into = digest_into
    try:
        group = Group(config)
    finally:
        hal.crypto.digest_into = real
    group.hashed = hashed
    client = config.CLIENT_COUNT - 1
    perform(group, client, "put", 64, _WARM_UP)
    result = {}
    for what, length in (("put", 64), ("put", 900), ("get", 900)):
        group.allocated = {}
        perform(group, client, what, length, count)
        rows = group.allocated
        result["%s %d" % (what, length)] = {
            name: [octets / count for octets in row] for name, row in rows.items()
        }
        group.allocated = None
    return result
