"""Reads that are not ordered, at a replica: when they are answered, and what they leave behind."""

from tests.tinybft.puppet import Puppet, batch_of, entry_of
from tests.tinybft.scenes import Recorder, operation
from tests.tinybft.support import sha256
from tinybft import faults, wire
from tinybft.requests import NONE, WAITING
from tinybft.service import Service

ON = {"READ_ONLY": True}
READ = wire.FLAG_READ_ONLY | wire.FLAG_UNORDERED


class Reader(Recorder):
    """Writes nothing in a read."""

    def execute(self, state, op, length, reply, ctx):
        if not ctx.read_only:
            return Recorder.execute(self, state, op, length, reply, ctx)
        reply[:length] = op[:length]
        return length


def start(service=Reader, **changed):
    return Puppet(service=service, storage=dict(ON, **changed))


def read(puppet, number=1, client=4, op=b"read", flags=READ):
    return puppet.say(wire.REQUEST, 0, number, op, sender=client, flags=flags)


def replies(puppet):
    """[(receiver, flags, request id, result), ...] since the last call."""
    found = [(t, m[0] & 15, wire.seqno(m), m[16:-8]) for t, m in puppet.sent if m[1] == wire.REPLY]
    puppet.sent.clear()
    return found


def prepared(puppet, seqno=1, client=2):
    """A batch of `client` is prepared here and not committed."""
    puppet.propose((client,))
    at = puppet.core.slots.digest_at(puppet.core.slots.find(seqno))
    puppet.digest = bytes(puppet.core.slots.buf[at : at + 32])
    puppet.say(wire.PREPARE, 0, seqno, puppet.digest, sender=2)


def test_a_read_is_answered_at_once_and_leaves_no_trace():
    puppet = start()
    assert read(puppet) == 0
    assert replies(puppet) == [(4, wire.FLAG_UNORDERED, 1, b"read")]
    core = puppet.core
    assert core.execution.last_request_id(4) == 0 and core.progress.last_executed == 0
    assert core.requests.phase(4) == NONE and core.requests.open == 0
    assert not core.state.content(64).strip(b"\x00")


def test_without_the_option_it_is_refused():
    puppet = Puppet()
    assert read(puppet) == faults.FIELD
    assert read(puppet, flags=wire.FLAG_READ_ONLY) == 0
    assert puppet.core.requests.phase(4) == WAITING


def test_without_the_flag_it_is_ordered():
    puppet = start()
    assert read(puppet, flags=wire.FLAG_READ_ONLY) == 0
    assert replies(puppet) == [] and puppet.core.requests.phase(4) == WAITING


def test_a_read_is_never_part_of_a_batch():
    puppet = start()
    request = puppet.group.nodes[4].client
    request.submit(b"read", 4, 0, True)
    message = bytes(request.request[: request._length])
    body = bytearray(wire.BATCH_HEADER_LENGTH)
    wire.put_batch_header(body, 0, 0, 0, 1)
    assert puppet.say(wire.PRE_PREPARE, 0, 1, body + b"\x01" + message) == faults.FIELD
    ordered = bytes((message[0] & ~wire.FLAG_UNORDERED,)) + message[1:]
    assert puppet.say(wire.PRE_PREPARE, 0, 1, body + b"\x01" + ordered) == 0


def test_a_body_that_a_batch_lacks_is_no_read():
    """A batch can name one by its digest; nobody takes it for the body."""
    puppet = start()
    read(puppet, flags=wire.FLAG_READ_ONLY)
    entry = entry_of(puppet.core.requests, 4, 1)
    entry[wire.ENTRY_DIGEST :] = bytes(32)
    puppet.say(wire.PRE_PREPARE, 0, 1, batch_of(entry))
    read(puppet, number=2)
    assert puppet.core.slots.missing(puppet.core.slots.find(1)) == 1


def test_a_bad_tag_is_noticed():
    puppet = start()
    client = puppet.group.nodes[4].client
    client.submit(b"read", 4, 0, True)
    message = bytearray(client.request[: client._length])
    for i in range(20, len(message)):
        message[i] ^= 1
    assert puppet.hear(message) == faults.MAC
    assert replies(puppet) == []


def test_ids_do_not_go_back():
    puppet = start()
    assert read(puppet, 5) == 0 and len(replies(puppet)) == 1
    assert read(puppet, 4) == faults.OLD_REQUEST
    assert read(puppet, 5) == faults.RATE_LIMITED
    assert read(puppet, 6) == 0 and len(replies(puppet)) == 1


def test_what_is_executed_is_older_than_any_read():
    puppet = start()
    puppet.propose((4,))
    puppet.commit((1,))
    replies(puppet)
    assert read(puppet, 7) == faults.OLD_REQUEST and read(puppet, 8) == 0
    assert len(replies(puppet)) == 1


def test_a_read_waits_for_what_is_prepared():
    puppet = start()
    prepared(puppet)
    read(puppet, client=4)
    assert replies(puppet) == [] and puppet.core.reads.waiting == 1
    puppet.commit((1,))
    assert [r[:2] for r in replies(puppet) if r[0] == 4] == [(4, wire.FLAG_UNORDERED)]
    assert puppet.core.reads.waiting == 0


def test_a_read_does_not_wait_for_what_is_only_accepted():
    puppet = start()
    puppet.propose((2,))
    read(puppet, client=4)
    assert len(replies(puppet)) == 1


def _held_while(change, undo):
    puppet = start()
    change(puppet.core)
    read(puppet)
    held = puppet.core.reads.waiting == 1 and replies(puppet) == []
    undo(puppet.core)
    puppet.victim._settle()
    return held and len(replies(puppet)) == 1


def _set(part, name, value):
    return lambda core: setattr(getattr(core, part), name, value)


def test_a_read_waits_for_a_new_view():
    assert _held_while(_set("progress", "active", False), _set("progress", "active", True))


def test_a_read_waits_for_the_end_of_a_state_transfer():
    assert _held_while(_set("transfer", "running", True), _set("transfer", "running", False))


def test_who_abstains_does_not_answer():
    puppet = start()
    puppet.core.durability.abstains = True
    read(puppet)
    assert puppet.core.reads.waiting == 1 and replies(puppet) == []


def test_a_read_waits_for_what_the_new_view_names():
    puppet = start()
    new_view = puppet.core.new_view
    new_view.is_held = True
    new_view.end = lambda: 1
    read(puppet)
    assert replies(puppet) == []
    new_view.end = lambda: 0
    puppet.victim._settle()
    assert len(replies(puppet)) == 1


def test_the_same_request_ordered_takes_the_place_of_a_read():
    puppet = start()
    prepared(puppet)
    read(puppet, client=4)
    read(puppet, client=4, flags=wire.FLAG_READ_ONLY)
    assert puppet.core.requests.phase(4) == WAITING
    assert read(puppet, client=4) == faults.NOT_NEEDED
    puppet.commit((1,))
    assert [r for r in replies(puppet) if r[0] == 4] == []


def test_a_later_read_takes_the_place_of_an_older_one():
    puppet = start()
    prepared(puppet)
    read(puppet, 1)
    read(puppet, 2, op=b"later")
    assert read(puppet, 1) == faults.NOT_NEEDED and puppet.core.reads.waiting == 1
    puppet.commit((1,))
    assert [r[2:] for r in replies(puppet) if r[0] == 4] == [(2, b"later")]


def test_a_read_is_the_end_of_what_its_client_waited_for():
    """It has its reply, or it is faulty: no time-out runs for it."""
    puppet = start()
    puppet.say(wire.REQUEST, 0, 1, b"write", sender=4)
    assert puppet.core.requests.open == 1
    assert read(puppet, 2) == 0
    assert puppet.core.requests.open == 0 and len(replies(puppet)) == 1


def test_a_long_result_travels_whole_once():
    puppet = start()
    op = operation(4, 1, 100)
    for number in range(1, 5):
        read(puppet, number, op=op)
    whole = [(number + 4) % 4 == 1 for number in range(1, 5)]
    for is_whole, (_, flags, _, result) in zip(whole, replies(puppet)):  # noqa: B905
        assert result == (op if is_whole else sha256(op))
        assert bool(flags & wire.FLAG_DIGEST) != is_whole


def test_a_client_that_is_a_replica_has_the_result_itself():
    puppet = start()
    op = operation(2, 1, 100)
    for number in range(1, 5):
        read(puppet, number, client=2, op=op)
    assert [r[3] for r in replies(puppet)] == [sha256(op)] * 4


class Careless(Service):
    """Writes whatever is asked, and catches nothing."""

    name = "careless"
    state_length = 16
    reads_view = False

    def execute(self, state, op, length, reply, ctx):
        reply[0] = state.get_u8(0)
        if op[0] == 1:
            state.write(0, op, 0, 1)
        return 1


def test_a_write_in_a_read_is_refused_ordered_or_not():
    puppet = start(Careless)
    read(puppet, op=b"\x01")
    assert replies(puppet)[0][3] == b"\xff"
    assert puppet.core.faults.as_dict()["service"] == 1
    service, state = puppet.core.execution._service, puppet.core.execution._app_state
    ctx, reply = puppet.core.execution._context, bytearray(4)
    ctx.read_only = True
    try:
        service.execute(state, b"\x01", 1, reply, ctx)
        raise AssertionError("the write was not refused")
    except AssertionError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, it ends the execution
        pass
    assert puppet.core.state.content(1) == b"\x00"
    ctx.read_only = False
    assert service.execute(state, b"\x01", 1, reply, ctx) == 1
    assert puppet.core.state.content(1) == b"\x01"
    read(puppet, 2, op=b"\x02")
    assert replies(puppet)[0][3] == b"\x01"
