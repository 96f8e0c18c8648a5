"""A service that changes all that it may, in each batch other pages, fills the snapshot pool."""

from tests.sim.load import execute
from tinybft import wire
from tinybft.service import Service
from tools.simulate.sim import Sim

PAGE = 64
PAGES = 2  # that a batch may change
CLIENTS = (1, 4)  # whose entries of the client table are in all pages of it, but for the record's


class Painter(Service):
    """Each operation changes two pages, those of two batches that follow each other differ."""

    name = "painter"
    state_length = 1024
    reads_view = False

    def pages_max(self, length, page_length):
        return PAGES

    def execute(self, state, op, length, reply, ctx):
        for i in range(PAGES):
            page = (ctx.seqno * PAGES + i) % (state.length // PAGE)
            state.put_u32(page * PAGE, state.get_u32(page * PAGE) + op[0])
        return 0

    @staticmethod
    def sample(random):
        return bytes((random.randrange(256),))


def group():
    return Sim(seed=1, service=Painter, BATCH_PAGES_MAX=PAGES)


def pool(sim, replica):
    return sim.core(replica).state.snapshots.pages


def fill(sim):
    """No checkpoint becomes stable until `withheld` is empty: execute up to the high mark."""
    withheld = [wire.CHECKPOINT]
    sim.on_frame(lambda frame: None if frame.type in withheld else frame)
    for i in range(sim.config.WINDOW):
        execute(sim, client=CLIENTS[i % 2], op=b"\x01")
    assert sim.run_until(lambda: all(sim.executed(i) == 4 for i in sim.correct_replicas()), 3000)
    return withheld


def test_pool_is_full_to_the_last_page_at_the_high_mark():
    sim = group()
    withheld = fill(sim)
    for replica in sim.replicas:
        assert pool(sim, replica).count == pool(sim, replica).limit == 2 * (2 * PAGES + 4)
    handle = sim.submit(1, b"\x07")
    sim.run(200)
    assert not handle.done, "nothing is executed above the high mark"
    del withheld[:]
    assert sim.run_until(lambda: handle.done, 10000)
    sim.check_liveness(20000)


def test_view_changes_while_the_pool_is_full_and_a_replica_comes_back():
    sim = group()
    withheld = fill(sim)
    sim.crash(0)
    handle = sim.submit(1, b"\x07")
    assert sim.run_until(lambda: all(sim.view(i) >= 1 for i in (1, 2, 3)), 20000)
    for replica in (1, 2, 3):
        assert pool(sim, replica).count == pool(sim, replica).limit
    del withheld[:]
    assert sim.run_until(lambda: handle.done, 60000)
    sim.restart(0)
    for i in range(12):
        execute(sim, client=CLIENTS[i % 2], op=b"\x05")
    assert sim.run_until(lambda: sim.executed(0) >= sim.stable(1), 20000)
    assert sim.core(0).transfer.fetched, "by the blocks that differ"
    sim.check_liveness(20000)


def test_who_is_full_and_left_behind_fetches_into_the_pool():
    """The target of its transfer lies where its copies were."""
    sim = group()
    withheld = fill(sim)
    away = 3
    silent = [away]
    sim.on_frame(lambda frame: None if silent and away in (frame.src, frame.dst) else frame)
    del withheld[:]
    for i in range(12):
        execute(sim, client=CLIENTS[i % 2], op=b"\x05")
    assert pool(sim, away).count == pool(sim, away).limit
    del silent[:]
    assert sim.run_until(lambda: sim.core(away).transfer.fetched > 0, 20000)
    assert sim.run_until(lambda: sim.executed(away) >= sim.stable(1), 20000)
    sim.check_liveness(20000)
