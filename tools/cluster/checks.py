"""The external client asks for everything that was acknowledged, when the workload is over.

What a client wrote must be there, exactly; of a killed client's outstanding operation either
outcome is right. The shared counter must be the number of acknowledged increments, or one
more per outstanding increment.
"""

from tinybft.apps.kv_format import OK, encode_get
from tools.cluster.client import ExternalClient
from tools.cluster.ledger import (
    INCREMENTED,
    OUTSTANDING,
    OUTSTANDING_GENERATION,
    OUTSTANDING_KEY,
    UNSURE,
)
from tools.cluster.plans import network
from tools.cluster.result import check, ledgers
from tools.cluster.workload import CHANGING, INCREMENT, SHARED_KEY, Workload
from tools.refusal import Refusal

REST_ATTEMPTS = 3


def verify(course):
    """Read everything back and let the group come to rest; returns the checks."""
    config, options = course.config, course.options
    client_id = config.REPLICA_COUNT
    try:
        with ExternalClient(
            course.folder, config, client_id, network=network(options, client_id)
        ) as client:
            books = ledgers(course.folder, config, options)
            checks = [written(client, books, options), counted(client, books)]
            checks.append(equal_digests(course, client))
    except Refusal as refusal:
        return [check("read back", False, str(refusal))]
    return checks


def written(client, books, options):
    operation = bytearray(client.config.REQUEST_LENGTH_MAX)
    wrong = []
    for client_id, book in books.items():
        workload = Workload(
            client_id, options.sizes, options.mix, 0, book, client.config.REQUEST_LENGTH_MAX
        )
        for key in range(book.key_count):
            reply = client.ask(operation, workload.get_into(operation, key))
            if not any(
                workload.holds(key, generation, reply, len(reply))
                for generation in _possible(book, key)
            ):
                wrong.append(f"key {key} of client {client_id}")
    total = sum(book.key_count for book in books.values())
    detail = f"{total} keys of {len(books)} clients hold what was acknowledged last"
    if wrong:
        detail = f"{len(wrong)} of {total} keys differ: {', '.join(wrong[:5])}"
    return check("read back", not wrong, detail, lost=len(wrong))


def _possible(book, key):
    """The generations that a key may be in."""
    generations = {book.generation(key)}
    if book.get(OUTSTANDING) in CHANGING and book.get(OUTSTANDING_KEY) == key:
        generations.add(book.get(OUTSTANDING_GENERATION))
    return generations


def counted(client, books):
    operation = bytearray(client.config.REQUEST_LENGTH_MAX)
    reply = client.ask(operation, encode_get(operation, SHARED_KEY))
    value = int(reply[1:]) if reply[0] == OK else 0
    known = sum(book.get(INCREMENTED) for book in books.values())
    unsure = sum(
        book.get(UNSURE) + (book.get(OUTSTANDING) == INCREMENT) for book in books.values()
    )
    detail = f"the shared counter is {value} after {known} acknowledged increments"
    if unsure:
        detail += f" and {unsure} outstanding when its client was killed"
    ok = known <= value <= known + unsure
    return check("exactly once", ok, detail, lost=max(0, known - value))


def equal_digests(course, client):
    """Digests cover checkpoints: read on until the last executed seqno is one."""
    operation = bytearray(client.config.REQUEST_LENGTH_MAX)
    length = encode_get(operation, SHARED_KEY)
    for _ in range(REST_ATTEMPTS):
        marks = course.rest()
        if marks is None:
            break
        seqno, digest = marks
        if digest is not None:
            live = len(course.live_replicas())
            detail = f"{live} live replicas agree on state {digest[:16]} at seqno {seqno}"
            return check("digests equal", True, detail)
        interval = client.config.CHECKPOINT_INTERVAL
        for _ in range(interval - seqno % interval):
            client.ask(operation, length)
    found = ", ".join(
        f"{view.node_id}: {view.status['stable_digest'][:8]} at {view.status['low_mark']},"
        f" executed {view.status['last_executed']}"
        for view in course.live_replicas()
    )
    return check("digests equal", False, f"the replicas did not come to rest alike: {found}")
