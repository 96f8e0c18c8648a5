"""Message orders across one view change, explored systematically on the real code.

One or two requests, four replicas, a network without time: the messages in flight stand in one
queue, and every delivery is a step. Undisturbed the head is delivered. A *schedule* disturbs:

    (step, DELAY)         the head goes to the back of the queue
    (step, DROP)          it is lost
    (step, EXPIRE, r)     the request timers of replica r expire (r = ALL: of all replicas)

All schedules with one expiry at every step and up to `delays` disturbances at every choice of
steps are run (delay-bounded exploration); longer ones are drawn at random. S1 (one batch per
seqno) is checked after every step, and in the end, when all is delivered and repaired, that
everybody executed the same, every request once.

    python -m tests.sim.orders --delays 2 --stride 7      every 7th schedule with two of them
    python -m tests.sim.orders --random 10000             random schedules with up to 12
"""

import argparse
import itertools
import random
import sys
import time

from hal.sim import make_crypto
from tests.tinybft.bench import Ledger, make_config
from tinybft import wire
from tinybft.auth import Authenticator
from tinybft.jitter import Jitter
from tinybft.memory import Memory
from tinybft.replica import Replica

DELAY, DROP, EXPIRE = "delay", "drop", "expire"
ALL = -1
CONFIG = make_config(PIPELINE=2)
CLIENT = 4
STEPS_MAX = 4000
_TICK_MS = 100  # a longer pause would pass for a freeze
_EXPIRY_MS = CONFIG.REQUEST_MS + 100


class Orders:
    """One run under a schedule: {step: (what, ...)}."""

    def __init__(self, schedule, requests=1):
        self.schedule = schedule
        self.queue = []
        self.step = 0
        self.now = [1000] * 4
        self.agreed = {}
        self.seen = [0] * 4
        self.services = [Ledger() for _ in range(4)]
        self.auths = [
            Authenticator(CONFIG, node, make_crypto(CONFIG, node, 1))
            for node in range(CONFIG.CLIENT_COUNT)
        ]
        self.replicas = [self._replica(i) for i in range(4)]
        self._scratch = bytearray(CONFIG.MESSAGE_LENGTH_MAX)
        for number in range(1, requests + 1):
            request = self._request(CLIENT - (number - 1), b"\x04op%d" % number)
            sender = request[2]
            for replica in range(4):
                if replica != sender:
                    self.queue.append((replica, request))
            if sender < 4:
                self.replicas[sender].on_own_request(bytearray(request))
        self.requests = requests

    def _replica(self, i):
        def send(target, buf, length):
            message = bytes(memoryview(buf)[:length])
            for receiver in range(4) if target < 0 else (target,):
                if receiver != i and receiver < 4:
                    self.queue.append((receiver, message))

        replica = Replica(
            CONFIG, i, Memory(CONFIG), self.auths[i], send, self.services[i], Jitter(i + 1)
        )
        replica.start(self.now[i])
        return replica

    def _request(self, client, operation):
        buf = bytearray(CONFIG.MESSAGE_LENGTH_MAX)
        wire.put_header(buf, wire.REQUEST, 0, client, CONFIG.GROUP_ID, 0, 1)
        end = wire.HEADER_LENGTH + len(operation)
        buf[wire.HEADER_LENGTH : end] = operation
        tags = self.auths[client].tag_length * (4 if client >= 4 else 3)
        wire.put_length(buf, end + tags)
        return bytes(buf[: self.auths[client].seal(buf, end)])

    # --- steps ---

    def run(self):
        """Until the queue is empty and all have executed everything. Raises AssertionError."""
        while self.step < STEPS_MAX:
            self._disturb(self.schedule.get(self.step))
            self.step += 1
            if self.queue:
                self._deliver(*self.queue.pop(0))
            elif self.step > max(self.schedule, default=0):
                if self._is_settled():
                    break
                self._repair()
        assert self._is_settled(), [service.ran for service in self.services]
        for service in self.services:
            operations = [row[1] for row in service.ran]
            assert len(operations) == len(set(operations)), operations
        states = [replica.core.state for replica in self.replicas]
        states = {state.content(state.length) for state in states}
        assert len(states) == 1, "the states differ"

    def _disturb(self, what):
        if what is None:
            return
        if what[0] == EXPIRE:
            for replica in range(4) if what[1] == ALL else (what[1],):
                for _ in range(_EXPIRY_MS // _TICK_MS):
                    self._tick(replica, _TICK_MS)
        elif self.queue:
            head = self.queue.pop(0)
            if what[0] == DELAY:
                self.queue.append(head)

    def _deliver(self, receiver, message):
        replica = self.replicas[receiver]
        self._scratch[: len(message)] = message
        replica.receive(self._scratch, len(message), self.now[receiver])
        self._check(receiver)

    def _tick(self, replica, ms):
        self.now[replica] += ms
        self.replicas[replica].tick(self.now[replica])
        self._check(replica)

    def _repair(self):
        """Nothing is in flight: time passes until somebody asks."""
        wait = min(self.replicas[i].remaining_ms(self.now[i]) for i in range(4))
        for replica in range(4):
            self._tick(replica, max(1, wait))

    def _check(self, replica):
        """S1 of what this replica has just executed; and the number that null took."""
        core = self.replicas[replica].core
        executed = core.progress.last_executed
        ran = {row[2]: row[1] for row in self.services[replica].ran}
        for seqno in range(self.seen[replica] + 1, executed + 1):
            batch = ran.get(seqno)
            if not core.transfer.fetched:
                agreed = self.agreed.setdefault(seqno, batch)
                assert agreed == batch, (replica, seqno, agreed, batch)
        self.seen[replica] = executed

    def _is_settled(self):
        marks = {replica.progress.last_executed for replica in self.replicas}
        counts = {replica.core.execution.operations() for replica in self.replicas}
        return len(marks) == 1 and counts == {self.requests}


def length_of(requests):
    """Steps of the undisturbed run until the queue is empty for the first time."""
    run = Orders({}, requests)
    while run.queue:
        run.step += 1
        run._deliver(*run.queue.pop(0))
    return run.step


def schedules(requests, delays, stride=1):
    """All schedules with one expiry and `delays` disturbances, or every `stride`-th of them."""
    length = length_of(requests)
    count = 0
    for expiry in range(length + 1):
        for who in (ALL, 0, 1, 2, 3):
            for steps in itertools.combinations(range(2 * length), delays):
                for kinds in itertools.product((DELAY, DROP), repeat=delays):
                    count += 1
                    if count % stride == 0:
                        schedule = dict(zip(steps, ((k,) for k in kinds), strict=True))
                        schedule[expiry] = (EXPIRE, who)
                        yield schedule


def random_schedules(count, requests, seed=1):
    draw = random.Random(seed)
    length = length_of(requests)
    for _ in range(count):
        schedule = {}
        for _ in range(draw.randint(2, 12)):
            schedule[draw.randrange(3 * length)] = (draw.choice((DELAY, DROP)),)
        for _ in range(draw.randint(1, 4)):
            schedule[draw.randrange(2 * length)] = (EXPIRE, draw.choice((ALL, 0, 1, 2, 3)))
        yield schedule


def explore(chosen, requests):
    """Run all; returns (runs, steps, view changes). Prints the schedule that fails."""
    runs = steps = changes = 0
    for schedule in chosen:
        run = Orders(schedule, requests)
        try:
            run.run()
        except AssertionError:
            print("fails:", requests, "requests,", schedule)
            raise
        runs += 1
        steps += run.step
        changes += any(replica.progress.view for replica in run.replicas)
    return runs, steps, changes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--delays", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for requests in (1, 2):
        begin = time.monotonic()
        if options.random:
            chosen = random_schedules(options.random, requests, options.seed)
        else:
            chosen = schedules(requests, options.delays, options.stride)
        runs, steps, changes = explore(chosen, requests)
        print(
            f"{requests} request(s): {runs} schedules, {steps} steps with S1 checked after each,"
            f" {changes} with a view change, 0 violations, {time.monotonic() - begin:.0f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
