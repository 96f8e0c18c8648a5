"""F46: mutated frames change nothing (the volume that CI runs; `fuzzing` runs more)."""

from tests.portable import ON_MICROPYTHON
from tests.tinybft import fuzzing
from tests.tinybft.scenes import all_scenes
from tinybft import wire

FRAMES = 10000 if ON_MICROPYTHON else 20000


def test_mutated_frames_change_nothing():
    totals = fuzzing.run(FRAMES, seed=1)
    assert totals["frames"] == FRAMES
    assert totals["fault mac"] > FRAMES // 20, "the mutations do not reach the tags"


def test_every_message_type_is_in_some_scene():
    kinds = set()
    for scene in all_scenes(seed=1):
        kinds.update(scene.frames)
    assert kinds == set(range(1, wire.TYPE_MAX + 1)), kinds


def test_oracle_notices_a_change():
    """Unharmed frames that are not known as authentic: the oracle must complain."""
    for scene in all_scenes(seed=1):
        victim = fuzzing.Victim(scene)
        victim.authentic = victim.proven = set()
        assert complains(victim, scene), scene.name


def complains(victim, scene):
    try:
        for kind in sorted(scene.frames):
            for frame in scene.frames[kind]:
                victim.feed(frame)
                victim.check_unchanged(frame)
    except fuzzing.Violation:
        return True
    return False
