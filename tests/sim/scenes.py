"""What a group is in the midst of when power is cut (cuts.py): one scene per kind of write.

A scene has a past (`prepare`), something that happens (`begin`), and an end (`is_over`). With or
without a cut the end comes, or the faults that the scene needs stop after `ms`; cuts.finish sees
to the rest. Clients are external, or the ones of replicas, which lose what they wait for.
"""

from tests.sim.scenario import CLIENT, execute, without_proposals
from tools.simulate import operations

AWAY = 2  # who is off before the scene begins, where somebody is


def level(sim):
    """All that are on have executed the same, their windows are the same, and nobody fetches."""
    ids = sim.correct_replicas()
    at_rest = not any(sim.core(i).transfer.running for i in ids)
    return at_rest and len({(sim.executed(i), sim.stable(i)) for i in ids}) == 1


def settle(sim):
    sim.run_until(lambda: level(sim), 3000)
    sim.run(30)


def withhold(*names):
    """For `on_frame`: messages of these types are lost."""
    return lambda frame: None if frame.type in names else frame


class Scene:
    """One operation: agreed on and executed, no checkpoint."""

    count = 2  # operations before
    ms = 3000

    def __init__(self, sim):
        self.sim = sim
        self.handles = []

    def prepare(self):
        for i in range(self.count):
            execute(self.sim, op=operations.put(b"k%d" % (i % 8), b"before %d" % i))
        settle(self.sim)

    def begin(self):
        self.submit(CLIENT)

    def submit(self, client, op=None):
        number = len(self.handles)
        op = op or operations.put(b"k%d" % number, b"%d during" % number)
        self.handles.append(self.sim.submit(client, op))

    def is_over(self):
        return all(h.done or h.lost for h in self.handles) and self.has_all() and level(self.sim)

    def has_all(self):
        return len(self.sim.correct_replicas()) == self.sim.replica_count


class Batch(Scene):
    """Requests of all clients at once, most of them in one batch; one of them is long."""

    def begin(self):
        self.submit(CLIENT, operations.put("long", "x" * 160))
        for i in self.sim.replicas:
            self.submit(i)


class Checkpoint(Scene):
    """An operation that ends with a checkpoint, which does not become stable."""

    count = 3

    def begin(self):
        self.sim.on_frame(withhold("CHECKPOINT"))
        self.submit(CLIENT)


class Slide(Checkpoint):
    """A checkpoint becomes stable: its image is written, the window moves."""

    def prepare(self):
        super().prepare()
        super().begin()
        self.sim.run_until(lambda: Scene.is_over(self), 3000)

    def begin(self):
        self.sim.on_frame(None)

    def is_over(self):
        return super().is_over() and all(self.sim.stable(i) == 4 for i in self.sim.replicas)


class ClientTable(Scene):
    """Every client's entry changes, by short replies and by long ones, and checkpoints follow."""

    def prepare(self):
        execute(self.sim, op=operations.put("long", "y" * 150))
        super().prepare()

    def begin(self):
        for i in self.sim.replicas:
            self.submit(i, operations.get("long"))
        for _ in range(3):
            self.submit(CLIENT, operations.increment("n"))


class ViewChange(Scene):
    """Nothing that the primary proposes arrives: the group leaves its view, begins the next."""

    ms = 6000

    def begin(self):
        self.sim.on_frame(without_proposals)
        for client in (CLIENT, 1, 2):
            self.submit(client)

    def is_over(self):
        sim = self.sim
        views = {sim.view(i) for i in sim.replicas}
        active = self.has_all() and all(sim.core(i).progress.active for i in sim.replicas)
        return active and len(views) == 1 and min(views) > 0 and super().is_over()


class Handover(ViewChange):
    """The same with a batch that all have prepared, and that one has committed and executed."""

    def prepare(self):
        super().prepare()
        self.sim.on_frame(self.filter)
        self.submit(CLIENT)
        assert self.sim.run_until(lambda: self.sim.executed(3) == self.count + 1, 500)
        self.sim.run(20)

    @staticmethod
    def filter(frame):
        if frame.view == 0 and frame.type == "COMMIT" and frame.dst != 3:
            return None
        return None if frame.view == 0 and frame.type == "CHECKPOINT" else frame

    def begin(self):
        self.submit(1)


class LateView(Handover):
    """The same after all were off at once: who prepared the batch, and who executed it, know
    that from their memories alone when the view changes."""

    def prepare(self):
        super().prepare()
        self.sim.outage()
        self.sim.on_frame(self.silenced)

    def silenced(self, frame):
        """Nor do votes of view 0 arrive: nothing prepares once more."""
        of_before = frame.view == 0 and frame.type in ("PRE-PREPARE", "PREPARE")
        return None if of_before else self.filter(frame)

    def begin(self):
        self.sim.power_on_all()
        self.submit(1)


class Transfer(Scene):
    """A replica that was off for long fetches the state."""

    ms = 6000

    def prepare(self):
        super().prepare()
        self.sim.crash(AWAY)
        for i in range(14):
            execute(self.sim, op=operations.put(b"k%d" % (i % 8), bytes([65 + i]) * 100))

    def begin(self):
        self.sim.restart(AWAY)


class Recovery(Scene):
    """A replica starts with batches in all stages, and a checkpoint that is not stable yet."""

    count = 3

    def prepare(self):
        super().prepare()
        self.sim.on_frame(withhold("CHECKPOINT"))
        execute(self.sim)
        self.sim.on_frame(withhold("CHECKPOINT", "COMMIT"))
        self.submit(CLIENT)
        self.sim.run(10)
        self.sim.crash(AWAY)
        self.sim.on_frame(None)

    def begin(self):
        self.sim.restart(AWAY)


class Rejoin(Scene):
    """A replica with a wiped store starts, fetches, and is a member again after a window."""

    ms = 10000

    def prepare(self):
        super().prepare()
        self.sim.crash(AWAY)
        self.sim.wipe(AWAY)
        execute(self.sim)

    def begin(self):
        self.sim.restart(AWAY)
        for _ in range(self.sim.config.WINDOW + 3):
            self.submit(CLIENT)

    def is_over(self):
        over = super().is_over()
        if over and self.sim.abstains(AWAY):  # the window has to move on
            self.submit(CLIENT)
            return False
        return over


class Outage(Scene):
    """All were off at once in the midst of an operation, and start."""

    count = 3

    def prepare(self):
        super().prepare()
        for client in (CLIENT, 1):
            self.submit(client)
        self.sim.run(3)
        self.sim.outage()

    def begin(self):
        self.sim.power_on_all()


SCENES = {
    "operation": Scene,
    "batch": Batch,
    "checkpoint": Checkpoint,
    "slide": Slide,
    "client_table": ClientTable,
    "view_change": ViewChange,
    "handover": Handover,
    "late_view": LateView,
    "transfer": Transfer,
    "recovery": Recovery,
    "rejoin": Rejoin,
    "outage": Outage,
}
