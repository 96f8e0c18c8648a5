"""The radio: airtime of PERFORMANCE.md, one channel, collisions, loss per frame."""

from types import SimpleNamespace

import pytest

from hal.sim import World
from hal.sim_radio import RATES, Radio, airtime_us, frame_length
from tests.sim.load import FixedCosts

CONFIG = SimpleNamespace(
    CLIENT_COUNT=5,
    REPLICA_COUNT=4,
    TAG_LENGTH=8,
    FRAME_LENGTH=250,
    MESSAGE_LENGTH_MAX=1152,
    NVM_LENGTH=0,
    WINDOW=4,
)


class Listener:
    """Stands in for a node: keeps what it hears and when."""

    def __init__(self, hal):
        self.hal = hal
        self.heard = []

    def step(self):
        buf = bytearray(2000)
        while length := self.hal.receive_into(buf):
            self.heard.append((self.hal.world.now_us, bytes(buf[:length])))

    def idle_ms(self):
        return 1000


def air(count=3, seed=1, **options):
    world = World(CONFIG, seed)
    world.medium = Radio(world, **options)
    for node_id in range(count):
        world.add(node_id, Listener).power_on()
    return world


def send(world, number, octets, target=-1):
    hal = world.hals[number]
    hal.act(lambda: hal.send(target, octets, len(octets)))


def heard(world, number):
    return [octets for _, octets in world.hals[number].node.heard]


def test_length_on_the_air():
    assert frame_length(64) == 24 + 1 + 3 + 4 + 7 + 64 + 4
    assert frame_length(250) == 293


@pytest.mark.parametrize("body, expected_ms", [(64, 1.4), (250, 2.9)])
def test_airtime_at_1_mbit(body, expected_ms):
    """Access (mean of the slots drawn) and frame."""
    access_us = 50 + 15.5 * 20
    assert (access_us + airtime_us(body, 1)) / 1000 == pytest.approx(expected_ms, abs=0.05)


def test_airtime_of_other_rates():
    assert airtime_us(64, 1) == 192 + 8 * 107
    assert airtime_us(64, 2) == 192 + 4 * 107
    assert airtime_us(64, 5.5) == 192 + 156  # 155.6
    assert airtime_us(64, 11) == 192 + 78
    assert airtime_us(64, 6) == 20 + 4 * 37 + 6  # 878 bits, 24 per symbol
    assert airtime_us(64, 54) == 20 + 4 * 5 + 6
    assert len(RATES) == 12


def test_unknown_rate_is_refused():
    with pytest.raises(ValueError, match="choose one of"):
        air(rate=3)


def test_one_frame_reaches_everybody_after_access_and_airtime():
    world = air()
    send(world, 0, bytes(60))
    world.run(10)
    assert heard(world, 1) == heard(world, 2) == [bytes(60)]
    at = world.hals[1].node.heard[0][0]
    slots = (at - airtime_us(64, 1) - 50) / 20
    assert slots in range(32)


def test_long_message_is_fragmented():
    world = air()
    message = bytes(range(250)) * 2
    send(world, 0, message)
    world.run(50)
    assert heard(world, 1) == [message]
    assert world.medium.frame_count == 3
    expected = 2 * airtime_us(250, 1) + airtime_us(500 - 2 * 246 + 4, 1)
    assert world.medium.busy_us == expected


def test_airtimes_add_up_on_one_channel():
    world = air(count=5)
    for number in range(5):
        for _ in range(4):
            send(world, number, bytes(100))
    world.run(1000)
    ends = sorted(at for hal in world.hals for at, _ in hal.node.heard)
    radio = world.medium
    frames = radio.frame_count - radio.collision_count  # two collided frames share their time
    assert ends[-1] >= frames * airtime_us(104, 1)


def test_stations_that_draw_the_same_slot_collide():
    collided = heard_all = 0
    for seed in range(300):
        world = air(seed=seed)
        send(world, 0, bytes(60))
        send(world, 1, bytes(60))
        world.run(20)
        if world.medium.collision_count:
            collided += 1
            assert heard(world, 2) == []
        else:
            heard_all += 1
            assert len(heard(world, 2)) == 2
    assert 2 <= collided <= 25  # 1 in 32 is expected
    assert collided + heard_all == 300


def test_who_lost_the_draw_keeps_the_rest_of_its_slots():
    """After at most 32 slots everybody had its turn, so nobody starves."""
    world = air(count=2, seed=3)
    for _ in range(10):
        send(world, 0, bytes(60))
    send(world, 1, b"x" * 60)
    world.run(200)
    later = [at for at, octets in world.hals[0].node.heard if octets[:1] == b"x"]
    assert not later or later[0] < 12 * (airtime_us(64, 1) + 50 + 31 * 20)


def test_loss_is_per_frame():
    """At 20 % per frame a message of four frames arrives in 41 %."""
    world = air(count=2, seed=1, loss=0.2)
    for _ in range(200):
        send(world, 0, bytes(60))
        send(world, 0, bytes(4 * 246))
        world.run(40)
    lengths = [len(octets) for octets in heard(world, 1)]
    assert 140 <= lengths.count(60) <= 180
    assert 60 <= lengths.count(4 * 246) <= 105


def test_unicast_is_heard_by_its_receiver_only():
    world = air()
    send(world, 0, bytes(60), target=2)
    world.run(20)
    assert heard(world, 1) == []
    assert heard(world, 2) == [bytes(60)]


def test_power_off_takes_what_was_not_sent():
    world = air()
    send(world, 0, bytes(60))
    send(world, 0, bytes(60))
    world.hals[0].power_off()
    world.run(50)
    assert heard(world, 1) == []
    send(world, 1, bytes(60))
    world.run(50)
    assert len(heard(world, 2)) == 1


def test_a_station_holds_a_bounded_number_of_messages():
    world = air()
    for _ in range(100):
        send(world, 0, bytes(60))
    world.run(1000)
    assert len(heard(world, 1)) == 32
    assert world.medium.overflow_count == 68


def test_processing_time_delays_the_next_message():
    world = air()
    world.hals[1].costs = FixedCosts(5000)
    send(world, 0, bytes(60))
    send(world, 0, bytes(60))
    world.run(100)
    first, second = (at for at, _ in world.hals[1].node.heard)
    plain = world.hals[2].node.heard[0][0]
    assert first == plain + 5000
    assert second == first + 5000


# --- the processor ---


class Executing(Listener):
    """Takes every message for a batch, and answers it."""

    class Progress:
        last_executed = 0

    def __init__(self, hal):
        super().__init__(hal)
        self.replica = self
        self.progress = self.Progress()

    def step(self):
        before = len(self.heard)
        super().step()
        for _ in self.heard[before:]:
            self.hal.send(-1, b"\0\x05reply", 7)
            self.progress.last_executed += 1
            self.hal.send(-1, b"\0\x06checkpoint", 12)


def executing(message_us=1000, executed_us=3000, checkpoint_us=5000):
    """(world, [(when, octets), ...] as they leave) of device 1, which executes."""
    config = SimpleNamespace(**vars(CONFIG), CHECKPOINT_INTERVAL=2)
    world = World(config, 1)
    world.medium = Radio(world)
    world.add(0, Listener).power_on()
    hal = world.add(1, Executing)
    hal.costs = FixedCosts(message_us)
    hal.costs.EXECUTED_US = executed_us
    hal.costs.CHECKPOINT_US = checkpoint_us
    hal.power_on()
    left = []
    world.on_sent = lambda hal, _, octets: left.append((world.now_us, octets[2:]))
    return world, left


def test_a_reply_leaves_before_the_checkpoint_is_taken():
    world, left = executing()
    world.hals[1].deliver(b"1")
    world.run(100)
    assert left == [(4000, b"reply"), (4000, b"checkpoint")]  # no checkpoint at 1
    left.clear()
    begin = world.now_us
    world.hals[1].deliver(b"2")
    world.run(100)
    assert left == [(begin + 4000, b"reply"), (begin + 9000, b"checkpoint")]
    assert world.hals[1].processor_us == 2 * 4000 + 5000


def test_what_arrives_amid_an_execution_waits_for_the_processor():
    world, left = executing(checkpoint_us=0)
    world.hals[1].deliver(b"1")
    world.run(2)
    world.hals[1].deliver(b"2")
    world.hals[1].deliver(b"3")
    world.run(100)
    assert [when for when, octets in left if octets == b"reply"] == [4000, 8000, 12000]
    assert world.hals[1].free_at_us() == world.now_us
