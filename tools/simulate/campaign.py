"""Many seeds on all cores: what one run reports, how runs are spread, how a failure is shrunk."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

from tools.simulate.campaigns import CAMPAIGNS
from tools.simulate.oracles import Violation
from tools.simulate.scripts import ScenarioFailed, load_service, run_script
from tools.simulate.sim import Sim

_SHRINK_RUNS_MAX = 60


TURN_MS = 2  # of --turns


@dataclass(frozen=True)
class Job:
    """Everything that a run is a function of; travels to the other processes."""

    seed: int = 1
    replicas: int = 4
    service: str = None
    script: str = None
    radio: float = None
    ms: int = None
    steps: int = None
    faults: tuple = None  # indices of those of the plan that happen, None = all
    with_primary: bool = True
    campaign: str = "swarm"
    rounds: int = None
    durable: str = None
    read_only: bool = False
    tentative: bool = False
    turns: bool = False

    @property
    def options(self):
        """Constants of the configuration that it changes."""
        chosen = {"READ_ONLY": self.read_only, "TENTATIVE": self.tentative}
        turns = {"STAGGER_MS": TURN_MS} if self.turns else {}
        return {name: True for name, is_on in chosen.items() if is_on} | turns

    @property
    def course(self):
        """The module of its campaign."""
        return CAMPAIGNS[self.campaign]

    def command(self):
        """The one command that runs it again."""
        words = ["tinybft simulate", f"--seed {self.seed}"]
        if self.campaign != "swarm":
            words.insert(1, f"--campaign {self.campaign}")
        if self.replicas != 4:
            words.append(f"--replicas {self.replicas}")
        for name in ("service", "script", "durable", "radio", "ms", "steps", "rounds"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"--{name} {value}")
        if self.radio is None and hasattr(self.course, "RADIO"):
            words.append("--radio ideal")
        if self.faults is not None:
            words.append("--faults " + (",".join(str(i) for i in self.faults) or "none"))
        flags = (self.with_primary, "--spare-primary"), (not self.read_only, "--read-only")
        for is_off, flag in (
            *flags,
            (not self.tentative, "--tentative"),
            (not self.turns, "--turns"),
        ):
            if not is_off:
                words.append(flag)
        return " ".join(words)


@dataclass
class Result:
    """What became of a run. `violation`: None, or {"oracle", "words", "at_ms"}."""

    job: Job
    violation: dict = None
    operations: int = 0
    messages: int = 0
    virtual_ms: int = 0
    wall_s: float = 0.0
    liveness: dict = field(default_factory=dict)
    air: str = ""


def simulated(job, trace=None):
    """Run one job. Returns (sim, Result); raises Refusal for input that is no simulation."""
    service = load_service(job.service)
    begin = time.perf_counter()
    sim = Sim(
        job.seed,
        job.replicas,
        radio=job.radio,
        durable=job.durable,
        trace=trace,
        command=job.command(),
        **service,
        **job.options,
    )
    result = Result(job)
    try:
        if job.script:
            run_script(job.script, sim, job.ms)
        else:
            result.liveness = job.course.play(sim, job, job.course.plan(sim, job))
    except (Violation, ScenarioFailed) as failure:
        result.liveness = getattr(failure, "measured", {})
        result.violation = {
            "oracle": failure.oracle,
            "words": failure.words,
            "at_ms": sim.world.now_us / 1000,
        }
    result.operations = sim.oracles.operations
    result.messages = sim.message_count
    result.virtual_ms = sim.now_ms
    result.wall_s = time.perf_counter() - begin
    result.air = sim.air_digest()
    return sim, result


def run_job(job):
    """`simulated` for another process: the Result alone."""
    return simulated(job)[1]


def run_jobs(jobs, process_count, on_result):
    """Run all jobs on some processes; `on_result(Result)` for each, in the order of seeds."""
    if process_count == 1 or len(jobs) == 1:
        for job in jobs:
            on_result(run_job(job))
        return
    context = multiprocessing.get_context("fork")
    chunk = max(1, min(16, len(jobs) // (4 * process_count)))
    with ProcessPoolExecutor(process_count, mp_context=context) as pool:
        try:
            for result in pool.map(run_job, jobs, chunksize=chunk):
                on_result(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def shrunk(result):
    """A Result that fails too, with fewer faults and less time, as far as few runs find one."""
    job = result.job
    if job.script or result.violation is None:
        return result
    service = load_service(job.service)
    chosen = service | job.options
    sim = Sim(job.seed, job.replicas, radio=job.radio, durable=job.durable, **chosen)
    plan = job.course.plan(sim, replace(job, faults=None))
    if plan is None:
        return result
    kept = tuple(range(len(plan.faults))) if job.faults is None else job.faults
    best = result
    runs = 0
    dropped = True
    while dropped:
        dropped = False
        for i in reversed(kept):
            fewer = tuple(k for k in kept if k != i)
            attempt = run_job(replace(best.job, faults=fewer))
            runs += 1
            if _is_same(attempt, result):
                best, kept, dropped = attempt, fewer, True
            if runs >= _SHRINK_RUNS_MAX:
                return best
    return _shortened(best)


def _is_same(attempt, result):
    found = attempt.violation
    return found is not None and found["oracle"] == result.violation["oracle"]


def _shortened(result):
    """The same with half the time under faults, as often as it still fails."""
    best = result
    ms = result.job.ms or min(result.virtual_ms, 6000)
    while ms > 100:
        ms //= 2
        attempt = run_job(replace(best.job, ms=ms))
        if not _is_same(attempt, result):
            return best
        best = attempt
    return best
