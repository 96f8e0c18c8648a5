"""`tinybft simulate`: exit codes, messages, replay, many seeds."""

import json

import pytest

from tests.tools.support import run


def script(tmp_path, text):
    path = tmp_path / "scenario.py"
    path.write_text(text, encoding="utf-8")
    return path


def simulate(*arguments):
    return run("simulate", *arguments)


def test_one_seed():
    result = simulate("--seed", 3, "--ms", 300, "--spare-primary")
    assert result.exit_code == 0, result.output
    assert "1 seeds, 0 violations" in result.stdout
    assert "operations per second" in result.stdout


def test_many_seeds_in_parallel_are_the_same_as_one_by_one():
    arguments = ("--seeds", "1..6", "--ms", 200, "--spare-primary", "--json")
    documents = []
    for jobs in (1, 2):
        result = simulate(*arguments, "--jobs", jobs)
        assert result.exit_code == 0, result.output
        documents.append(json.loads(result.stdout))
    for name in ("seeds", "violations", "operations", "messages", "virtual_s"):
        assert documents[0][name] == documents[1][name]
    assert documents[0]["seeds"] == 6
    assert documents[0]["operations"] > 10


@pytest.mark.parametrize("replicas", [7, 10])
def test_larger_groups(replicas):
    result = simulate("--seed", 1, "--replicas", replicas, "--ms", 100, "--faults", "none")
    assert result.exit_code == 0, result.output


def test_radio():
    result = simulate("--seed", 1, "--radio", 11, "--ms", 200, "--faults", "none", "--json")
    assert result.exit_code == 0, result.output
    assert simulate("--radio", 3).exit_code == 2


def test_trace_and_its_limits():
    result = simulate("--seed", 1, "--ms", 100, "--spare-primary", "--trace")
    assert "PRE-PREPARE v0 #1" in result.stdout
    assert simulate("--seeds", "1..2", "--trace").exit_code == 2


def test_steps():
    few = simulate("--seed", 1, "--steps", 50, "--faults", "none", "--json")
    more = simulate("--seed", 1, "--steps", 5000, "--faults", "none", "--json")
    assert json.loads(few.stdout)["messages"] < json.loads(more.stdout)["messages"]


def test_scenario_passes(tmp_path):
    path = script(
        tmp_path,
        "from tools.simulate.operations import put\n"
        "def scenario(sim):\n"
        "    handle = sim.submit(0, put('lamp', 'on'))\n"
        "    assert sim.run_until(lambda: handle.done, 1000)\n",
    )
    assert simulate("--script", path).exit_code == 0
    assert simulate("--script", path, "--seeds", "1..4", "--json").exit_code == 0


def test_failed_assertion_is_exit_code_1_with_its_line(tmp_path):
    path = script(tmp_path, "def scenario(sim):\n    sim.run(10)\n    assert sim.now_ms == 7\n")
    result = simulate("--script", path)
    assert result.exit_code == 1
    assert f"{path}:3: assertion does not hold: assert sim.now_ms == 7" in result.stdout
    assert f"replay: tinybft simulate --seed 1 --script {path}" in result.stdout


def test_violation_is_exit_code_1_and_can_be_replayed(tmp_path):
    path = script(
        tmp_path,
        "def scenario(sim):\n"
        "    sim.run(10)\n"
        "    sim.core(1).progress.last_executed = 3\n"
        "    sim.check()\n",
    )
    result = simulate("--script", path, "--seed", 9)
    assert result.exit_code == 1
    assert "S2 violated at 10.000 ms" in result.stdout
    assert f"tinybft simulate --seed 9 --script {path}" in result.stdout


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("def scenario(sim)\n    pass\n", 1, "not Python"),
        ("x = 1\n", 1, "no function `scenario`"),
        ("x = 1\nimport nothing_of_that_name\n", 2, "ModuleNotFoundError"),
        ("def scenario(sim):\n    sim.run(1)\n    sim.fly()\n", 3, "AttributeError"),
        ("def scenario(sim):\n    sim.submit(77, b'')\n", 2, "client 77"),
        (
            "def scenario(sim):\n    sim.on_frame(lambda f: f.nothing)\n    sim.run(2000)\n",
            2,
            "AttributeError",
        ),
    ],
)
def test_mistakes_in_a_script(tmp_path, text, line, words):
    path = script(tmp_path, text)
    result = simulate("--script", path)
    assert result.exit_code == 2
    assert f"{path}:{line}: " in result.stderr and words in result.stderr
    assert "Traceback" not in result.stderr


def test_mistake_in_a_script_found_by_another_process(tmp_path):
    path = script(tmp_path, "def scenario(sim):\n    sim.fly()\n")
    result = simulate("--script", path, "--seeds", "1..8", "--jobs", 2)
    assert result.exit_code == 2
    assert f"{path}:2: the script fails: AttributeError" in result.stderr


def test_script_that_is_not_there():
    result = simulate("--script", "nowhere.py")
    assert result.exit_code == 2
    assert "nowhere.py:1: cannot be read" in result.stderr


def test_service(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "echoing.py").write_text(
        "from tinybft.service import Service\n"
        "class Echo(Service):\n"
        "    state_length = 3000\n"
        "    def execute(self, state, op, length, reply, ctx):\n"
        "        reply[:length] = op[:length]\n"
        "        return length\n",
        encoding="utf-8",
    )
    result = simulate("--seed", 1, "--service", "echoing:Echo", "--ms", 100, "--faults", "none")
    assert result.exit_code == 0, result.output
    for bad in ("echoing", "echoing:Nothing", "nothing_there:X", "echoing:Service.x"):
        result = simulate("--service", bad)
        assert result.exit_code == 2, bad
        assert bad in result.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--replicas", 5), "choose 4, 7, 10, 13"),
        (("--seeds", "7"), "the first and the last seed"),
        (("--seeds", "7..3"), "the first and the last seed"),
        (("--seed", 1, "--seeds", "1..2"), "leave out one"),
        (("--faults", "x"), "indices"),
    ],
)
def test_bad_input(arguments, words):
    result = simulate(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_failing_seed_is_shrunk(monkeypatch):
    """A fault that matters stays, those that do not are dropped from the replay command."""
    from tools.simulate import liveness

    check = liveness.Liveness.check

    def checked(self, ms):
        if not self._sim.is_up(3):
            self._fail("L9", "as the test wants")
        return check(self, ms)

    monkeypatch.setattr(liveness.Liveness, "check", checked)
    from tools.simulate.campaign import Job, run_job, shrunk
    from tools.simulate.sim import Sim

    for seed in range(1, 400):
        job = Job(seed=seed, with_primary=False)
        plan = job.course.plan(Sim(seed), job)
        crashes = [f for f in plan.faults if f.kind == "crash" and f.arguments[0] == 3]
        if len(plan.faults) > 2 and crashes and 3 in plan.stay_off and not crashes[0].end_ms:
            break
    small = shrunk(run_job(Job(seed=seed, with_primary=False)))
    assert small.violation["words"] == "as the test wants"
    assert len(small.job.faults) == 1
    assert plan.faults[small.job.faults[0]] == crashes[0]
    assert f"--faults {small.job.faults[0]}" in small.job.command()


def test_campaigns():
    """Each has its command; each seed can be replayed by itself."""
    for name, seeds, words in (
        ("byzzfuzz", "1..3", "0 mutation rounds, 0 partition rounds, small scope: 1 seeds"),
        ("twins", "11..17", "of 5408 cases"),
    ):
        result = simulate("--campaign", name, "--seeds", seeds)
        assert result.exit_code == 0, result.output
        assert words in result.stdout
    result = simulate("--campaign", "throughput", "--seeds", "1..2", "--ms", 300)
    assert result.exit_code == 0, result.output
    assert "ack_liar" in result.stdout
    assert simulate("--campaign", "nothing").exit_code == 2


def test_a_script_is_no_campaign(tmp_path):
    path = script(tmp_path, "def scenario(sim):\n    pass\n")
    result = simulate("--script", path, "--campaign", "twins")
    assert result.exit_code == 2 and "leave out --campaign" in result.stderr


def test_options_travel_with_the_seed():
    """Reads that are not ordered and batches executed ahead, replayed by the command shown."""
    from tools.simulate.campaign import Job, run_job

    plain = simulate("--seed", 5, "--ms", 300, "--json")
    both = simulate("--seed", 5, "--ms", 300, "--json", "--read-only", "--tentative")
    assert plain.exit_code == both.exit_code == 0
    assert json.loads(plain.stdout)["air"] != json.loads(both.stdout)["air"]
    job = Job(seed=5, ms=300, read_only=True, tentative=True)
    assert job.command() == "tinybft simulate --seed 5 --ms 300 --read-only --tentative"
    assert job.options == {"READ_ONLY": True, "TENTATIVE": True}
    assert run_job(job).air == json.loads(both.stdout)["air"]
