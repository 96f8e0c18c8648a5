"""Non-volatile memory of a simulated replica on an I2C bus: why it is used, and how long.

    bus = Bus(sim, 1, clock_hz=400000)        from now on; a restart ends the causes
    ...
    bus.counts                                {cause: Transfers}

Time is that of the driver (hal/fram_i2c.py), in chunks; clock_hz None: it takes no time. What
is transferred belongs to the innermost of CAUSES under way.
"""

from dataclasses import dataclass

from hal.fram_i2c import read_us, write_us

PREPARE = "before PRE-PREPARE, PREPARE"
COMMIT = "before COMMIT"
REPLY = "before REPLY"
CHECKPOINT = "before CHECKPOINT"
STABLE = "before low_mark moves"
VIEW = "view change"
SCRUB = "scrub"
BOOT = "boot"

# What a client waits for, and what comes when its reply is on the way.
AWAITED = (PREPARE, COMMIT, REPLY)
LATER = (CHECKPOINT, STABLE)

# (part of the core, method, cause)
CAUSES = (
    ("durability", "say_batch", PREPARE),
    ("durability", "store_batch", COMMIT),
    ("durability", "say_prepared", COMMIT),
    ("execution", "run", REPLY),
    ("checkpoints", "take", CHECKPOINT),
    ("durability", "note_installed", STABLE),
    ("durability", "keep_batch", VIEW),
    ("durability", "leave_view", VIEW),
    ("durability", "begin_view", VIEW),
    ("durability", "may_acknowledge", VIEW),
    ("scrub", "step", SCRUB),
)
_AMID = tuple(cause for _, _, cause in CAUSES)


@dataclass
class Transfers:
    """Transfers and bytes, and the microseconds that they take at either clock of the bus."""

    writes: float = 0
    written: float = 0
    reads: float = 0
    read: float = 0
    us_400k: float = 0
    us_1m: float = 0

    def add_write(self, length):
        self.writes += 1
        self.written += length
        self.us_400k += write_us(length)
        self.us_1m += write_us(length, 1000000)

    def add_read(self, length):
        self.reads += 1
        self.read += length
        self.us_400k += read_us(length)
        self.us_1m += read_us(length, 1000000)

    def __add__(self, other):
        mine, theirs = vars(self), vars(other)
        return Transfers(**{name: mine[name] + theirs[name] for name in mine})

    def per(self, count):
        return Transfers(**{name: value / count for name, value in vars(self).items()})


def total(transfers):
    return sum(transfers, Transfers())


class Bus:
    """Stands between device `i` and its store. Of what it does after a restart no cause but
    BOOT is known. What oracles read is not counted and takes no time."""

    def __init__(self, sim, i, clock_hz=None):
        self.clock_hz = clock_hz
        self._hal = hal = sim.device(i)
        self._store = store = hal.store
        self._read_into, self._write, self._act = store.read_into, store.write, hal.act
        store.read_into, store.write, hal.act = self.read_into, self.write, self.act
        self._works = False
        core = sim.core(i)
        self._causes = [PREPARE if core else BOOT]  # requests and batches, as they arrive
        self.counts = {cause: Transfers() for cause in (BOOT, PREPARE, *_AMID)}
        if core:
            for part, method, cause in CAUSES:
                self._watch(getattr(core, part), method, cause)

    def _watch(self, part, method, cause):
        function = getattr(part, method)

        def watched(*arguments):
            self._causes.append(cause)
            try:
                return function(*arguments)
            finally:
                self._causes.pop()

        setattr(part, method, watched)

    def act(self, action):
        """In place of the device's: what happens within is the device's work."""

        def working():
            self._works = True
            try:
                action()
            finally:
                self._works = False

        self._act(working)

    def read_into(self, address, buf, length):
        if self._works:
            self.counts[self._causes[-1]].add_read(length)
            if self.clock_hz:
                self._store.busy_us += read_us(length, self.clock_hz)
        self._read_into(address, buf, length)

    def write(self, address, buf, length):
        if self._works:
            self.counts[self._causes[-1]].add_write(length)
            if self.clock_hz:
                self._store.busy_us += write_us(length, self.clock_hz)
        self._write(address, buf, length)

    def total(self):
        """Everything but the scrub, which goes on all the time."""
        return total(one for cause, one in self.counts.items() if cause != SCRUB)
