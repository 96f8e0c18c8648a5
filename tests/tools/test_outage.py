"""Outages of a group that is made up here: what is told when something does not happen."""

from types import SimpleNamespace

import pytest

from tools.cluster import outage
from tools.cluster.failover import RoundLines, quantiles
from tools.cluster.files import RunFolder
from tools.cluster.outage import Outages
from tools.cluster.plans import Options, victim
from tools.cluster.powercuts import FAILURES_MAX, PowerCuts
from tools.cluster.times import TimesFile

CONFIG = SimpleNamespace(
    REPLICA_COUNT=4, FAULT_COUNT=1, WINDOW=4, CLIENT_COUNT=5, DURABLE=True, REQUEST_MS=250
)


class Node:
    """A node that notes what is done to it."""

    def __init__(self, node_id):
        self.node_id = node_id
        self.killed = self.frozen = False

    def strike(self):
        self.killed = True

    kill = strike

    def freeze(self):
        self.frozen = True

    def thaw(self):
        self.frozen = False


class Course:
    """As much of a course as outages need."""

    def __init__(self, folder, **options):
        self.folder = RunFolder(folder)
        self.config = CONFIG
        self.options = Options(operations=40, **options)
        self.clients = (0, 1, 2, 3)
        self.processes = SimpleNamespace(nodes={i: Node(i) for i in range(4)})
        self.outages = SimpleNamespace(gone=set())
        self.failures = []
        self.events = []
        self.restarted = []

    def say(self, words):
        self.events.append(words)

    def restart(self, node_id):
        self.processes.nodes[node_id] = Node(node_id)
        self.restarted.append(node_id)

    def views(self, view=0):
        return [self._view(node, view) for node in self.processes.nodes.values()]

    def _view(self, node, view):
        status = {"active": True, "transfer": False, "view": view, "low_mark": 8}
        status.update(last_executed=9, blocks_fetched=7, role="backup")
        condition = "killed" if node.killed else "frozen" if node.frozen else "running"
        report = {"clock_us": outage.now_us(), "status": status}
        return SimpleNamespace(
            node_id=node.node_id,
            replica=True,
            condition=condition,
            status=status,
            report=report,
            acknowledged=20,
        )

    def acknowledge(self, client, count=1):
        file = TimesFile(self.folder.node_file(client, "times"))
        for _ in range(count):
            file.add(outage.now_us(), outage.now_us())


def advance_until(outages, course, reached, view=0):
    for _ in range(50):
        if reached():
            return
        outages.advance(course.views(view))
    raise AssertionError(course.events)


def test_one_round(tmp_path):
    course = Course(tmp_path, kill="primary", down_ms=0)
    outages = Outages(course)
    nodes = course.processes.nodes
    advance_until(outages, course, lambda: nodes[0].killed)
    course.acknowledge(0)  # the dead one's own: does not count
    assert outages.advance(course.views()) and outages.rounds[0].gap_ms is None
    course.acknowledge(1)
    advance_until(outages, course, lambda: course.restarted == [0], view=1)
    advance_until(outages, course, lambda: any(node.frozen for node in nodes.values()), view=1)
    assert not nodes[0].frozen and not nodes[1].frozen  # the returned one, the primary
    course.acknowledge(0, outage.VOTES)
    while outages.advance(course.views(1)):
        pass
    (row,) = outages.as_rows()
    assert (row["view"], row["new_view"], row["primary"]) == (0, 1, 1)
    assert row["blocks_fetched"] == 7 and row["failure"] == ""
    assert row["gap_ms"] >= 0 and row["return_ms"] >= 0 and row["vote_ms"] >= 0
    assert not any(node.frozen for node in nodes.values()) and course.failures == []


def test_a_group_that_stops_is_a_failure_with_evidence(tmp_path, monkeypatch):
    monkeypatch.setattr(outage, "WAIT_SECONDS", 0)
    course = Course(tmp_path, kill="primary", rounds=2)
    (tmp_path / "node-1.log").write_text("last words")
    outages = Outages(course)
    while outages.advance(course.views()):
        pass
    assert [row.gap_ms for row in outages.rounds] == [None, None]
    assert "no operation was acknowledged after SIGKILL" in outages.rounds[0].failure
    assert len(course.failures) == 2 and "failed-1" in course.failures[0]
    assert (tmp_path / "failed-1" / "node-1.log").read_text() == "last words"
    assert course.restarted == [0, 0]  # and the next round can begin


def test_replicas_that_do_not_get_in_step(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(outage, "WAIT_SECONDS", 0)
    course = Course(tmp_path, kill="primary")
    outages = course.outages = Outages(course)
    show = RoundLines()
    show(course, [])
    views = course.views()
    views[3].status["view"] = 1  # alone
    while outages.advance(views):
        show(course, views)
    show(course, views)
    assert outages.rounds[0].replica is None
    assert "not in step" in outages.rounds[0].failure and len(course.failures) == 1
    heading, row = capsys.readouterr().out.splitlines()[-2:]
    assert heading.startswith("round  killed") and row.split()[:3] == ["1", "-", "-->-"]


def test_power_cuts(tmp_path):
    course = Course(tmp_path, power_cuts=6, seed=3)
    course.processes.nodes[2].kill()
    course.outages.gone.add(2)
    cuts = PowerCuts(course)
    while cuts.advance([view for view in course.views() if view.condition == "running"]):
        if not course.processes.nodes[0].killed:
            course.acknowledge(1)
    assert len(cuts.rounds) == 6 and course.failures == []
    assert all(cut.gap_ms >= 0 and cut.step_ms >= cut.gap_ms for cut in cuts.rounds)
    assert cuts.rounds[-1].struck == [[0, 1, 3]]  # all that were left, at once
    assert all(2 not in struck for cut in cuts.rounds for struck in cut.struck)
    assert 2 not in course.restarted and set(course.restarted) == {0, 1, 3}
    assert sum(cut.kills for cut in cuts.rounds) == len(course.restarted)


def test_power_cuts_after_which_nothing_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(outage, "WAIT_SECONDS", 0)
    course = Course(tmp_path, power_cuts=50)
    cuts = PowerCuts(course)
    while cuts.advance(course.views()):
        pass
    assert len(cuts.rounds) == FAILURES_MAX == len(course.failures)
    assert "no operation was acknowledged after a power cut" in cuts.rounds[0].failure


def test_no_power_cut_is_wanted(tmp_path):
    assert not PowerCuts(Course(tmp_path)).advance([])


def test_no_outage_is_wanted(tmp_path):
    assert not Outages(Course(tmp_path)).advance([])


@pytest.mark.parametrize(
    ("options", "primary", "chosen"),
    [
        ({"kill": "primary"}, 2, 2),
        ({"kill": "backup"}, 2, 3),
        ({"kill": "backup"}, 3, 2),
        ({"kill": "0"}, 1, 0),
        ({"freeze": "primary"}, 1, 1),
    ],
)
def test_victim(options, primary, chosen):
    assert victim(CONFIG, Options(**options), primary) == chosen


def test_quantiles_by_nearest_rank():
    assert quantiles([]) is None
    assert quantiles([5]) == {"min": 5, "median": 5, "p90": 5, "max": 5}
    assert quantiles(list(range(1, 21))) == {"min": 1, "median": 10, "p90": 18, "max": 20}
