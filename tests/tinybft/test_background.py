"""Node.background: steps beside something else, what holds them, what ends them."""

import tinybft.node as module
from tests.tinybft.group import Group, RamStore
from tests.tinybft.scenes import Recorder, small_config
from tests.tinybft.support import allocated_by
from tinybft import attached
from tinybft.errors import Busy, Stopped, Timeout


class Board:
    """Node 1 of a group runs in the background; time passes for all while it waits."""

    def __init__(self, **changed):
        self.group = Group(small_config(**changed), Recorder)
        self.node = self.group.nodes[1]
        self.hal = self.node.hal
        self.callback = None
        self.hal.background = self.background
        self.hal.wait = self.wait
        self.node.background()

    def background(self, callback):
        self.callback = callback

    def wait(self, ms):
        """The others step; this one as its scheduler has it."""
        group = self.group
        for _ in range(max(1, ms)):
            group.now += 1
            due = [m for m in group.flying if m[0] <= group.now]
            group.flying = [m for m in group.flying if m[0] > group.now]
            for _, _, receiver, message in due:
                group.nodes[receiver].hal.inbox.append(message)
            for node in group.live():
                if node is not self.node:
                    node.step()
            if self.callback:
                self.callback()


def refused(error, function, *arguments):
    try:
        function(*arguments)
    except error as found:
        return str(found)
    raise AssertionError("not refused")


def test_node_in_the_background_is_attached_and_answers_a_call():
    board = Board()
    assert attached.node is board.node
    assert board.node.call(b"one") == b"one"
    assert board.node.call(b"two") == b"two"
    assert board.node.replica.progress.last_executed == 2


def test_call_steps_a_node_that_is_not_in_the_background():
    board = Board()
    board.node.background(False)
    assert board.callback is None
    assert board.node.call(b"one") == b"one"


def test_call_ends_after_its_time_and_the_request_stays():
    board = Board()
    for node_id in (0, 2, 3):
        board.group.crash(node_id)
    words = refused(Timeout, board.node.call, b"one", False, 50)
    assert "50 ms" in words
    refused(Busy, board.node.call, b"two")


def test_ctrl_c_ends_the_waiting_only():
    board = Board()
    wait = board.hal.wait

    def interrupted(ms):
        raise KeyboardInterrupt

    board.hal.wait = interrupted
    refused(KeyboardInterrupt, board.node.call, b"one")
    assert board.node.client.busy and not board.node.held and not board.node.stopped
    board.hal.wait = wait
    wait(50)
    assert not board.node.client.busy


def test_a_held_node_takes_no_step():
    board = Board()
    steps = []
    board.node.step = lambda: steps.append(1)
    with board.node.hold:
        with board.node.hold:
            board.callback()
        board.callback()
        assert steps == []
    board.callback()
    assert steps == [1]


def test_an_exception_does_not_leave_it_held():
    board = Board()
    try:
        with board.node.hold:
            raise ValueError
    except ValueError:
        pass
    assert board.node.held == 0


def test_ctrl_c_is_masked_around_a_step_and_then_as_before():
    board = Board()
    events = []

    def mask(char):
        events.append(char)
        return 3

    plain = module.set_interrupt_char
    module.set_interrupt_char = mask
    board.node.step = lambda: events.append("step")
    try:
        board.callback()
        assert events == [-1, "step", 3]
        events.clear()
        board.node.start(b"one")
        assert events == [-1, 3]
    finally:
        module.set_interrupt_char = plain


def test_an_exception_in_the_background_stops_the_node_for_good():
    board = Board()

    def broken():
        raise OSError("the store does not answer")

    step = board.node.step
    board.node.step = broken
    callback = board.callback
    callback()
    assert board.callback is None and not board.node.in_background
    assert board.node.stopped == "OSError: the store does not answer"
    assert isinstance(board.node.error, OSError)
    assert board.node.status()["stopped"] == board.node.stopped
    board.node.step = step
    board.hal.inbox.append(b"anything")
    callback()
    assert board.hal.inbox == [b"anything"]
    for function in (board.node.start, board.node.call):
        assert "does not answer" in refused(Stopped, function, b"one")
    refused(Stopped, board.node.background)
    refused(Stopped, board.node.run)


def test_a_store_that_fails_stops_it_whoever_asked():
    board = Board()
    board.node.client._ids._last = board.node.client._ids._limit  # the next id is written

    def write(self, address, buf, length):
        raise OSError("full")

    plain = RamStore.write
    RamStore.write = write
    try:
        refused(OSError, board.node.start, b"one")
    finally:
        RamStore.write = plain
    assert board.node.stopped == "OSError: full" and board.callback is None
    assert not board.node.held


def test_a_step_that_ctrl_c_has_cut_is_not_gone_on_from():
    """In the foreground nothing masks it."""
    board = Board()
    board.node.background(False)

    def interrupted():
        raise KeyboardInterrupt

    board.node.step = interrupted
    refused(KeyboardInterrupt, board.node.run)
    assert "KeyboardInterrupt" in board.node.stopped
    refused(Stopped, board.node.run)


def test_run_leaves_the_steps_to_the_background():
    board = Board()
    steps = []
    board.node.step = lambda: steps.append(1)
    turns = []
    board.hal.wait = turns.append
    board.node.run(lambda: len(turns) == 3)
    assert steps == []


def test_an_empty_background_step_allocates_nothing():
    board = Board()
    assert allocated_by(board.callback) == 0
