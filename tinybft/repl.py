"""A running node, looked at from the REPL beside it.

    import tinybft.repl as t
    t.status()     where it stands              t.why()        what blocks progress, in words
    t.peers()      who was heard, when          t.slot(n)      batch and votes of one seqno
    t.view()       the view change, if any      t.faults()     what was wrong with messages
    t.memory()     regions and heap             t.submit(operation, timeout_ms=30000) -> bytes

Each but `submit` returns a Table: it shows itself at the prompt, `.table` is its content as a
dict, `.json()` the same as one line. `json()` is all that `tinybft monitor` wants, as a line;
`print_json()` prints it without making it first.

Reading holds the node for as long as it takes; protocol and REPL take turns. Another node than
the one in the background: `t.attach(node)`. Allocates: for people.
"""

import gc

from tinybft import attached, wire
from tinybft.attached import attach
from tinybft.clock import elapsed
from tinybft.slots import (
    ACCEPTED,
    COMMITTED,
    HAS_BATCH,
    NAMED,
    PRE_PREPARED,
    PREPARED,
    TIME_IN_DOUBT,
    VOUCHED_ONLY,
)
from tinybft.why import names, reasons, silent, silent_words

__all__ = (
    "attach",
    "faults",
    "json",
    "memory",
    "peers",
    "print_json",
    "slot",
    "status",
    "submit",
    "view",
    "why",
)

_FLAGS = (
    (PRE_PREPARED, "pre-prepared"),
    (ACCEPTED, "accepted"),
    (PREPARED, "prepared"),
    (COMMITTED, "committed"),
    (VOUCHED_ONLY, "not from the primary"),
    (TIME_IN_DOUBT, "time in doubt"),
    (HAS_BATCH, "batch here"),
    (NAMED, "digest from the NEW-VIEW"),
)


class Table:
    """`table`: the content; `lines`: for a person, a function of the table."""

    def __init__(self, table, lines):
        self.table = table
        self._lines = lines

    def __repr__(self):
        return "\n".join(self._lines(self.table))

    def json(self):
        import json as library

        return library.dumps(self.table)


def _node():
    if attached.node is None:
        raise RuntimeError("no node runs here; tinybft.repl.attach(node) names one")
    return attached.node


def _core():
    node = _node()
    if node.replica is None:
        raise RuntimeError("node " + str(node.node_id) + " is a client, not a replica")
    return node.replica.core


def _rows(*pairs):
    """Aligned lines of (name, words); what is empty is left out."""
    return ["%-10s%s" % pair for pair in pairs if pair[1] != ""]


def _pairs(table):
    return ", ".join("%s %s" % (name, table[name]) for name in sorted(table) if table[name])


# --- status ---


def status():
    """Where the node stands."""
    node = _node()
    table = node.status()
    table["group_id"] = node.config.GROUP_ID
    table["background"] = node.in_background
    return Table(table, _status_lines)


def _status_lines(table):
    name = "%d, %s of group %d" % (table["node_id"], table["role"], table["group_id"])
    runs = "in the background" if table["background"] else "when somebody steps it"
    if table["stopped"]:
        runs = "no more: " + table["stopped"]
    own = "%d acknowledged, %d retries" % (table["acknowledged"], table["retries"])
    rows = [("node", name), ("runs", runs)]
    if "view" in table:
        rows += [
            ("view", str(table["view"]) + ("" if table["active"] else ", not begun")),
            ("executed", "%d, %d operations" % (table["last_executed"], table["operations"])),
            ("window", "%d .. %d" % (table["low_mark"] + 1, table["high_mark"])),
            ("slots", _pairs(table["slots"])),
            ("state", "%s at %d" % (table["stable_digest"][:16], table["low_mark"])),
            ("transfer", "running" if table["transfer"] else ""),
            ("memory", table["durability"]["mode"]),
        ]
    return _rows(*(rows + [("requests", own), ("faults", _pairs(table["faults"]))]))


# --- peers ---


def peers():
    """The other replicas, as far as they were heard here."""
    node = _node()
    core = _core()
    with node.hold:
        now = node.hal.now_ms()
        table = {}
        for peer, heard_at in enumerate(core.status.heard_at):
            if peer != core.progress.replica_id:
                table[str(peer)] = {
                    "heard_ms": -1 if heard_at < 0 else elapsed(now, heard_at),
                    "view": core.handover.view_of(peer),
                    "wants_view": core.view_change.view_of(peer),
                    "checkpoint": core.checkpoints.peer_seqno(peer),
                    "stable": core.checkpoints.peer_stable(peer),
                    "bad_tags": core.bad_tags[peer],
                }
    return Table(table, _peers_lines)


def _peers_lines(table):
    form = "%-5s%12s%6s%7s%12s%8s%10s"
    names = ("peer", "heard ms ago", "view", "wants", "checkpoint", "stable", "bad tags")
    lines = [form % names]
    for peer in sorted(table):
        row = table[peer]
        cells = [peer]
        for name in ("heard_ms", "view"):
            cells.append("-" if row[name] < 0 else row[name])
        for name in ("wants_view", "checkpoint", "stable", "bad_tags"):
            cells.append(row[name] or "-")
        lines.append(form % tuple(cells))
    return lines


# --- one slot ---


def slot(seqno):
    """The batch and the votes of one seqno."""
    node = _node()
    core = _core()
    with node.hold:
        return Table(_slot_table(core, seqno), _slot_lines)


def _slot_table(core, seqno):
    slots = core.slots
    progress = core.progress
    table = {"seqno": seqno, "executed": seqno <= progress.last_executed}
    base = slots.find(seqno)
    if base < 0:
        first, last = progress.low_mark + 1, progress.high_mark()
        inside = first <= seqno <= last
        table["state"] = ["empty" if inside else "outside of the window %d .. %d" % (first, last)]
        return table
    table["state"] = [name for flag, name in _FLAGS if slots.has(base, flag)] or ["votes only"]
    at = slots.digest_at(base)
    table["digest"] = "".join(["%02x" % slots.buf[at + i] for i in range(32)])
    table["prepares"] = slots.prepares(base)
    table["commits"] = slots.commits(base)
    table["other_prepares"] = _voted(core, base, wire.PREPARE) & ~table["prepares"]
    table["other_commits"] = _voted(core, base, wire.COMMIT) & ~table["commits"]
    table["requests"] = []
    if slots.has(base, HAS_BATCH):
        for i in range(slots.request_count(base)):
            at = slots.entry_at(base, i)
            table["requests"].append(
                {
                    "client": wire.entry_client(slots.buf, at),
                    "request_id": wire.entry_request_id(slots.buf, at),
                    "length": wire.entry_length(slots.buf, at),
                    "here": bool(slots.held(base) >> i & 1),
                    "authentic": not slots.doubts(base) >> i & 1,
                }
            )
    return table


def _voted(core, base, kind):
    mask = 0
    for replica in range(core.config.REPLICA_COUNT):
        if core.slots.has_voted(base, kind, replica):
            mask |= 1 << replica
    return mask


def _slot_lines(table):
    state = ", ".join(table["state"]) + (", executed" if table["executed"] else "")
    rows = [("seqno", table["seqno"]), ("state", state)]
    if "digest" in table:
        rows.append(("digest", table["digest"]))
        for name in ("prepares", "commits", "other_prepares", "other_commits"):
            if table[name] or not name.startswith("other"):
                words = name.replace("other_", "") + (" else" if "other" in name else "")
                rows.append((words, "from " + names(table[name])))
    for request in table.get("requests", ()):
        words = "%(request_id)d of client %(client)d, %(length)d bytes" % request
        words += "" if request["here"] else ", missing"
        rows.append(("request", words + ("" if request["authentic"] else ", bad tag")))
    return _rows(*rows)


# --- views, faults, memory ---


def view():
    """Who wants which view, and who confirmed whose VIEW-CHANGE."""
    node = _node()
    core = _core()
    with node.hold:
        progress = core.progress
        count = core.config.REPLICA_COUNT
        table = {
            "view": progress.view,
            "active": progress.active,
            "primary": progress.primary(),
            "new_view_held": core.new_view.is_held,
            "wants": [core.view_change.view_of(replica) for replica in range(count)],
            "acks": [core.view_change.acks(replica) for replica in range(count)],
        }
    return Table(table, _view_lines)


def _view_lines(table):
    state = "active" if table["active"] else "not begun"
    if not table["active"] and table["new_view_held"]:
        state += ", NEW-VIEW is here"
    rows = [("view", "%d, %s; primary %d" % (table["view"], state, table["primary"]))]
    for replica, wanted in enumerate(table["wants"]):
        if wanted:
            words = "wants view %d; confirmed by %s" % (wanted, names(table["acks"][replica]))
            rows.append((replica, words))
    return _rows(*rows)


def faults():
    """What was wrong with messages (`core`) and with frames (`air`), counted since boot."""
    node = _node()
    return Table({"core": node.faults.as_dict(), "air": _air(node)}, _faults_lines)


def _air(node):
    counters = getattr(node.hal, "faults", None)
    if counters is None:
        return {}
    return {name: getattr(counters, name) for name in counters.names() if getattr(counters, name)}


def _faults_lines(table):
    rows = [("messages", _pairs(table["core"])), ("frames", _pairs(table["air"]))]
    return _rows(*rows) or ["none"]


def memory():
    """Bytes: the static regions, the heap, the non-volatile memory."""
    node = _node()
    table = {"regions": node.memory.bytes_reserved()}
    if node.hal.store:
        table["store"] = node.hal.store.size
    if hasattr(gc, "mem_alloc"):
        table["heap_used"] = gc.mem_alloc()  # with what the collector has not yet looked at
        table["heap_free"] = gc.mem_free()
    return Table(table, _memory_lines)


def _memory_lines(table):
    regions = table["regions"]
    rows = [(name, regions[name]) for name in sorted(regions)]
    rows.append(("regions", sum(regions.values())))
    for name in ("store", "heap_used", "heap_free"):
        if name in table:
            rows.append((name, table[name]))
    return ["%-12s%8d" % row for row in rows]


# --- progress ---


def why():
    """What blocks progress: which votes are missing, from whom, or what else is waited for."""
    return Table(_why(_node()), _why_lines)


def _why(node):
    with node.hold:
        table = {"blocked": reasons(node), "silent": []}
        if node.replica and not node.stopped:
            table["silent"] = silent(node.replica.core, node.hal.now_ms())
    return table


def _why_lines(table):
    lines = list(table["blocked"])
    if not lines:
        lines.append("nothing: idle")
        if table["silent"]:
            lines.append(silent_words(table["silent"]))
    return lines


def submit(operation, read_only=False, timeout_ms=30000):
    """Have `operation` (bytes) executed by the group; the reply as bytes.

    Raises what `Node.call` raises. Ctrl-C ends the waiting only: the request stays.
    """
    return _node().call(operation, read_only, timeout_ms)


def json():
    """Everything that `tinybft monitor` shows, as one line."""
    return Table(_everything(), None).json()


def print_json():
    """The same, printed piece by piece: a full heap has no room for the line as a whole."""
    import json as library
    import sys

    library.dump(_everything(), sys.stdout)
    print()


def _everything():
    node = _node()
    table = status().table
    table["why"] = _why(node)
    table["air"] = _air(node)
    table["heap"] = [gc.mem_alloc(), gc.mem_free()] if hasattr(gc, "mem_alloc") else []
    table["now_ms"] = node.hal.now_ms()
    return table
