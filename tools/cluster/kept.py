"""Which cluster runs in a run folder: cluster.json, and whether its processes still live."""

from tools.cluster.processes import end_groups, is_node
from tools.refusal import Refusal


def remember(folder, nodes):
    """Write down the process ids of the nodes that `status`, `kv` and `--stop` look for."""
    pids = {str(node.node_id): node.process.pid for node in nodes}
    folder.write_json(folder.cluster_file, {"nodes": pids})


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


def stop_kept(folder):
    """End the running nodes; returns how many there were. Raises Refusal if there is none."""
    live = live_pids(folder)
    end_groups(list(live.values()))
    return len(live)
