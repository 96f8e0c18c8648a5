"""The campaigns of `tinybft simulate --campaign NAME`: what a seed means in each.

A campaign is a module with

    WORDS                    one line for people
    seeds(job)               range of the seeds that it runs if none are chosen
    label(job)               what kind of case the seed of this job is: a row of the table, or ""
    plan(sim, job)           what happens, with `faults` that can be left out; None: fixed
    play(sim, job, plan)     run it; returns what was measured. Raises Violation
    report(results)          lines for people behind the table, from all that was measured

and, where it has them,

    RADIO                    Mbit/s of the radio that it runs on if no medium is chosen
    figures(results)         the same as `report`, for the JSON document
"""

from tools.simulate import byzzfuzz, failover, ratios, swarm, twins

CAMPAIGNS = {
    "swarm": swarm,
    "byzzfuzz": byzzfuzz,
    "twins": twins,
    "throughput": ratios,
    "failover": failover,
}
