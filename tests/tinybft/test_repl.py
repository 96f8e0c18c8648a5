"""tinybft.repl: what a person at the prompt sees of a running group, and what a program reads."""

import json

import tinybft.repl as t
from tests.tinybft.group import Group
from tests.tinybft.scenes import Recorder, small_config
from tinybft import attached


def desk(node_id=1, operations=5):
    group = Group(small_config(), Recorder)
    for number in range(operations):
        group.execute(4, b"op%d" % number)
    group.run(2000)
    t.attach(group.nodes[node_id])
    return group


def shown(table):
    return repr(table).split("\n")


def row(table, name):
    """What stands behind a name in the rows of a table."""
    found = [line for line in shown(table) if line.split()[0] == name]
    assert len(found) == 1, (name, shown(table))
    return found[0][len(name) :].strip()


def test_status():
    desk()
    table = t.status()
    assert table.table["last_executed"] == 5 and table.table["role"] == "backup"
    assert row(table, "node") == "1, backup of group 1"
    assert row(table, "runs") == "when somebody steps it"
    assert row(table, "executed") == "5, 5 operations"
    assert row(table, "window") == "5 .. 8"
    assert row(table, "state") == table.table["stable_digest"][:16] + " at 4"
    assert row(table, "memory") == "volatile"


def test_status_of_a_node_that_stopped():
    group = desk()
    group.nodes[1].stopped = "OSError: no store"
    assert row(t.status(), "runs") == "no more: OSError: no store"
    assert shown(t.why()) == ["stopped by OSError: no store; restart it"]


def test_peers():
    group = desk()
    group.crash(3)
    group.run(9000)
    table = t.peers().table
    assert sorted(table) == ["0", "2", "3"]
    assert table["3"]["heard_ms"] >= 9000 > 1000 > table["0"]["heard_ms"] >= 0
    assert table["0"]["view"] == 0 and table["0"]["stable"] == 0
    lines = shown(t.peers())
    assert lines[0].split()[0] == "peer" and [line.split()[0] for line in lines[1:]] == [
        "0",
        "2",
        "3",
    ]
    assert len({len(line) for line in lines}) == 1


def test_slot():
    desk()
    table = t.slot(5)
    assert table.table["executed"] and "committed" in table.table["state"]
    assert table.table["requests"][0]["client"] == 4
    assert row(table, "digest") == table.table["digest"]
    assert row(table, "request").startswith("5 of client 4, ")
    assert row(table, "prepares") == "from 1, 2" or row(table, "prepares").startswith("from 1")
    assert row(t.slot(6), "state") == "empty"
    assert row(t.slot(60), "state") == "outside of the window 5 .. 8"


def test_view_and_why_during_a_view_change():
    group = desk()
    group.crash(0)
    group.crash(2)
    group.nodes[1].start(b"stuck")
    group.run(5000)
    assert "not begun" in row(t.view(), "view")
    assert t.view().table["wants"][1] == t.status().table["view"] > 0
    why = shown(t.why())
    assert "VIEW-CHANGE from 1, 3, needs 3; missing 0 (" in why[0], why
    assert [line for line in why if line.startswith("not heard: replica 0 for")], why


def test_why_is_silent_about_nothing_but_tells_who_is():
    group = desk()
    assert shown(t.why()) == ["nothing: idle"]
    group.crash(3)
    group.run(9000)
    lines = shown(t.why())
    assert lines[0] == "nothing: idle" and lines[1].startswith("not heard: replica 3 for ")
    assert t.why().table["blocked"] == []


def test_faults_and_memory():
    group = desk()
    assert row(t.faults(), "messages").startswith("not_needed ")
    table = t.memory().table
    assert table["regions"] == group.nodes[1].memory.bytes_reserved()
    assert table["store"] == group.nodes[1].hal.store.size
    assert row(t.memory(), "regions") == str(sum(table["regions"].values()))


def test_json_is_one_line_with_everything():
    desk()
    line = t.json()
    assert "\n" not in line
    table = json.loads(line)
    assert table["last_executed"] == 5 and table["why"] == {"blocked": [], "silent": []}
    for name in ("heap", "air", "faults", "slots", "role", "view", "low_mark", "stopped"):
        assert name in table
    assert json.loads(t.peers().json()) == t.peers().table


def test_json_is_printed_without_being_made_first():
    import io
    import sys

    if sys.implementation.name == "micropython":
        return  # nothing can take the place of its standard output
    desk()
    standard, sys.stdout = sys.stdout, io.StringIO()
    try:
        t.print_json()
        printed = sys.stdout.getvalue()
    finally:
        sys.stdout = standard
    assert printed.endswith("}\n") and printed.count("\n") == 1
    assert set(json.loads(printed)) == set(json.loads(t.json()))


def test_an_external_client():
    desk(4)
    assert t.status().table["role"] == "client"
    assert row(t.status(), "requests") == "5 acknowledged, 0 retries"
    assert shown(t.why()) == ["nothing: idle"]
    json.loads(t.json())
    for function in (t.peers, t.view, lambda: t.slot(1)):
        try:
            function()
        except RuntimeError as error:
            assert str(error) == "node 4 is a client, not a replica"
        else:
            raise AssertionError("not refused")


def test_submit():
    group = desk()
    node = group.nodes[1]
    node.hal.wait = group.run
    assert t.submit(b"lamp") == b"lamp"


def test_everything_holds_the_node():
    """A step that comes amid a function finds the node held; afterwards nobody holds it."""
    group = desk()
    node = group.nodes[1]
    held = []
    heard_at = node.replica.core.status.heard_at

    class Spy:
        """Stands for `heard_at`, which all of them read."""

        def __getitem__(self, index):
            held.append(node.held)
            return heard_at[index]

        def __iter__(self):
            held.append(node.held)
            return iter(heard_at)

    node.replica.core.status.heard_at = Spy()
    for function in (t.status, t.peers, t.why, t.json):
        held.clear()
        function()
        assert held and 0 not in held, function
        assert node.held == 0
    for function in (t.view, lambda: t.slot(5), t.faults, t.memory):
        function()
        assert node.held == 0


def test_no_node_is_said_in_words():
    kept = attached.node
    attached.node = None
    try:
        t.status()
    except RuntimeError as error:
        assert str(error) == "no node runs here; tinybft.repl.attach(node) names one"
    else:
        raise AssertionError("not refused")
    attached.node = kept
