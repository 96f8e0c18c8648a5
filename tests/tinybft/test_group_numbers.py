"""Whole groups whose ticks, request ids, seqnos and views lie around 2^30, 2^31 and 2^32 (F61).

2^30 is where small integers end on a 32-bit MicroPython, and where the ticks wrap.
"""

from tests.tinybft.bench import Ledger, make_config
from tests.tinybft.group import Group, RamStore
from tests.tinybft.oracle import Workload, check_converged
from tinybft import faults
from tinybft.octets import put_u32
from tinybft.request_ids import RequestIds

SMALL = make_config(MESSAGE_LENGTH_MAX=512)


def run(group, clients=(0, 4), each=10):
    workload = Workload(group, clients, each)
    assert group.run(60000, workload.step)
    workload.check()
    check_converged(group)


def begin_ids_at(group, limit):
    """Every client has used all request ids up to `limit`."""
    for node in group.nodes:
        store = RamStore()
        record = bytearray(8)
        put_u32(record, 0, limit)
        put_u32(record, 4, limit ^ 0xFFFFFFFF)
        store.write(0, record, 8)
        node.client._ids = RequestIds(store)


def begin_seqnos_at(group, seqno):
    """Every replica has executed up to `seqno`, which is a stable checkpoint."""
    for replica in group.replicas():
        core = replica.core
        core.state.take_checkpoint(seqno)
        core.state.release_below(seqno)
        core.progress.low_mark = core.progress.last_executed = seqno
        core.checkpoints.last_taken = seqno


def begin_view_at(group, view):
    for replica in group.replicas():
        replica.progress.view = view


def test_ticks_wrap_under_load():
    for start in (2**30 - 10, 2**30 - 25, 2**30 - 60):
        group = Group(SMALL, Ledger, seed=start & 7, loss=15, start=start)
        run(group)
        assert group.now > 2**30


def test_ticks_wrap_while_idle():
    group = Group(SMALL, Ledger, start=2**30 - 3000)
    group.execute(4, b"\x04a")
    group.run(6000)
    group.execute(4, b"\x04b", ms=1000)
    check_converged(group)


def test_ticks_beyond_31_bits():
    """The HAL wraps them: the core never sees more than 2^30 - 1."""
    run(Group(SMALL, Ledger, seed=2, loss=15, start=2**31 - 30))


def test_agreed_time_goes_on_over_the_wrap():
    group = Group(SMALL, Ledger, start=2**30 - 700)
    for operation in (b"\x04a", b"\x04b", b"\x04c"):
        group.execute(4, operation)
        group.run(500)
    rows = group.nodes[2].replica.core.execution._service.ran
    times = [row[3] * 1000 + row[4] for row in rows]
    assert 400 < times[1] - times[0] < 600 and 400 < times[2] - times[1] < 600


def test_request_ids_around_the_limits():
    for limit in (2**30 - 5, 2**31 - 5, 2**32 - 300):
        group = Group(SMALL, Ledger, seed=3, loss=10)
        begin_ids_at(group, limit)
        run(group)
        table = group.nodes[1].replica.core.execution
        assert table.last_request_id(4) == limit + 10


def test_seqnos_around_the_limits():
    for seqno in (2**30 - 4, 2**30 - 2, 2**31 - 4):
        group = Group(SMALL, Ledger, seed=4, loss=10)
        begin_seqnos_at(group, seqno)
        run(group)
        assert all(r.progress.last_executed > seqno + 4 for r in group.replicas())
        assert all(r.progress.low_mark > seqno for r in group.replicas())


def test_last_seqnos_of_all():
    """2^32 - 1 batches: the group stops there and executes nothing twice."""
    group = Group(SMALL, Ledger, seed=5)
    begin_seqnos_at(group, 2**32 - 8)
    workload = Workload(group, (4,), 12)
    assert not group.run(3000, workload.step)
    assert len(workload.answers) == 7
    for replica in group.replicas():
        assert replica.progress.last_executed == 2**32 - 1
    assert group.nodes[0].faults.counts[faults.SEQNO_EXHAUSTED] > 0


def test_views_around_the_limits():
    for view in (2**30 - 1, 2**30, 2**31 + 1, 2**32 - 1):
        group = Group(SMALL, Ledger, seed=6, loss=10)
        begin_view_at(group, view)
        run(group, clients=(0, 2, 4), each=6)
        assert group.nodes[view % 4].replica.progress.is_primary()


def test_state_transfer_around_the_limits():
    for seqno in (2**30 - 10, 2**31 - 10):
        group = Group(SMALL, Ledger, seed=7)
        begin_seqnos_at(group, seqno)
        group.on_send = lambda src, dst, message: None if 3 in (src, dst) else message
        workload = Workload(group, (0, 4), 20)
        assert group.run(60000, workload.step)
        group.on_send = None
        check_converged(group)
        assert group.nodes[3].replica.core.transfer.fetched > 0
