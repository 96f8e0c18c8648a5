"""What safety against power cuts costs: `python -m tests.sim.power_figures`.

The group of tools/configs/durable.toml, its regions in RAM ("ram"), in RAM and copied to
non-volatile memory ("mirror"), and with the bulk in non-volatile memory only ("nvm").

* What a replica writes to its FRAM and reads from it: per operation and by what waits for it,
  per checkpoint, view change, state transfer and boot; with the time on an I2C bus at 400 kHz
  and at 1 MHz, by the model of the driver (hal/fram_i2c.py). Mean of all replicas that take
  part; an ideal network.
* Latency of one client, closed loop, on the modelled radio (1 Mbit/s; handling a message takes
  0.6 ms), where a replica can do nothing else while its bus is busy.
* Internal RAM.

--study: the same for other lengths of a page and other checkpoint intervals.

Everything is simulated and deterministic: the same options give the same figures.
"""

import argparse
import json
from functools import cache
from statistics import mean, median
from types import SimpleNamespace

from rich.console import Console
from rich.table import Table

from tests.sim.bus import AWAITED, CHECKPOINT, LATER, STABLE, Bus, Transfers, total
from tests.sim.load import Load, execute, isolate
from tests.sim.transfer_figures import Blocks
from tinybft.apps.kv import KeyValueStore
from tinybft.layout import areas
from tools.config import load, named_files
from tools.memory.sums import compared
from tools.simulate import operations
from tools.simulate.configs import configuration
from tools.simulate.sim import Sim

CONFIG = "durable"
STORAGES = ("ram", "mirror", "nvm")
DURABLE = ("mirror", "nvm")
CLOCKS = {"400 kHz": 400000, "1 MHz": 1000000}
AWAY = 2
KEYS = 8
PAGE_LENGTHS = (16, 32, 64, 128)
INTERVALS = (2, 4, 8)
_KEPT = (
    "WINDOW",
    "CHECKPOINT_INTERVAL",
    "BATCH_COUNT_MAX",
    "PIPELINE",
    "REQUEST_LENGTH_MAX",
    "REPLY_LENGTH_MAX",
    "MESSAGE_LENGTH_MAX",
    "INLINE_LENGTH_MAX",
    "STATE_LENGTH",
    "BLOCK_LENGTH",
    "TAG_LENGTH",
)
_FOREVER = 600000


def _key(i):
    return b"key %d" % (i % KEYS)


OPERATIONS = {
    "put 64 B": lambda i: operations.put(_key(i), b"%064d" % i),
    "put 900 B": lambda i: operations.put(_key(i), b"%0900d" % i),
    "get 64 B": lambda i: operations.get(_key(i)),
}


@cache
def _shipped():
    return load(named_files()[CONFIG])


def group(storage, radio=None, page_length=None, **changed):
    """A configuration with the sizes of the shipped one; timeouts suit the medium."""
    sizes = {name: getattr(_shipped(), name) for name in _KEPT}
    sizes["BATCH_PAGES_MAX"] = 256  # the service of transfer_figures.py writes all blocks at once
    if changed:
        del sizes["MESSAGE_LENGTH_MAX"]  # a wider window has a longer VIEW-CHANGE
    durable = None if storage == "ram" else storage
    config = configuration(4, radio, durable, **(sizes | changed))
    if page_length:
        config = SimpleNamespace(**vars(config))
        config.PAGE_LENGTH = page_length
        config.PAGE_COUNT = config.BLOCK_COUNT * config.BLOCK_LENGTH // page_length
        config.NVM_LENGTH = areas(config)["size"]
    return config


def loaded(config, service=KeyValueStore, radio=None, seed=1):
    """A group that holds a value of 64 bytes under each key, if it is a key-value store."""
    sim = Sim(seed=seed, service=service, radio=radio, config=config)
    if service is KeyValueStore:
        perform(sim, "put 64 B", 2 * KEYS)
    return sim


def perform(sim, name, count, client=4):
    """Operations one after the other; returns the milliseconds of each."""
    times = []
    for i in range(count):
        begin = sim.world.now_us
        execute(sim, client, op=OPERATIONS[name](i), ms=_FOREVER)
        times.append((sim.world.now_us - begin) / 1000)
    return times


# --- transfers ---


def per_operation(config, name, count):
    """({cause: Transfers per operation}, Transfers per stable checkpoint)."""
    sim = loaded(config)
    perform(sim, name, config.CHECKPOINT_INTERVAL * 2)
    sim.run(200)
    buses = [Bus(sim, i) for i in sim.replicas]
    before = sim.stable(0)
    perform(sim, name, count)
    sim.run(200)
    checkpoints = (sim.stable(0) - before) // config.CHECKPOINT_INTERVAL
    causes = {
        cause: total(bus.counts[cause] for bus in buses).per(len(buses) * count)
        for cause in (*AWAITED, *LATER)
    }
    held = total(bus.counts[cause] for bus in buses for cause in (CHECKPOINT, STABLE))
    return causes, held.per(len(buses) * max(1, checkpoints))


def per_view_change(config, seed):
    """The primary is off and a request waits: until all others are active in the next view."""
    sim = loaded(config, seed=seed)
    perform(sim, "put 900 B", 2 * config.CHECKPOINT_INTERVAL + 1)
    sim.run(200)
    others = sim.replicas[1:]
    buses = [Bus(sim, i) for i in others]
    sim.crash(0)
    handle = sim.submit(4, OPERATIONS["put 64 B"](0))
    assert sim.run_until(
        lambda: all(sim.core(i).progress.active and sim.view(i) > 0 for i in others), _FOREVER
    )
    transfers = total(bus.total() for bus in buses).per(len(buses))
    assert sim.run_until(lambda: handle.done, _FOREVER)
    return transfers


def per_transfer(config, block_count, seed):
    """A replica that missed writes to so many of its 16 blocks, until it is level."""
    sim = loaded(config, Blocks, seed=seed)
    execute(sim, op=bytes((1, 1)), ms=_FOREVER)
    isolate(sim, AWAY)
    execute(sim, op=bytes((block_count, 2)), ms=_FOREVER)
    for value in range(2 * config.WINDOW):
        execute(sim, op=bytes((1, 3 + value)), ms=_FOREVER)
    sim.run(2000)
    bus = Bus(sim, AWAY)
    sim.heal()
    assert sim.run_until(lambda: sim.executed(AWAY) == sim.executed(0), _FOREVER)
    return bus.total()


def per_boot(config, wiped, seed):
    """Power on with all 16 blocks in the image, until it votes again; under load if wiped."""
    sim = loaded(config, Blocks, seed=seed)
    for value in range(2 * config.WINDOW + 1):
        execute(sim, op=bytes((16, value)), ms=_FOREVER)
    sim.run(200)
    sim.crash(AWAY)
    if wiped:
        sim.wipe(AWAY)
    bus = Bus(sim, AWAY)
    sim.restart(AWAY)
    if wiped:
        load = Load(sim, clients=(4,), make=lambda _: bytes((1, sim.random.randrange(256))))
        assert sim.run_until(lambda: not sim.abstains(AWAY), _FOREVER)
        load.stop()
    else:
        sim.run(50)
    return bus.total()


def _median(runs):
    names = vars(runs[0])
    return Transfers(**{name: median(getattr(run, name) for run in runs) for name in names})


def events(storage, seeds):
    """{event: Transfers}, medians over seeds."""
    config = group(storage)
    table = {"view change": per_view_change}
    for count in (1, 4, 16):
        table[f"state transfer, {count} of 16 blocks differ"] = lambda config, seed, count=count: (
            per_transfer(config, count, seed)
        )
    table["boot"] = lambda config, seed: per_boot(config, False, seed)
    table["boot, memory wiped, until it votes"] = lambda config, seed: per_boot(config, True, seed)
    return {
        name: _median([measure(config, seed=seed) for seed in range(seeds)])
        for name, measure in table.items()
    }


# --- latency ---


def latencies(config, radio, clock_hz, name, count, seed=1):
    """Milliseconds of each operation; the buses of all replicas take their time."""
    sim = loaded(config, radio=radio, seed=seed)
    if config.DURABLE and clock_hz:
        for i in sim.replicas:
            Bus(sim, i, clock_hz)
    perform(sim, name, 2 * config.CHECKPOINT_INTERVAL)
    return perform(sim, name, count)


def latency_columns(storages):
    """((storage, name of the clock or None), ...): RAM has no bus."""
    columns = []
    for storage in storages:
        clocks = CLOCKS if storage in DURABLE else (None,)
        columns += [(storage, clock) for clock in clocks]
    return columns


def _column_name(storage, clock):
    return f"{storage}, {clock}" if clock else storage


def _summary(times):
    ordered = sorted(times)
    return {
        "mean_ms": round(mean(ordered), 2),
        "p50_ms": round(median(ordered), 2),
        "p99_ms": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], 2),
    }


# --- all of it ---


def figures(options):
    """Everything as one JSON-able dict."""
    found = {
        "configuration": CONFIG,
        "hash": _shipped().CONFIG_HASH,
        "operations": {},
        "checkpoint": {},
        "events": {},
        "latency": {"radio": options.radio, "operations": {}},
        "ram": {},
    }
    for storage in options.storages:
        if storage in DURABLE:
            _add_transfers(found, storage, options)
    for name in OPERATIONS:
        found["latency"]["operations"][name] = {
            _column_name(storage, clock): _summary(
                latencies(
                    group(storage, options.radio),
                    options.radio,
                    CLOCKS.get(clock),
                    name,
                    options.count,
                )
            )
            for storage, clock in latency_columns(options.storages)
        }
    for storage, row in compared(_shipped()).items():
        if storage in options.storages:
            found["ram"][storage] = {"ram": row["ram"], "nvm": row["nvm"]}
    return found


def _add_transfers(found, storage, options):
    operations_found = found["operations"].setdefault(storage, {})
    checkpoints = found["checkpoint"].setdefault(storage, {})
    for name in OPERATIONS:
        causes, held = per_operation(group(storage), name, options.count)
        operations_found[name] = {cause: _rounded(one) for cause, one in causes.items()}
        operations_found[name]["a client waits for"] = _rounded(total(causes[c] for c in AWAITED))
        operations_found[name]["after the reply"] = _rounded(total(causes[c] for c in LATER))
        checkpoints[name] = _rounded(held)
    found["events"][storage] = {
        name: _rounded(one) for name, one in events(storage, options.seeds).items()
    }


def _rounded(transfers):
    row = {name: round(value, 2) for name, value in vars(transfers).items()}
    row["ms_400k"] = round(row.pop("us_400k") / 1000, 2)
    row["ms_1m"] = round(row.pop("us_1m") / 1000, 2)
    return row


def study(options):
    """Rows of other page lengths and checkpoint intervals (W = 2 K), beside each other."""
    rows = []
    for storage in options.storages:
        if storage not in DURABLE:
            continue
        for interval in options.intervals:
            changed = {"CHECKPOINT_INTERVAL": interval, "WINDOW": 2 * interval}
            for page_length in options.page_lengths:
                rows.append(_studied(storage, page_length, changed, options))
    return rows


def _studied(storage, page_length, changed, options):
    config = group(storage, page_length=page_length, **changed)
    row = {
        "storage": storage,
        "interval": config.CHECKPOINT_INTERVAL,
        "page_length": page_length,
        "nvm": config.NVM_LENGTH,
        "operations": {},
    }
    on_radio = group(storage, options.radio, page_length, **changed)
    for name in ("put 64 B", "put 900 B"):
        causes, _ = per_operation(config, name, options.count)
        times = latencies(on_radio, options.radio, 400000, name, options.count)
        row["operations"][name] = {
            "awaited": _rounded(total(causes[cause] for cause in AWAITED)),
            "later": _rounded(total(causes[cause] for cause in LATER)),
            "latency": _summary(times),
        }
    return row


# --- for people ---


def _table(title, columns, rows):
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*row)
    Console(width=110).print(table)


def _cells(row):
    counts = [f"{row[name]:.4g}" for name in ("writes", "written", "reads", "read")]
    return (*counts, f"{row['ms_400k']:.1f}", f"{row['ms_1m']:.1f}")


_COLUMNS = ("writes", "bytes", "reads", "bytes read", "ms at 400 kHz", "ms at 1 MHz")


def show(found):
    for storage, table in found["operations"].items():
        rows = []
        for name, causes in table.items():
            rows += [(f"{name}: {cause}", *_cells(row)) for cause, row in causes.items()]
            rows.append(None)
        _table(f'"{storage}": an operation, at one replica', ("when", *_COLUMNS), rows)
        rows = [
            (f"checkpoint, after {name}s", *_cells(row))
            for name, row in found["checkpoint"][storage].items()
        ]
        rows += [(name, *_cells(row)) for name, row in found["events"][storage].items()]
        _table(f'"{storage}": other events, at one replica', ("event", *_COLUMNS), rows)
    table = found["latency"]["operations"]
    columns = list(next(iter(table.values())))
    rows = [
        (name, *(f"{row[one]['mean_ms']:.1f} ({row[one]['p99_ms']:.1f})" for one in columns))
        for name, row in table.items()
    ]
    title = f"Milliseconds on {found['latency']['radio']} Mbit/s: mean (99th percentile)"
    _table(title, ("operation", *columns), rows)
    rows = [(name, str(row["ram"]), str(row["nvm"])) for name, row in found["ram"].items()]
    _table("Bytes of static memory", ("regions in", "internal RAM", "non-volatile"), rows)


def show_study(rows):
    for name in ("put 64 B", "put 900 B"):
        lines = []
        for row in rows:
            one = row["operations"][name]
            later, latency = one["later"], one["latency"]
            lines.append(
                (
                    row["storage"],
                    str(row["interval"]),
                    str(row["page_length"]),
                    f"{one['awaited']['written']:.0f}",
                    f"{later['written']:.0f}",
                    f"{later['writes']:.1f}",
                    f"{one['awaited']['ms_400k'] + later['ms_400k']:.1f}",
                    f"{latency['mean_ms']:.1f}",
                    f"{latency['p99_ms']:.1f}",
                    str(row["nvm"]),
                )
            )
        columns = ("regions", "K", "page", "awaited B", "later B", "later writes")
        columns += ("bus ms", "mean ms", "p99 ms", "nvm B")
        _table(f"{name}: bytes per operation, bus at 400 kHz, latency", columns, lines)


def arguments(line=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="operations per figure [200]")
    parser.add_argument("--seeds", type=int, default=5, help="runs per event [5]")
    parser.add_argument("--radio", type=float, default=1, help="Mbit/s [1]")
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES)
    parser.add_argument("--study", action="store_true", help="page lengths, checkpoint intervals")
    parser.add_argument("--page-lengths", type=int, nargs="+", default=PAGE_LENGTHS)
    parser.add_argument("--intervals", type=int, nargs="+", default=INTERVALS)
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    options = parser.parse_args(line)
    options.radio = int(options.radio) if options.radio == int(options.radio) else options.radio
    return options


def main():
    options = arguments()
    found = study(options) if options.study else figures(options)
    if options.json:
        print(json.dumps(found, indent=1))
    elif options.study:
        show_study(found)
    else:
        show(found)


if __name__ == "__main__":
    main()
