"""Whole groups in virtual time: loss, duplicates, delays, crashes, catching up."""

from tests.tinybft.bench import Ledger, make_config
from tests.tinybft.group import Group
from tests.tinybft.oracle import Workload, check_converged
from tinybft.apps.kv import KeyValueStore
from tinybft.apps.kv_format import OK, READ_ONLY, encode_put

SMALL = make_config(MESSAGE_LENGTH_MAX=512)
SEVEN = make_config(FAULT_COUNT=2, CLIENT_COUNT=8, MESSAGE_LENGTH_MAX=1024, INLINE_LENGTH_MAX=96)


def run(group, clients=(0, 3, 4), each=20, **sizes):
    workload = Workload(group, clients, each, **sizes)
    assert group.run(120000, workload.step), "not everything was answered"
    workload.check()
    check_converged(group)
    workload.invariants.check()
    return workload


def executed(group):
    return [r.progress.last_executed for r in group.replicas()]


def test_quiet_network():
    group = Group(SMALL, Ledger)
    run(group, each=40)
    assert all(n.client.retries == 0 for n in group.nodes)
    assert min(executed(group)) > 10


def test_loss_from_0_to_30_per_cent():
    for loss in (5, 10, 20, 30):
        run(Group(SMALL, Ledger, seed=loss, loss=loss))


def test_duplicates():
    run(Group(SMALL, Ledger, seed=2, duplicate=50))


def test_delays_and_reordering():
    for seed in (1, 2):
        run(Group(SMALL, Ledger, seed=seed, delay_ms=(1, 10)))


def test_everything_at_once():
    for seed in range(1, 6):
        run(Group(SMALL, Ledger, seed, loss=20, duplicate=20, delay_ms=(1, 10)))


def test_long_requests_and_replies_under_loss():
    for seed in (1, 2, 3):
        group = Group(SMALL, Ledger, seed, loss=15, delay_ms=(1, 4))
        run(group, reply_length=200, lengths=(4, 150, 256))


def test_all_clients_at_once():
    run(Group(SMALL, Ledger, seed=4, loss=10), clients=(0, 1, 2, 3, 4), each=15)


def test_seven_replicas():
    run(Group(SEVEN, Ledger), clients=(0, 5, 7), each=10)


def test_seven_replicas_under_loss():
    run(Group(SEVEN, Ledger, seed=3, loss=20, duplicate=10, delay_ms=(1, 5)), (1, 7), 10)


def test_one_replica_less_changes_nothing():
    for seed, crashed in ((1, 1), (2, 2), (3, 3)):
        group = Group(SMALL, Ledger, seed, loss=10)
        group.crash(crashed)
        run(group, clients=(0, 4))


def test_two_of_seven_crash():
    group = Group(SEVEN, Ledger, seed=3, loss=10)
    group.crash(2)
    group.crash(6)
    run(group, (1, 7), 10)


def test_crash_in_the_middle():
    group = Group(SMALL, Ledger, seed=6, loss=10)
    workload = Workload(group, (0, 4), 25)
    group.run(40, workload.step)
    assert not workload.step()
    group.crash(2)
    assert group.run(120000, workload.step)
    workload.check()
    check_converged(group)


def test_two_of_four_crash_and_nothing_is_answered():
    """The negative control: f + 1 crashed replicas cost liveness."""
    group = Group(SMALL, Ledger)
    group.crash(2)
    group.crash(3)
    workload = Workload(group, (0, 4), 1)
    assert not group.run(5000, workload.step)
    assert workload.answers == {}


def isolated(group, node):
    """Nothing to or from `node` from now on."""
    group.on_send = lambda src, dst, message: None if node in (src, dst) else message


def test_late_replica_catches_up_by_state_transfer():
    for loss in (0, 20):
        group = Group(SMALL, Ledger, seed=9, loss=loss)
        isolated(group, 3)
        workload = Workload(group, (0, 4), 25)
        assert group.run(120000, workload.step)
        late = group.nodes[3].replica
        assert late.progress.last_executed == 0
        group.on_send = None
        check_converged(group)
        workload.check()
        assert late.core.transfer.fetched > 0


def test_late_replica_can_cast_the_deciding_vote():
    """L2: behind, back, and then another one falls silent."""
    group = Group(SMALL, Ledger, seed=11)
    isolated(group, 3)
    workload = Workload(group, (0, 4), 20)
    assert group.run(120000, workload.step)
    group.on_send = None
    check_converged(group)
    group.crash(2)
    reply = group.execute(0, b"\x04after")
    assert int.from_bytes(reply, "little") == 41
    check_converged(group)


def test_late_replica_catches_up_under_full_load():
    group = Group(SMALL, Ledger, seed=12, loss=5)
    isolated(group, 3)
    workload = Workload(group, (0, 1, 4), 60)
    group.run(60, workload.step)
    assert not workload.step()
    group.on_send = None
    assert group.run(120000, workload.step)
    workload.check()
    check_converged(group)


def test_replica_a_little_behind_needs_no_state():
    """Within the window the votes are repeated."""
    group = Group(SMALL, Ledger, seed=13)
    group.execute(4, b"\x04a")
    isolated(group, 3)
    group.execute(4, b"\x04b")
    group.on_send = None
    check_converged(group)
    late = group.nodes[3].replica
    assert late.core.transfer.fetched == 0
    assert len(late.core.execution._service.ran) == 2


def test_idle_group_converges():
    """Nothing is submitted any more; the replica that missed the end still gets it."""
    group = Group(SMALL, Ledger, seed=14)
    isolated(group, 1)
    for _ in range(9):
        group.execute(4, b"\x04x")
    group.on_send = None
    check_converged(group)


def test_idle_group_says_little():
    group = Group(SMALL, Ledger, seed=15)
    group.execute(4, b"\x04x")
    group.run(5000)
    before = sum(group.sent.values())
    group.run(10000)
    assert sum(group.sent.values()) - before < 10000 // 500 * 4 * 3


def test_request_that_says_it_only_reads_may_not_write():
    group = Group(make_config(), KeyValueStore)
    put = bytearray(64)
    put = bytes(put[: encode_put(put, b"lamp", b"on")])
    group.nodes[2].start(put, read_only=True)
    assert group.run(5000, lambda: not group.nodes[2].client.busy)
    assert group.nodes[2].client.reply[0] == READ_ONLY
    assert group.execute(1, put)[0] == OK


def test_transfer_whose_root_does_not_match_starts_again():
    group = Group(SMALL, Ledger)
    late = group.nodes[3]
    late.hal.up = False
    workload = run(group, clients=(0, 4), each=10)
    state = late.replica.core.state
    install, refused = state.finish_install, []

    def refuse_once(*arguments):
        if refused:
            return install(*arguments)
        refused.append(arguments)
        return False

    state.finish_install = refuse_once
    late.hal.up = True
    group.settle()
    assert refused and late.replica.progress.last_executed > 0
    check_converged(group)
    workload.check()
