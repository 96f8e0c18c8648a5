"""`tinybft energy`: how long a battery lasts, from the time that the radio is on.

As in the TinyBFT paper (RTAS 2024, section VII-D): a device sleeps, wakes up for an agreement,
and takes its peak current as long as that lasts. How long it lasts is modelled by default: the
mean latency of a put of one closed-loop client in the simulator, with ESP-NOW's airtime and the
counted times of the processor (hal/sim_costs.py). Waiting for others, whose clocks run
differently, is on top: --listening.
"""

import json
from dataclasses import asdict, dataclass, replace
from statistics import mean

import rich_click as click
from rich.console import Console
from rich.table import Table

from tinybft.apps.kv_format import encode_put
from tools.config import chosen_file, load, summary
from tools.config_schema import PARAMETERS, Whole
from tools.refusal import Refusal
from tools.simulate.configs import REPLICA_COUNTS, configuration
from tools.simulate.sim import Sim

_SECONDS_PER_HOUR = 3600.0
_WARM_UP = 16
_OPERATIONS = 64
_PATIENCE_MS = 60000
_RATES = (0.1, 1, 10, 60, 600, 3600)  # agreements per hour
_LISTENING = (0, 1, 10, 60, 3600)  # seconds per hour
_CARRIED = ("agreement", "sizes", "state", "authentication")
_PAPER_DAYS = 1000


@dataclass(frozen=True)
class Demand:
    """What one device takes. rate: agreements per hour; radio_on: ms for each; listening: seconds
    per hour on top; currents in mA but for sleep in uA; capacity in mAh."""

    rate: float
    radio_on: float
    listening: float
    peak: float
    listen_current: float
    sleep: float
    capacity: float

    def awake(self):
        """Seconds per hour: (in agreements, listening)."""
        agreeing = self.rate * self.radio_on / 1000
        return agreeing, min(self.listening, _SECONDS_PER_HOUR - agreeing)

    def is_possible(self):
        return self.awake()[0] <= _SECONDS_PER_HOUR

    def charges(self):
        """mAh per hour: {"agreements", "listening", "sleep"}."""
        agreeing, listening = self.awake()
        asleep = _SECONDS_PER_HOUR - agreeing - listening
        return {
            "agreements": self.peak * agreeing / _SECONDS_PER_HOUR,
            "listening": self.listen_current * listening / _SECONDS_PER_HOUR,
            "sleep": self.sleep / 1000 * asleep / _SECONDS_PER_HOUR,
        }

    def days(self):
        return self.capacity / sum(self.charges().values()) / 24


def _quantity(name, default, words):
    kind = click.FloatRange(min=0, min_open=default is None or default > 0)
    return click.option(name, type=kind, default=default, show_default=True, help=words)


@click.command()
@click.argument("file", required=False)
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead of FILE.")
@_quantity("--rate", 1.0, "Agreements per hour.")
@click.option("--radio-on", type=click.FloatRange(min=0, min_open=True), metavar="MS",
              help="Per agreement; default: its modelled latency.")  # fmt: skip
@_quantity("--listening", 0.0, "Seconds per hour that the radio listens besides.")
@_quantity("--peak", 276.0, "mA in an agreement: an ESP32-C3 that sends 802.11n.")
@_quantity("--listen-current", 84.0, "mA while listening: an ESP32-C3 that receives.")
@_quantity("--sleep", 130.0, "uA: light sleep of an ESP32-C3.")
@_quantity("--capacity", 3500.0, "mAh of the battery.")
@click.option("--length", type=click.IntRange(1), default=64, show_default=True,
              help="Bytes of the value that an agreement puts.")  # fmt: skip
@click.option("--mbit", type=float, default=1, show_default=True, help="Of ESP-NOW.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def energy(file, name, radio_on, length, mbit, as_json, **quantities):  # noqa: PLR0913
    """Reckon how many days a replica's battery lasts (the paper's inputs by default).

    The modelled radio-on time is that of the group in FILE, else config.toml.
    """
    config = load(chosen_file(file, name))
    modelled = None
    if radio_on is None:
        modelled = latency(config, length, int(mbit) if mbit == int(mbit) else mbit)
        radio_on = modelled["mean_ms"]
    demand = Demand(radio_on=radio_on, **quantities)
    if not demand.is_possible():
        raise Refusal(
            f"--rate {demand.rate:g}: agreements of {demand.radio_on:g} ms would take"
            f" {demand.awake()[0]:.0f} s of each hour's 3600; lower it"
        )
    result = _result(config, demand, modelled)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _print(config, demand, result)


def latency(config, length=64, mbit=1):
    """{"mean_ms", "most_ms", "operations", "length", "mbit"} of puts in the modelled radio."""
    sizes = {
        parameter.constant: getattr(config, parameter.constant)
        for parameter in PARAMETERS
        if parameter.section in _CARRIED and isinstance(parameter.kind, Whole)
    }
    if config.REPLICA_COUNT not in REPLICA_COUNTS:
        known = ", ".join(str(n) for n in REPLICA_COUNTS)
        raise Refusal(
            f"{config.CONFIG_NAME}: n = {config.REPLICA_COUNT} is not simulated (known: {known});"
            " give --radio-on MS"
        )
    if config.REQUEST_LENGTH_MAX < length + 8:
        raise Refusal(
            f"--length {length}: a put of it needs requests of {length + 8} bytes,"
            f" request_length_max = {config.REQUEST_LENGTH_MAX}; lower it, or give --radio-on MS"
        )
    try:
        sim = Sim(radio=mbit, config=configuration(config.REPLICA_COUNT, mbit, **sizes))
    except ValueError as error:
        raise Refusal(f"--mbit {mbit}: {error}; or give --radio-on MS") from error
    client = sim.replica_count  # an external one
    times = [_put(sim, client, i, length) for i in range(_WARM_UP + _OPERATIONS)][_WARM_UP:]
    return {
        "mean_ms": round(mean(times), 2),
        "most_ms": round(max(times), 2),
        "operations": _OPERATIONS,
        "length": length,
        "mbit": mbit,
    }


def _put(sim, client, i, length):
    """Milliseconds from the submission to the accepted reply."""
    buf = bytearray(length + 8)
    op = bytes(buf[: encode_put(buf, b"k%d" % (i % 4), bytes((i & 255,)) * length)])
    begin = sim.world.now_us
    handle = sim.submit(client, op)
    if not sim.run_until(lambda: handle.done, _PATIENCE_MS):
        raise Refusal(f"the simulated group has not executed {handle} after {_PATIENCE_MS} ms")
    if handle.reply[0]:
        raise Refusal(f"the state is too short for the puts of the model ({handle.reply!r})")
    return (sim.world.now_us - begin) / 1000


def _result(config, demand, modelled):
    charges = demand.charges()
    return {
        "configuration": config.CONFIG_NAME,
        "days": round(demand.days(), 1),
        "paper_days": _PAPER_DAYS,
        "inputs": asdict(demand),
        "modelled": modelled,
        "mah_per_hour": {name: round(charge, 6) for name, charge in charges.items()},
        "sensitivity": [
            {"rate": rate, "days": [_days(demand, rate, seconds) for seconds in _LISTENING]}
            for rate in _RATES
        ],
        "listening": list(_LISTENING),
    }


def _days(demand, rate, listening):
    """None if an hour is too short for so many agreements."""
    variant = replace(demand, rate=rate, listening=listening)
    return round(variant.days(), 1) if variant.is_possible() else None


def _print(config, demand, result):
    console = Console()
    console.print(summary(config), highlight=False, soft_wrap=True)
    table = _table("One device, mAh per hour", "", "for", "at", "mAh")
    agreeing, listening = demand.awake()
    charges = demand.charges()
    each = f"{demand.rate:g} x {demand.radio_on:.4g} ms"
    table.add_row("agreements", each, f"{demand.peak:g} mA", _mah(charges["agreements"]))
    current = f"{demand.listen_current:g} mA"
    table.add_row("listening", f"{listening:g} s", current, _mah(charges["listening"]))
    rest = _SECONDS_PER_HOUR - agreeing - listening
    table.add_row("light sleep", f"{rest:.1f} s", f"{demand.sleep:g} uA", _mah(charges["sleep"]))
    table.add_section()
    table.add_row("sum", "", "", _mah(sum(charges.values())), style="bold")
    console.print(table)
    console.print(
        f"A battery of {demand.capacity:g} mAh lasts {demand.days():.0f} days"
        f" (the paper, by its own inputs: about {_PAPER_DAYS}).",
        highlight=False,
    )
    columns = [f"{seconds} s" for seconds in _LISTENING[:-1]] + ["always"]
    table = _table(
        "Days, by agreements and listening per hour",
        "agreements per hour", *columns,
    )  # fmt: skip
    for row in result["sensitivity"]:
        days = ("" if cell is None else f"{cell:.0f}" for cell in row["days"])
        table.add_row(f"{row['rate']:g}", *days)
    console.print(table)
    console.print(_source(result["modelled"]), highlight=False)


def _source(modelled):
    words = "Currents are data-sheet values; nothing of this is measured."
    if modelled is None:
        return "The radio-on time was given. " + words
    return (
        f"Radio-on time: mean latency of {modelled['operations']} puts of {modelled['length']}"
        f" bytes in the simulator (ESP-NOW at {modelled['mbit']} Mbit/s, counted processor times),"
        f" at most {modelled['most_ms']} ms. {words}"
    )


def _mah(charge):
    return f"{charge:.5f}"


def _table(title, first, *columns):
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table
