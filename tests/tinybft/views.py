"""What the tests of the view change share: one replica on a bench between two views."""

from tests.tinybft.bench import u32
from tinybft import wire

NULL = bytes(32)  # in X: no batch; such a seqno is agreed and executes nothing


def where(bench):
    return bench.progress.view, bool(bench.progress.active)


def contents(message):
    """(C, P, Q) of a VIEW-CHANGE, as `Bench.view_change` takes them, in sorted order."""
    low_mark = int.from_bytes(message[12:16], "little")
    c_count, p_count, q_count, zero = message[16:20]
    assert zero == 0
    at = 20
    c = []
    for _ in range(c_count):
        c.append((int.from_bytes(message[at : at + 4], "little"), message[at + 4 : at + 36]))
        at += 36
    claims = []
    for _ in range(p_count + q_count):
        view = int.from_bytes(message[at + 1 : at + 5], "little")
        claims.append((low_mark + message[at], view, message[at + 5 : at + 37]))
        at += 37
    return c, sorted(claims[:p_count]), sorted(claims[p_count:])


def join(bench, view):
    """f + 1 others want this view."""
    for sender in [i for i in bench.others() if i != view % 4][:2]:
        assert bench.feed(bench.view_change(sender, view)) == 0
    assert where(bench) == (view, False)
    return contents(bench.sent(wire.VIEW_CHANGE, -1)[-1])


def one(bench, number, bad_for=(), inline=True):
    """A batch of one request, different for every number."""
    operation = b"\x04%d" % number
    client = bench.config.CLIENT_COUNT - 1
    return bench.batch([bench.request(client, number, operation, 0, bad_for)], inline)


def pre_prepared(bench, seqno, number=None, view=0):
    batch = one(bench, seqno if number is None else number)
    assert bench.pre_prepare(view % 4, seqno, batch, view) == 0
    return batch.digest


def prepared(bench, seqno, number=None, view=0):
    digest = pre_prepared(bench, seqno, number, view)
    primary = view % 4
    for sender in bench.others():
        if sender != primary:
            bench.prepare(sender, seqno, digest, view)
    assert [m for m in bench.sent(wire.COMMIT) if m[8:48] == u32(view) + u32(seqno) + digest]
    return digest


def elect(bench, senders=(0, 2, 3), view=1):
    """VIEW-CHANGEs for the view of which the bench is the primary; no acks yet."""
    members = [bench.view_change(sender, view) for sender in senders]
    for message in members:
        assert bench.feed(message) == 0
    assert where(bench) == (view, False)
    return members


def acknowledge(bench, members, count=None):
    """2f - 1 third parties acknowledge each of them."""
    count = 2 * bench.config.FAULT_COUNT - 1 if count is None else count
    for message in members:
        thirds = [i for i in bench.others() if i != message[2]]
        for sender in thirds[:count]:
            bench.ack(sender, bench.progress.view, message[2], bench.digest_of(message))


def announced(bench):
    return bool(bench.sent(wire.NEW_VIEW))
