"""The hands of a faulty replica: what behaviours are made of.

    adversary = Adversary(sim, i)
    adversary.speak(lambda frame: ...)     decides on what its device sends, per receiver
    adversary.send(dst, "COMMIT", view, seqno, digest)

Its random numbers depend on the seed of the run and on `i` alone. A behaviour ends when another
one takes over (`speak`, `listen` and `every` of the former stop).
"""

import hashlib
import random

from tools.simulate.fields import Fields

_turns = "adversary_turns"


class Adversary:
    def __init__(self, sim, i):
        self.sim = sim
        self.i = i
        self.random = random.Random(f"adversary {sim.seed} {i}")
        self.replicas = [r for r in sim.replicas if r != i]
        turns = sim.__dict__.setdefault(_turns, {})
        self._turn = turns[i] = turns.get(i, 0) + 1
        sim.filter_from(i, None)
        sim.filter_to(i, None)

    @property
    def is_acting(self):
        """True until another behaviour of this replica takes over."""
        return getattr(self.sim, _turns)[self.i] == self._turn

    @property
    def core(self):
        """Its own core; None while it is off."""
        return self.sim.core(self.i)

    def is_primary_of(self, view):
        return view % self.sim.replica_count == self.i

    def is_own(self, frame):
        """False for what it merely relays."""
        return frame.sender == self.i

    # --- what it does ---

    def speak(self, function):
        """`function(frame)` decides on each (message, receiver) of its device; see on_frame."""
        self.sim.filter_from(self.i, function)

    def listen(self, function):
        """The same for what is sent to its device."""
        self.sim.filter_to(self.i, function)

    def every(self, ms, action):
        """Call `action()` again and again while its device is on."""

        def again():
            if self.is_acting:
                if self.sim.is_up(self.i) and not self.sim.device(self.i).frozen:
                    action()
                self.sim.after(ms, again)

        self.sim.after(ms, again)

    def after(self, ms, action):
        self.sim.after(ms, lambda: self.sim.is_up(self.i) and action())

    def send(self, dst, kind, view, seqno, body=b"", flags=0):  # noqa: PLR0913
        """A message of its own with good tags, now."""
        view, seqno = view & 0xFFFFFFFF, seqno & 0xFFFFFFFF
        message = self.sim.message(kind, self.i, view, seqno, body, flags)
        self.sim.send_as(self.i, dst, self.sim.seal(self.i, message, to=max(dst, 0)))

    def fields(self, frame):
        return Fields(self.sim, frame.bytes)

    def sealed(self, frame, fields, bad_for=()):
        """The frame with these fields in place of its own."""
        receiver = self.sim.device(frame.dst).node_id
        message = self.sim.seal(self.i, fields.octets(), bad_for, to=receiver)
        return frame.replaced(message)

    # --- what it draws ---

    def some(self, ids=None):
        """A random, non-empty part of `ids` (the other replicas)."""
        ids = list(self.replicas if ids is None else ids)
        return set(self.random.sample(ids, self.random.randint(1, len(ids))))

    def draw_for(self, *what):
        """Random numbers that depend on `what` alone: the same at each repetition."""
        return random.Random(f"{self.sim.seed} {self.i} {what}")

    def false_digest(self, *what):
        """A digest of nothing; all faulty replicas of the group name the same one for `what`."""
        return self.digest(f"{self.sim.seed} {what}".encode())

    def digest(self, octets):
        return hashlib.sha256(octets).digest()
