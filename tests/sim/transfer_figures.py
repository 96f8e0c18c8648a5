"""What a state transfer moves and how long it takes: `python -m tests.sim.transfer_figures`.

Sizes of config.toml: 16 KiB of state in blocks of 1 KiB, and one more block for client table
and record. A replica was cut off while others wrote to 1, 4 or 16 of its 16 blocks, then hears
them again; nothing else is requested. Counted are FETCH, META-DATA and DATA (frames: of at most
250 bytes) of the whole group; times are virtual, medians over seeds, with the range.

Second table: a replica that was off for many checkpoints comes back under full load.
"""

import argparse
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.sim.load import Load, blocks_fetched, execute, highest, isolate, run_checkpoints
from tinybft import wire
from tinybft.service import Service
from tools.simulate.sim import Sim

AWAY = 2
SIZES = {
    "STATE_LENGTH": 16384,
    "BLOCK_LENGTH": 1024,
    "BATCH_PAGES_MAX": 256,
    "REQUEST_LENGTH_MAX": 1024,
    "REPLY_LENGTH_MAX": 1024,
    "MESSAGE_LENGTH_MAX": 1152,
}
MEDIA = ((None, 0), (1, 0), (1, 0.1), (1, 0.3))


class Blocks(Service):
    """An operation of two bytes, count and value, fills the first `count` blocks."""

    name = "blocks"
    state_length = SIZES["STATE_LENGTH"]
    reads_view = False

    def execute(self, state, op, length, reply, ctx):
        block = bytes((op[1],)) * SIZES["BLOCK_LENGTH"]
        for i in range(op[0]):
            state.write(i * len(block), block, 0, len(block))
        return 0

    @staticmethod
    def sample(random):
        return bytes((1, random.randrange(256)))


class Traffic:
    """Bytes and frames of state transfer since it was made, and when the first was sent."""

    def __init__(self, sim):
        self.bytes = self.frames = self.fetches = 0
        self.began_ms = None
        self._sim = sim
        self._room = sim.config.FRAME_LENGTH - 4
        self._before = sim.world.on_sent
        sim.world.on_sent = self._on_sent

    def _on_sent(self, hal, target, message):
        if message[1] >= wire.FETCH:
            if self.began_ms is None:
                self.began_ms = self._sim.now_ms
            self.fetches += message[1] == wire.FETCH
            self.bytes += len(message)
            self.frames += -(-len(message) // self._room)
        self._before(hal, target, message)


def differing(block_count, radio, loss, seed):
    """(blocks fetched, FETCHes, bytes, frames, ms of the transfer, ms since it hears again)."""
    sim = Sim(seed=seed, service=Blocks, radio=radio, **SIZES)
    execute(sim, op=bytes((1, 1)), ms=60000)
    isolate(sim, AWAY)
    execute(sim, op=bytes((block_count, 2)), ms=60000)
    for value in range(8):  # on, until its window is left behind
        execute(sim, op=bytes((1, 3 + value)), ms=60000)
    sim.run(2000)
    sim.heal()
    sim.network(loss=loss)
    traffic = Traffic(sim)
    begin = sim.now_ms
    core = sim.core(AWAY)
    assert sim.run_until(lambda: core.transfer.running, 60000)
    assert sim.run_until(lambda: not core.transfer.running, 600000)
    moved = (blocks_fetched(sim, AWAY), traffic.fetches, traffic.bytes, traffic.frames)
    return *moved, sim.now_ms - traffic.began_ms, sim.now_ms - begin


def away(checkpoints, radio, loss, seed):
    """(ms until it is level, batches that the group executed meanwhile, blocks fetched)."""
    sim = Sim(seed=seed, radio=radio, **SIZES)
    load = Load(sim)
    run_checkpoints(sim, 2)
    sim.crash(AWAY)
    run_checkpoints(sim, checkpoints, ms=10**7)
    sim.network(loss=loss)
    sim.restart(AWAY)
    begin, executed = sim.now_ms, highest(sim)
    level = sim.run_until(lambda: sim.executed(AWAY) >= highest(sim) - 1, 120000)
    result = (sim.now_ms - begin, highest(sim) - executed, blocks_fetched(sim, AWAY))
    load.stop()
    assert level, f"not level after 120 s: {sim.executed(AWAY)} of {highest(sim)}"
    sim.network(loss=0)
    sim.check_liveness(60000)  # every replica casts a deciding vote, the one that came back too
    return result


def _spread(values):
    low, high = min(values), max(values)
    return f"{median(values):.0f}" + ("" if low == high else f" ({low}..{high})")


def _medium(radio, loss):
    return "ideal network" if radio is None else f"{radio} Mbit/s, {loss:.0%} loss"


def _table(title, columns, rows):
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[10, 100])
    options = parser.parse_args()
    rows = []
    for radio, loss in MEDIA:
        for count in (1, 4, 16):
            runs = [differing(count, radio, loss, seed) for seed in range(options.seeds)]
            *moved, transfer_ms, all_ms = zip(*runs, strict=True)
            counts = [f"{median(values):.0f}" for values in moved]
            rows.append(
                (_medium(radio, loss), str(count), *counts, _spread(transfer_ms), _spread(all_ms))
            )
    columns = ("medium", "differ", "blocks", "FETCH", "bytes", "frames", "ms", "ms since it hears")
    _table("State transfer to an idle replica", columns, rows)
    rows = []
    for radio, loss in MEDIA:
        for count in options.checkpoints:
            runs = [away(count, radio, loss, seed) for seed in range(min(3, options.seeds))]
            spread = [_spread(values) for values in zip(*runs, strict=True)]
            rows.append((_medium(radio, loss), str(count), *spread))
    columns = ("medium", "checkpoints off", "ms until level", "batches meanwhile", "blocks")
    _table("Back under full load", columns, rows)


if __name__ == "__main__":
    main()
