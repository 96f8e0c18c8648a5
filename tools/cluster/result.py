"""What a run has shown: the checks that decide its exit code, and the document of --json."""

from tools.cluster.ledger import ACKNOWLEDGED, MISMATCHED, load_ledger
from tools.cluster.outage import quantiles
from tools.cluster.plans import client_ids, has_victim
from tools.cluster.reports import Reports, load_latencies, merged
from tools.cluster.workload import GROUP_NAMES, layout_of

# After a collection the heap still holds what stale words on the C stack seem to point to:
# a few objects more or less from one report to the next. A leak of one byte per operation
# would pass this bound within a run.
HEAP_SLACK = 2048
TIMES_SHOWN_MAX = 20  # of more rounds, median and maximum


def check(name, ok, detail, lost=0):
    """One check; lost: acknowledged operations of which it found no trace."""
    return {"name": name, "ok": bool(ok), "detail": detail, "lost": lost}


def ledgers(folder, config, options):
    """{client_id: what its process knew when it last wrote}."""
    key_count = len(layout_of(options.sizes))
    return {
        client_id: load_ledger(folder.node_file(client_id, "ledger"), key_count)
        for client_id in client_ids(config, options)
    }


def latency_rows(folder, config, options):
    """{group name: {count, p50, p90, p99}} in ms, over all clients; "all" first."""
    per_client = [load_latencies(folder, node) for node in client_ids(config, options)]
    names = [*GROUP_NAMES, *(f"{size} bytes" for size in options.sizes)]
    groups = [merged(group) for group in zip(*filter(None, per_client), strict=False)]
    rows = {"all": _row(merged(groups))}
    rows.update({name: _row(group) for name, group in zip(names, groups, strict=False)})
    return {name: row for name, row in rows.items() if row["count"]}


def _row(histogram):
    row = {"count": histogram.total()}
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        value = histogram.quantile(share)
        row[name] = None if value is None else round(value / 1000, 3)
    return row


def result_of(course, checks):
    """The document of a run. Requires: the workload has ended."""
    folder, config, options = course.folder, course.config, course.options
    books = ledgers(folder, config, options)
    views = Reports(folder, config, course.processes).views()
    operations = sum(book.get(ACKNOWLEDGED) for book in books.values())
    busy = [view.workload["busy_us"] for view in views if view.workload]
    seconds = max(busy, default=0) / 1e6
    checks = [
        *(check("running", False, failure) for failure in course.failures),
        _answers(books, operations, options),
        *_outages(course),
        *_power_cuts(course),
        *checks,
        *_statements(course),
        _memory([view for view in views if view.replica and view.condition == "running"]),
    ]
    return {
        "ok": all(entry["ok"] for entry in checks),
        "operations": operations,
        "seconds": round(seconds, 3),
        "operations_per_second": round(operations / seconds, 1) if seconds else 0.0,
        "loss_percent": options.loss,
        "duplicate_percent": options.duplicate,
        "cpu_us": cpu_us_per_operation(views, operations),
        "latency_ms": latency_rows(folder, config, options),
        "clients": {str(k): book.get(ACKNOWLEDGED) for k, book in books.items()},
        "outages": course.outages.as_rows(),
        "power_cuts": power_cut_figures(course, views, operations, checks),
        "replicas": [_replica(view) for view in views if view.replica],
        "checks": checks,
    }


def cpu_us_per_operation(views, operations):
    """Time of the processor per operation, mean of the replicas: what came before and after the
    workload is in it, but little. None when nothing was done."""
    taken = [view.report["cpu_us"] for view in views if view.replica and view.report]
    return round(sum(taken) / len(taken) / operations, 1) if taken and operations else None


def _answers(books, operations, options):
    wrong = sum(book.get(MISMATCHED) for book in books.values())
    wanted = options.operations if options.seconds is None else 1
    detail = f"{operations} acknowledged, each with the reply that its client expects"
    if operations < wanted:
        detail = f"only {operations} of {wanted} were acknowledged"
    if wrong:
        detail = f"{wrong} replies were not what the client had written; see node-*.json"
    return check("operations", operations >= wanted and not wrong, detail, lost=wrong)


def _outages(course):
    """What the faults of the run were to show."""
    options = course.options
    if not has_victim(options):
        return
    done = course.outages.rounds
    yield _shown(
        "recovered",
        options.rounds,
        [outage.gap_ms for outage in done],
        "acknowledged the next operation after {} ms",
    )
    if options.restart or options.kill == "none":
        yield _shown(
            "returned",
            options.rounds,
            [outage.return_ms for outage in done],
            "caught up and in step after {} ms",
        )
        yield _shown(
            "deciding vote",
            options.rounds,
            [outage.vote_ms for outage in done],
            "operations that only its vote could decide, the first after {} ms",
        )


def _power_cuts(course):
    wanted = course.power_cuts.wanted
    if not wanted:
        return
    gaps = [cut.gap_ms for cut in course.power_cuts.rounds]
    steps = [cut.step_ms for cut in course.power_cuts.rounds]
    yield _shown("power cuts", wanted, gaps, "next operation {} ms after power returned")
    yield _shown("in step", wanted, steps, "all replicas in one view, caught up after {} ms")


def _statements(course):
    """What the sniffer found."""
    sniffer = course.sniffer
    if not sniffer:
        return
    found = sniffer.contradictions
    detail = f"{sniffer.heard()} votes in {sniffer.lives} lives, none contradicts another"
    if found:
        detail = f"{len(found)}: {'; '.join(found[:3])}"
    yield check("no contradiction", not found, detail)


def power_cut_figures(course, views, operations, checks):
    """The totals of all power cuts, None when there was none."""
    rounds = course.power_cuts.rounds
    if not rounds:
        return None
    count = course.config.REPLICA_COUNT - len(course.outages.gone)
    statuses = [view.status for view in views if view.replica and view.status]
    return {
        "rounds": len(rounds),
        "kills": sum(cut.kills for cut in rounds),
        "all_at_once": sum(len(struck) == count for cut in rounds for struck in cut.struck),
        "view": max((status["view"] for status in statuses), default=0),
        "operations": operations,
        "lost": sum(entry["lost"] for entry in checks),
        "votes": course.sniffer.heard(),
        "contradictions": course.sniffer.contradictions,
        "gap_ms": quantiles(sorted(cut.gap_ms for cut in rounds if cut.gap_ms is not None)),
        "step_ms": quantiles(sorted(cut.step_ms for cut in rounds if cut.step_ms is not None)),
        "rows": course.power_cuts.as_rows(),
    }


def _shown(name, wanted, times, words):
    reached = [time for time in times if time is not None]
    if len(reached) > TIMES_SHOWN_MAX:
        shown = quantiles(sorted(reached))
        text = f"{shown['median']:.0f} (at most {shown['max']:.0f})"
    else:
        text = "/".join(f"{time:.0f}" for time in reached) or "-"
    detail = words.format(text)
    return check(name, len(reached) == wanted, f"{len(reached)} of {wanted}: {detail}")


def _memory(views):
    heaps = [view.report["heap"] for view in views]
    growth = max((heap["now"] - heap["first"] for heap in heaps if heap["first"]), default=0)
    most = max((heap["most"] for heap in heaps), default=0)
    detail = f"at most {most} bytes of heap in use, {growth:+d} since the first operations"
    return check("memory constant", growth <= HEAP_SLACK, detail)


def _replica(view):
    known = {"node_id": view.node_id, "condition": view.condition}
    if view.report:
        names = ("role", "view", "last_executed", "low_mark", "stable_digest", "faults")
        known.update({name: view.status[name] for name in names})
        known["heap"] = view.report["heap"]
    return known
