"""What a longer state costs while the number of modified blocks stays the same.

A service of blocks; each operation modifies the first byte of `blocks` of them, spread evenly
over the state. Counted are

    checkpoint    what one replica does in Checkpoints.take: bytes hashed, digests, and the lines
                  of the library that the interpreter executes there (a deterministic measure of
                  its work; microseconds of a host are not)
    transfer      a replica that missed the writes catches up: messages, bytes, frames,
                  milliseconds on the modelled radio; bytes that the one that fetches hashes, and
                  lines of all replicas
"""

import sys
from dataclasses import dataclass

from rich.table import Table

from hal.frames import HEADER_LENGTH as FRAGMENT_HEADER
from tinybft import wire
from tinybft.service import Service
from tools.config import ROOT
from tools.refusal import Refusal
from tools.simulate.closed_loop import PATIENCE_MS
from tools.simulate.configs import configuration
from tools.simulate.sim import Sim

KIB = 1024
BLOCK_LENGTH = 1024
BLOCKS = 1
BLOCKS_MAX = 16  # that one operation modifies
AWAY = 2
CHECKPOINTS = 4  # that are counted
_LIBRARY = str(ROOT / "tinybft")


@dataclass(frozen=True)
class StateCell:
    kib: int
    blocks: int
    rate: float
    seed: int


class Blocks(Service):
    """An operation of two bytes, number of blocks and value, sets the first byte of so many."""

    name = "blocks"
    state_length = BLOCK_LENGTH
    reads_view = False

    def setup(self, state):
        self._count = state.length // BLOCK_LENGTH
        self._value = bytearray(1)

    def pages_max(self, length, page_length):
        return BLOCKS_MAX

    def execute(self, state, op, length, reply, ctx):
        self._value[0] = op[1]
        number = min(op[0], self._count)
        for i in range(number):
            state.write(i * self._count // number * BLOCK_LENGTH, self._value, 0, 1)
        return 0


class Lines:
    """Counts the lines of the library that are executed while it is open."""

    def __init__(self):
        self.count = 0

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._entered)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _entered(self, frame, event, _argument):
        if not frame.f_code.co_filename.startswith(_LIBRARY):
            return None
        frame.f_trace_lines = True
        return self._line

    def _line(self, _frame, event, _argument):
        self.count += event == "line"
        return self._line


class Counted:
    """The calls of `owner.name`, from now on: how many, lines, digests, bytes hashed."""

    def __init__(self, owner, name, crypto):
        self.calls = self.lines = self.digests = self.digested = 0
        self._call = getattr(owner, name)
        self._crypto = crypto
        setattr(owner, name, self._counted)

    def _counted(self, *arguments):
        crypto = self._crypto
        digests, digested = crypto.digests, crypto.digested
        with Lines() as lines:
            result = self._call(*arguments)
        self.calls += 1
        self.lines += lines.count
        self.digests += crypto.digests - digests
        self.digested += crypto.digested - digested
        return result

    def mean(self):
        calls = max(1, self.calls)
        return {
            name: round(getattr(self, name) / calls) for name in ("lines", "digests", "digested")
        }


def state_config(cell, rate):
    length = cell.kib * KIB
    sizes = {"STATE_LENGTH": length, "BLOCK_LENGTH": BLOCK_LENGTH, "BATCH_PAGES_MAX": BLOCKS_MAX}
    return configuration(4, rate, **sizes, RAM_MAX=10**8)


def measure_state(cell):
    """The row of a length of the state."""
    blocks = min(cell.blocks, cell.kib * KIB // BLOCK_LENGTH)
    return {
        "kib": cell.kib,
        "blocks": blocks,
        "checkpoint": checkpoint(cell, blocks),
        "transfer": transfer(cell, blocks),
    }


def write(sim, blocks, value):
    handle = sim.submit(0, bytes((blocks, value & 255)))
    if not sim.run_until(lambda: handle.done, PATIENCE_MS):
        raise Refusal(f"a write was not executed within {PATIENCE_MS // 1000} s of virtual time")


def checkpoint(cell, blocks):
    """{lines, digests, digested} of taking a checkpoint, at a backup; mean of a few."""
    sim = Sim(seed=cell.seed, service=Blocks, config=state_config(cell, None))
    interval = sim.config.CHECKPOINT_INTERVAL
    for value in range(2 * interval):
        write(sim, blocks, value)
    sim.run(100)
    device = sim.device(AWAY)
    counted = Counted(sim.core(AWAY).checkpoints, "take", device.crypto)
    for value in range(CHECKPOINTS * interval):
        write(sim, blocks, value)
    sim.run(100)
    return counted.mean()


class Traffic:
    """Messages of state transfer, from now on."""

    def __init__(self, sim):
        self.messages = self.bytes = self.frames = 0
        self.began_us = None
        self._room = sim.config.FRAME_LENGTH - FRAGMENT_HEADER
        self._world = sim.world
        self._before = sim.world.on_sent
        sim.world.on_sent = self._on_sent

    def _on_sent(self, hal, target, octets):
        if octets[1] >= wire.FETCH:
            if self.began_us is None:
                self.began_us = self._world.now_us
            self.messages += 1
            self.bytes += len(octets)
            self.frames += -(-len(octets) // self._room)
        self._before(hal, target, octets)


def transfer(cell, blocks):
    """{messages, bytes, frames, ms, lines, blocks} until a replica that was cut off is level."""
    sim = Sim(
        seed=cell.seed, service=Blocks, radio=cell.rate, config=state_config(cell, cell.rate)
    )
    write(sim, blocks, 1)
    others = [i for i in range(sim.client_count) if i != AWAY]
    sim.partition([[AWAY], others])
    for value in range(3 * sim.config.WINDOW):
        write(sim, blocks, 2 + value)
    sim.run(2000)
    traffic = Traffic(sim)
    core = sim.core(AWAY)
    fetched = core.transfer.fetched
    crypto = sim.device(AWAY).crypto
    digested = crypto.digested
    goal = max(sim.executed(i) for i in others[:3])
    sim.heal()
    with Lines() as lines:
        is_level = sim.run_until(lambda: sim.executed(AWAY) >= goal, PATIENCE_MS)
    if not is_level:
        raise Refusal(f"{cell.kib} KiB: not level after {PATIENCE_MS // 1000} s of virtual time")
    return {
        "blocks": core.transfer.fetched - fetched,
        "messages": traffic.messages,
        "bytes": traffic.bytes,
        "frames": traffic.frames,
        "ms": round((sim.world.now_us - traffic.began_us) / 1000, 1),
        "digested": crypto.digested - digested,
        "lines": lines.count,
    }


def state_table(figures):
    """One row per length of the state."""
    modified = figures["chosen"]["blocks"]
    table = Table(title=f"State: {modified} block(s) of 1 KiB modified", title_justify="left")
    for name in ("KiB", "checkpoint: bytes hashed", "digests", "lines"):
        table.add_column(name, justify="right")
    for name in ("transfer: blocks", "messages", "bytes", "frames", "ms", "hashed", "lines"):
        table.add_column(name, justify="right")
    for row in figures["state"]:
        held, moved = row["checkpoint"], row["transfer"]
        table.add_row(
            str(row["kib"]),
            *(str(held[name]) for name in ("digested", "digests", "lines")),
            *(str(moved[name]) for name in ("blocks", "messages", "bytes", "frames")),
            f"{moved['ms']:.0f}",
            str(moved["digested"]),
            str(moved["lines"]),
        )
    return table
