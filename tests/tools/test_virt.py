"""The host's side of emulated boards, without an emulator: mailbox, radio, ear, refusals."""

import os
import time

import pytest
from click.testing import CliRunner

from hal import virt_map
from hal.virt_map import ADDRESS, RAM_ADDRESS, RING_COUNT
from tools.cli import main
from tools.refusal import Refusal
from tools.virt.board import refuse_if_taken
from tools.virt.mailbox import RAM_LENGTH, Mailbox
from tools.virt.radio import Radio


@pytest.fixture
def mailbox(tmp_path):
    box = Mailbox(tmp_path / "ram")
    box.power_on("{}", 1000)
    yield box
    box.close()


def shared_of(box):
    """What the guest sees: the file, at its addresses."""
    return box._ram[ADDRESS - RAM_ADDRESS :]


def sent_by_guest(box, frame, target=virt_map.TO_ALL):
    shared = shared_of(box)
    head = shared[virt_map.SENT_HEAD]
    at = virt_map.SENT + head * virt_map.ENTRY_LENGTH
    shared[at : at + 4] = len(frame).to_bytes(2, "little") + target.to_bytes(2, "little")
    shared[at + 4 : at + 4 + len(frame)] = frame
    shared[virt_map.SENT_HEAD] = (head + 1) % RING_COUNT


def test_power_on_leaves_nothing_but_the_store(tmp_path):
    box = Mailbox(tmp_path / "ram")
    ram = box._ram
    store_at = ADDRESS - RAM_ADDRESS + virt_map.STORE
    for at in (0, 0x400000, store_at - 1, store_at, store_at + 99, RAM_LENGTH - 1):
        ram[at] = 0xA5
    box.power_on('{"a": 1}', 100)
    kept = [at for at in (0, 0x400000, store_at - 1, store_at, store_at + 99) if ram[at]]
    assert kept == [store_at, store_at + 99]
    assert ram[RAM_LENGTH - 1] == 0
    shared = shared_of(box)
    assert bytes(shared[virt_map.IDENTITY : virt_map.IDENTITY + 8]) == b'{"a": 1}'
    first = bytes(shared[virt_map.ENTROPY : virt_map.ENTROPY + 32])
    box.power_on("{}", 100)
    assert bytes(shared[virt_map.ENTROPY : virt_map.ENTROPY + 32]) != first
    shared.release()
    ram.release()
    box._shared.release()
    box._map.close()


def test_frames_come_out_as_they_went_in(mailbox):
    assert mailbox.take() is None
    for i in range(3 * RING_COUNT):
        sent_by_guest(mailbox, bytes([i & 255]) * (i % 250 + 1), i % 5)
        assert mailbox.take() == (i % 5, bytes([i & 255]) * (i % 250 + 1))
    sent_by_guest(mailbox, b"to all")
    assert mailbox.take() == (None, b"to all")
    assert mailbox.take() is None


def test_a_full_ring_loses_what_is_new(mailbox):
    taken = [mailbox.put(bytes([i])) for i in range(RING_COUNT)]
    assert taken == [True] * (RING_COUNT - 1) + [False]
    assert mailbox.refused == 1


def test_a_length_that_lies_stays_within_its_entry(mailbox):
    sent_by_guest(mailbox, b"x")
    shared = shared_of(mailbox)
    shared[virt_map.SENT : virt_map.SENT + 2] = b"\xff\xff"
    _, frame = mailbox.take()
    assert len(frame) <= virt_map.ENTRY_LENGTH
    shared.release()


def test_the_store_is_the_file(mailbox):
    store = mailbox.store(1000)
    store.write(10, b"abcdef", 4)
    out = bytearray(6)
    store.read_into(10, out, 6)
    assert store.size == 1000 and out == b"abcd\0\0"
    store.octets.release()


class Listener:
    def __init__(self):
        self.on = True
        self.heard = []
        self.waiting = []
        self.mailbox = self

    def hear(self, frame):
        self.heard.append(frame)

    def take(self):
        return self.waiting.pop(0) if self.waiting else None


def aired(radio, listeners, until, seconds=5.0):
    with radio:
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            time.sleep(0.002)
    return [listener.heard for listener in listeners]


def test_the_radio_carries_to_all_others_or_to_one():
    radio = Radio()
    a, b, c = Listener(), Listener(), Listener()
    radio.boards = {0: a, 1: b}
    radio.stations = {4: c}
    a.waiting = [(None, b"all"), (4, b"one")]
    heard = aired(radio, (a, b, c), lambda: len(c.heard) == 2)
    assert heard == [[], [b"all"], [b"all", b"one"]]
    assert radio.frames == {0: 2}


def test_nobody_hears_a_board_without_power():
    radio = Radio()
    a, b = Listener(), Listener()
    radio.boards = {0: a, 1: b}
    a.waiting = [(None, b"x")]
    a.on = False
    assert aired(radio, (a, b), lambda: False, 0.05) == [[], []]


def test_loss_is_per_receiver():
    radio = Radio(seed=3, loss=0.5)
    a, b, c = Listener(), Listener(), Listener()
    radio.boards = {0: a, 1: b, 2: c}
    a.waiting = [(None, bytes([i])) for i in range(200)]
    aired(radio, (a, b, c), lambda: radio.lost + len(b.heard) + len(c.heard) == 400)
    assert 60 < len(b.heard) < 140 and 60 < len(c.heard) < 140
    assert b.heard != c.heard


def test_airtime_adds_up():
    radio = Radio(rate=1)
    a, b = Listener(), Listener()
    radio.boards = {0: a, 1: b}
    a.waiting = [(None, bytes(250))] * 20
    begin = time.monotonic()
    aired(radio, (a, b), lambda: len(b.heard) == 20)
    assert len(b.heard) == 20 and time.monotonic() - begin > 20 * 0.0025


def test_a_taken_console_port_is_refused(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refusal, match=f"port {port}: cannot be a board's console"):
            refuse_if_taken(port)


def refusal_of(*arguments, **environment):
    result = CliRunner().invoke(main, ["cluster", "--virt", *arguments], env=environment)
    assert result.exit_code == 2, result.output
    return result.output


def test_without_qemu_the_package_is_named():
    words = refusal_of(PATH=os.devnull)
    assert "qemu-system-riscv32 is not installed; `apt-get install qemu-system-misc`" in words


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--duplicate", "5"), "--duplicate: not with --virt"),
        (("--freeze", "primary"), "--freeze: not with --virt"),
        (("--rate", "3"), "is no rate of ESP-NOW; one of 1, 2, 5.5"),
        (("--power-cuts", "2"), "take --name durable"),
        (("--kill", "9"), "--kill 9: is none of primary, backup, none, 0..3"),
    ],
)
def test_options_that_make_no_sense(arguments, words):
    assert words in refusal_of(*arguments)
