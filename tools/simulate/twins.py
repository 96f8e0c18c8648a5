"""Twins: two devices with one identity, in every partition of each of some rounds (F62).

(Bano et al., "Twins: BFT systems made robust", OPODIS 2021.) A twin has the keys of its sibling
and its own memory, so both together equivocate without a line of malicious code. Rounds last a
little longer than the time-out; in each the five devices of four replicas are divided in one of
the 52 possible ways, so that views change in some and not in others. Seeds enumerate identity
(the last replica, or the primary of view 0) x partition of round 1 x partition of round 2, in
an order that spreads any part of it; beyond the last one they start again with other luck.
"""

import random

from tools.simulate.swarm import LIVENESS_MS

WORDS = "Two devices with one identity, in every partition of each of two rounds."

_ROUNDS = 2
_ROUND_MS = 1400
_THINK_MS = 150
_STRIDE = 2221  # a prime that does not divide the number of cases


def partitions(devices):
    """All ways to divide `devices` into groups."""
    if not devices:
        return [[]]
    first, rest = devices[0], devices[1:]
    found = []
    for smaller in partitions(rest):
        found.append([[first], *smaller])
        for i, group in enumerate(smaller):
            found.append([*smaller[:i], [first, *group], *smaller[i + 1 :]])
    return found


def _ways(replica_count):
    """Partitions of the replicas and the twin; in a larger group the replicas from the fourth on
    stay together, or there would be too many."""
    return partitions([*range(4), "twin"]), list(range(4, replica_count))


def case_count(replica_count=4):
    return 2 * len(_ways(replica_count)[0]) ** _ROUNDS


def seeds(job):
    return range(1, 1 + case_count(job.replicas))


def case(seed, replica_count):
    """(identity of the twins, [partition of each round])"""
    ways, rest = _ways(replica_count)
    number = (seed - 1) * _STRIDE % case_count(replica_count)
    number, which = divmod(number, 2)
    rounds = []
    for _ in range(_ROUNDS):
        number, way = divmod(number, len(ways))
        groups = [list(group) for group in ways[way]]
        groups[0] = groups[0] + rest
        rounds.append(groups)
    return (3, 0)[which], rounds


def label(job):
    return f"twins of R{case(job.seed, job.replicas)[0]}"


def plan(_sim, _job):
    return None


def play(sim, job, plan):  # noqa: ARG001
    identity, rounds = case(sim.seed, sim.replica_count)
    twin = sim.twin(identity)
    draw = random.Random(f"load {sim.seed}")
    end_ms = len(rounds) * _ROUND_MS

    def load(client):
        if sim.now_ms < end_ms:
            if sim.is_correct_client(client) and not sim.pending(client):
                sim.submit(client, sim.sample_operation(draw))
            sim.after(draw.randrange(1, 2 * _THINK_MS), lambda: load(client))

    for client in range(sim.client_count):
        load(client)
    for groups in rounds:
        sim.partition([[twin if d == "twin" else d for d in group] for group in groups])
        sim.run(_ROUND_MS)
    sim.heal()
    measured = sim.check_liveness(LIVENESS_MS)
    sim.check()
    return measured


def report(results):
    if not results:
        return ()
    total = case_count(results[0].job.replicas)
    seen = len({(r.job.seed - 1) % total for r in results})
    return (f"{seen} of {total} cases of the enumeration",)
