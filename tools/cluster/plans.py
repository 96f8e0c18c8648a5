"""What a run is asked to do, and what each of its nodes is told: plans and shares.

`Options` is one run as a person described it; `plan` turns it into the document that
tools/cluster/replica.py reads.
"""

from dataclasses import dataclass, field, replace

from tinybft.apps.kv_cells import CELL_LENGTH, cells_for
from tools.cluster.workload import layout_of
from tools.refusal import Refusal

DEFAULT_SIZES = (16, 64, 256, 900)
KEY_ROOM = 12  # bytes of the longest key, c<client>/<size>/<index>
REPORT_MS = 250
STORE_LENGTH_MIN = 65536
SECONDS_MAX = 10**6  # "no limit" for a workload that is bounded by its operations


@dataclass(frozen=True)
class Options:
    """One run. Percentages apply to each frame and receiver; None means the default."""

    operations: int = 4000
    seconds: int | None = None  # the workload ends after this, whatever it has done
    loss: float = 5.0
    duplicate: float = 0.0
    delay_ms: int = 0
    jitter_ms: int = 0
    sizes: tuple = DEFAULT_SIZES
    mix: str = "all"
    pause_ms: int = 0  # least time between two requests of a client
    rate: float | None = None  # operations per second of all clients together; None: as they can
    clients: tuple | None = None  # ids; None: all replicas and the first external client
    kill: str = "none"  # "primary", "backup", "none" or a replica id
    freeze: str | None = None  # the same, stopped for freeze_ms instead of killed
    freeze_ms: int = 3000
    down_ms: int = 1000  # from the next acknowledged operation to the restart
    restart: bool = True
    rounds: int = 1  # so often one is killed, one after another
    power_cuts: int = 0  # so often random ones are killed after that, and at last all at once
    seed: int = 1
    heap: str = "640K"
    report_ms: int = REPORT_MS
    keep: bool = False
    lean: bool = False  # MicroPython runs sources in the form that firmware has
    wrappers: dict = field(default_factory=dict)  # {node_id: command to run it under}


def client_ids(config, options):
    """The nodes that run the workload; raises Refusal."""
    if config.CLIENT_COUNT == config.REPLICA_COUNT:
        raise Refusal(
            f"client_count = {config.CLIENT_COUNT}: an external client reads everything back;"
            f" set it to {config.REPLICA_COUNT + 1} or more"
        )
    if options.clients is None:
        return tuple(range(config.REPLICA_COUNT + 1))
    for client_id in options.clients:
        if not 0 <= client_id < config.CLIENT_COUNT:
            raise Refusal(
                f"--clients {client_id}: unknown client; this group has the clients"
                f" 0..{config.CLIENT_COUNT - 1} (client_count = {config.CLIENT_COUNT})"
            )
    return tuple(sorted(set(options.clients)))


def check_victim(config, options):
    """Whether there is a replica to kill or freeze, and a client left; raises Refusal."""
    for option, wanted in (("--kill", options.kill), ("--freeze", options.freeze)):
        known = wanted in (None, "primary", "backup", "none")
        if not known and not (wanted.isdigit() and int(wanted) < config.REPLICA_COUNT):
            raise Refusal(
                f"{option} {wanted}: is none of primary, backup, none,"
                f" 0..{config.REPLICA_COUNT - 1}; choose one of them"
            )
    if "none" not in (options.kill, options.freeze or "none"):
        raise Refusal(
            f"--kill {options.kill} --freeze {options.freeze}: one replica is all that may fail"
            " of four; choose one of the two options"
        )
    if has_victim(options) and len(client_ids(config, options)) < 2:
        raise Refusal(
            "--clients: a single client may fall silent with the replica that is killed; name"
            " another one as well, or --kill none"
        )


def check_power_cuts(config, options):
    """The options with power cuts that the configuration can stand; raises Refusal.

    None wanted (None) is one at the end, where the state survives it.
    """
    if options.power_cuts is None:
        return replace(options, power_cuts=int(config.STATE_DURABLE))
    if options.power_cuts and not config.STATE_DURABLE:
        raise Refusal(
            f'--power-cuts {options.power_cuts}: [storage] state = "{config.STORAGE_STATE}" in'
            f" configuration {config.CONFIG_NAME}: when all lose power, what was acknowledged is"
            " gone; take --name durable"
        )
    return options


def has_victim(options):
    return options.kill != "none" or options.freeze not in (None, "none")


def victim(config, options, primary):
    """The replica to kill or freeze while `primary` is the primary."""
    wanted = options.kill if options.kill != "none" else options.freeze
    if wanted == "primary":
        return primary
    if wanted == "backup":
        last = config.REPLICA_COUNT - 1
        return last if last != primary else last - 1
    return int(wanted)


def fitting_sizes(config, sizes):
    """The value sizes of a workload: those given, else the default ones that there is room for.

    Raises Refusal when given ones do not fit a request, a reply or, all together, the state.
    """
    if sizes is None:
        chosen = tuple(size for size in DEFAULT_SIZES if size <= size_max(config))
        while chosen and _cells(config, chosen) > _cells_free(config):
            chosen = chosen[:-1]
        if not chosen:
            raise Refusal(
                f"state_length = {config.STATE_LENGTH}, request_length_max ="
                f" {config.REQUEST_LENGTH_MAX}: too small for key-value records of"
                f" {config.CLIENT_COUNT} clients; choose a larger configuration"
            )
        return chosen
    for size in sizes:
        if not 4 <= size <= size_max(config):
            raise Refusal(
                f"--value-sizes {size}: must lie in 4..{size_max(config)} (request_length_max ="
                f" {config.REQUEST_LENGTH_MAX}, reply_length_max = {config.REPLY_LENGTH_MAX}, a"
                f" key of up to {KEY_ROOM} bytes)"
            )
    if _cells(config, sizes) > _cells_free(config):
        raise Refusal(
            f"--value-sizes: the values of {config.CLIENT_COUNT} clients need"
            f" {_cells(config, sizes)} cells of {CELL_LENGTH} bytes, state_length ="
            f" {config.STATE_LENGTH} has {_cells_free(config)}; choose fewer or shorter ones"
        )
    return tuple(sizes)


def size_max(config):
    """Bytes of the longest value that can be put and got."""
    return min(config.REQUEST_LENGTH_MAX - 2 - KEY_ROOM, config.REPLY_LENGTH_MAX - 1)


def _cells(config, sizes):
    each = sum(cells_for(KEY_ROOM + sizes[i]) for i, _ in layout_of(sizes))
    return each * config.CLIENT_COUNT + 1


def _cells_free(config):
    """Cells of the store, less a tenth for header and buckets."""
    return config.STATE_LENGTH * 9 // 10 // CELL_LENGTH


def shares(operations, clients):
    """{client_id: operations}, adding up to `operations` if there is any client."""
    if not clients:
        return {}
    each, rest = divmod(operations, len(clients))
    return {client_id: each + (i < rest) for i, client_id in enumerate(clients)}


def store_length(config):
    """Bytes of each node's store file."""
    return max(STORE_LENGTH_MIN, config.NVM_LENGTH)


def network(options, node_id):
    """What a node's HAL is to do to the frames that it receives."""
    return {
        "loss": options.loss / 100,
        "duplicate": options.duplicate / 100,
        "delay_ms": options.delay_ms,
        "jitter_ms": options.jitter_ms,
        "seed": options.seed * 1000 + node_id,
    }


def schedule(config, options, node_id):
    """When a client's requests fall due: one every interval_us, the first after offset_us.

    All clients of a run get the same interval and follow one another evenly; 0 = no schedule.
    """
    clients = client_ids(config, options)
    if options.rate is None or node_id not in clients:
        return {"interval_us": 0, "offset_us": 0}
    interval_us = round(1e6 * len(clients) / options.rate)
    offset_us = interval_us * clients.index(node_id) // len(clients)
    return {"interval_us": interval_us, "offset_us": offset_us}


def plan(folder, config, options, node_id, operations, boot=0):
    """The document for one node; operations is None for a node without a workload."""
    has_times = has_victim(options) or options.power_cuts
    return {
        "node_id": node_id,
        "boot": boot,
        "key_path": str(folder.key_file(node_id)),
        "store_path": str(folder.node_file(node_id, "store")),
        "store_length": store_length(config),
        "tap": None,
        "report_path": str(folder.node_file(node_id, "json")),
        "ledger_path": str(folder.node_file(node_id, "ledger")),
        "latency_path": str(folder.node_file(node_id, "latency")),
        "times_path": has_times and str(folder.node_file(node_id, "times")),
        "report_ms": options.report_ms,
        "network": network(options, node_id),
        "workload": operations
        and {
            "operations": operations,
            "seconds": options.seconds or SECONDS_MAX,
            "sizes": options.sizes,
            "mix": options.mix,
            "pause_ms": options.pause_ms,
            **schedule(config, options, node_id),
            "seed": options.seed * 1000 + 500 + node_id + 10000 * boot,
        },
    }
