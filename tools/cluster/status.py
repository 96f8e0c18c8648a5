"""`tinybft status`: what each node of a running cluster says of itself."""

import json
import time

import rich_click as click

from tools.cluster.files import RUN_FOLDER, RunFolder
from tools.cluster.kept import node_pids
from tools.cluster.processes import is_node
from tools.refusal import Refusal

STALE_SECONDS = 5.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
@click.option("--run-dir", default=RUN_FOLDER, show_default=True, help="Folder of the run.")
def status(as_json, run_dir):
    """Show the nodes of a running cluster: view, marks, window, peers, faults, memory."""
    folder = RunFolder(run_dir)
    nodes = [node_state(folder, *entry) for entry in node_pids(folder).items()]
    if as_json:
        click.echo(json.dumps({"nodes": nodes}, indent=1))
    else:
        for node in nodes:
            click.echo("\n".join(lines(node)))
    if not any(node["alive"] for node in nodes):
        raise Refusal(f"{run_dir}: no process of this cluster is alive; `tinybft cluster --keep`")


def node_state(folder, node_id, pid):
    """One node's report with what the host knows of it: pid, alive, age of the report."""
    path = folder.node_file(node_id, "json")
    report = folder.read_json(path) or {}
    age = time.time() - path.stat().st_mtime if path.exists() else None
    return {
        "node_id": node_id,
        "pid": pid,
        "alive": is_node(pid),
        "report_age_s": None if age is None else round(age, 1),
        **report,
    }


def lines(node):
    """One node for a person."""
    told = node.get("status")
    if not node["alive"]:
        seen = f"; last report {node['report_age_s']:.0f} s ago" if told else ""
        yield click.style(f"node {node['node_id']}: dead (pid {node['pid']}){seen}", fg="red")
        return
    if not told:
        yield f"node {node['node_id']}: starting (pid {node['pid']})"
        return
    late = node["report_age_s"] > STALE_SECONDS
    words = f", silent for {node['report_age_s']:.0f} s" if late else ""
    yield click.style(
        f"node {node['node_id']}: {told['role']} (pid {node['pid']}){words}", bold=True
    )
    if "view" in told:
        yield from _replica_lines(told)
    yield _row("faults", _pairs({**told["faults"], **node["air"]["faults"]}))
    yield _row("memory", f"{_pairs(told['memory'])}; heap in use {node['heap']['now']}")


def _replica_lines(told):
    active = "" if told["active"] else " (changing)"
    yield _row("view", f"{told['view']}{active}")
    yield _row(
        "window",
        f"low mark {told['low_mark']}, executed {told['last_executed']}, high mark"
        f" {told['high_mark']}; {told['operations']} operations",
    )
    yield _row("open slots", _pairs(told["slots"]))
    yield _row("peers", _pairs({peer: f"{ms} ms ago" for peer, ms in told["peers"].items()}))
    yield _row("state", f"{told['stable_digest']} at {told['low_mark']}")
    if "durability" in told:
        yield _row("store", _durability_words(told["durability"]))


def _durability_words(told):
    if told["mode"] == "volatile":
        return "nothing survives a restart"
    words = f"stable {told['low_mark']}, state of {told['image']}"
    if "writes" in told:
        words += f"; {told['bytes_written']} bytes written in {told['writes']} writes"
    if told["mode"] == "rejoining":
        words = "cannot be trusted: casts no vote until a later checkpoint is stable here"
    return words


def _pairs(table):
    """`name value, ...` of what is not zero."""
    return ", ".join(f"{name} {value}" for name, value in table.items() if value) or "none"


def _row(name, words):
    return f"  {name:<11}{words}"
