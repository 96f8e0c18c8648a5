"""Which cluster runs in a run folder: cluster.json, and whether its processes still live."""

from tools.cluster.processes import end_groups, is_node
from tools.refusal import Refusal


def remember(folder, nodes, kept=False):
    """Write down the process ids of the nodes that `status`, `kv` and `--stop` look for.

    kept: the group outlives this command, and the power of its devices.
    """
    pids = {str(node.node_id): node.process.pid for node in nodes}
    folder.write_json(folder.cluster_file, {"nodes": pids, "kept": kept})


def node_pids(folder):
    """{node_id: pid} of the run in a folder, dead ones too; raises Refusal if there is none."""
    known = folder.read_json(folder.cluster_file)
    if not known:
        raise Refusal(f"{folder.path}: no cluster was started here; run `tinybft cluster --keep`")
    return {int(node_id): pid for node_id, pid in known["nodes"].items()}


def live_pids(folder):
    """{node_id: pid} of the nodes that run; raises Refusal if none does."""
    live = {node_id: pid for node_id, pid in node_pids(folder).items() if is_node(pid)}
    if not live:
        raise Refusal(f"{folder.path}: no cluster is running; start one: `tinybft cluster --keep`")
    return live


def refuse_if_running(folder):
    known = folder.read_json(folder.cluster_file)
    if known and any(is_node(pid) for pid in known["nodes"].values()):
        raise Refusal(
            f"{folder.path}: a cluster is running here; end it with `tinybft cluster --stop`,"
            " or choose another --run-dir and another [transport] port"
        )


def refuse_if_kept(folder):
    """A new run is a new group: what was acknowledged to the old one would be gone."""
    known = folder.read_json(folder.cluster_file)
    if known and known.get("kept"):
        raise Refusal(
            f"{folder.path}: keeps the memory of a cluster that was stopped; start it again with"
            " `tinybft cluster --resume`, give it up with --format, or choose another --run-dir"
        )


def refuse_unless_kept(folder):
    known = folder.read_json(folder.cluster_file)
    if not known or not known.get("kept"):
        raise Refusal(
            f"{folder.path}: keeps no cluster whose memory survives; start one:"
            " `tinybft cluster --name durable --keep`"
        )


def stop_kept(folder):
    """End the running nodes; returns how many there were. Raises Refusal if there is none."""
    live = live_pids(folder)
    end_groups(list(live.values()))
    return len(live)
