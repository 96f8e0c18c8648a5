"""View changes of a whole group in virtual time."""

from tests.tinybft.bench import Ledger, make_config
from tests.tinybft.group import Group
from tests.tinybft.oracle import Workload, check_converged

CONFIG = make_config()


def views(group):
    return [r.progress.view for r in group.replicas()]


def test_a_dead_primary_is_replaced():
    group = Group(CONFIG, Ledger)
    group.execute(1, b"\x04one")
    group.crash(0)
    group.execute(2, b"\x04two")
    group.execute(4, b"\x04three")
    group.settle()
    assert views(group) == [1, 1, 1]
    assert all(r.progress.active for r in group.replicas())


def test_a_returning_replica_joins_the_view():
    group = Group(CONFIG, Ledger)
    group.execute(1, b"\x04one")
    group.crash(0)
    group.execute(2, b"\x04two")
    group.nodes[0].hal.up = True
    group.execute(2, b"\x04three")
    group.run(2000)
    check_converged(group)
    assert views(group) == [1, 1, 1, 1]
    group.crash(3)
    group.execute(2, b"\x04four")
    assert group.nodes[0].replica.progress.last_executed == 4


def test_primaries_that_fail_in_turn():
    for seed in range(1, 6):
        group = Group(CONFIG, Ledger, seed=seed, loss=10, duplicate=5, delay_ms=(1, 5))
        workload = Workload(group, clients=(2, 3, 4), each=40)
        for primary in (0, 1, 2, 3, 0):
            group.run(300, workload.step)
            group.crash(primary)
            group.run(4000, workload.step)
            group.nodes[primary].hal.up = True
        assert group.run(120000, workload.step), (seed, views(group))
        workload.check()
        check_converged(group)
