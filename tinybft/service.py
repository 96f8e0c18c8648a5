"""What an application implements to be replicated: `Service`.

A service is a deterministic state machine whose memory the library owns:

    class Counter(Service):
        name = "counter"
        state_length = 4
        reads_view = False

        def execute(self, state, op, length, reply, ctx):
            state.put_u32(0, state.get_u32(0) + 1)
            state.read(0, reply, 0, 4)
            return 4

Deterministic means: the same operations in the same order give the same state bytes and the
same replies on every replica. Therefore `execute`
* depends on the state, the operation and `ctx` alone: no own clock (`ctx.time_s` and
  `ctx.time_ms` are agreed by the group), no random number, no attribute that survives a call
  (it would be missing after a restart or a state transfer), no iteration order of a set or
  dict, no float, no sensor (read it before submitting and put the value into the operation);
* changes the state only through `state.write` and its short forms, never through a memoryview;
* answers every operation, however malformed, with a reply; an exception is a bug in the
  service, and one that all replicas share;
* under `ctx.read_only` writes nothing;
* changes at most as many pages of the state as it declares (`pages_max`): the replicas keep old
  pages for their snapshots, and their memory is bounded by that. A write beyond it is refused
  with ValueError, before anything is changed; what the operation wrote before stays, as with any
  other exception, and its client gets the error reply;
* does not keep `op`, `reply` or `ctx`: all three are reused; what `reply` holds before is
  anything, on each replica something else.

The state may lie in RAM or, with [storage] state = "nvm", outside of it. `state.read` and its
short forms work either way; `state.view` is RAM, and a service that says `reads_view = False`
does without.

Allocates: `AppState` and `Context` nothing (values from 2**30 on excepted).
"""

from tinybft.compat import micropython
from tinybft.octets import copy, equal, fill, get_u32, put_u16, put_u32


class Service:
    """Base of applications. Override `execute`, and what else is not as below."""

    name = "service"
    state_length = 0  # bytes of state that the service needs at least
    reads_view = True  # uses `state.view`, so that the state has to be in RAM

    def setup(self, state):
        """Called once at boot, before anything else: premake views here. No writing."""

    def genesis(self, state):
        """Lay out the initial state, the same on all replicas; it starts as zeroes."""

    def pages_max(self, length, page_length):
        """Pages of the state, `page_length` bytes each (64 or 16) from its start on, that an
        operation of `length` bytes may change. Depends on nothing else, and never falls with
        `length`. Unless overridden: all pages of a state of `state_length` bytes.
        """
        return (self.state_length + page_length - 1) // page_length

    def execute(self, state, op, length, reply, ctx):
        """Execute op[:length], write the result into `reply`, return the result's length."""
        raise NotImplementedError("a service implements execute")


class Context:
    """Who asks, and when: set by the library before each `execute`, one object for all."""

    def __init__(self):
        self.client_id = 0
        self.seqno = 0
        self.time_s = 0  # agreed time: seconds
        self.time_ms = 0  # ... and milliseconds within the second
        self.read_only = False


class AppState:
    """The application's part of the state: bytes 0 .. length, all zero before genesis.

    Reading: `read`, `equal`, `get_...`, with offsets that are checked no more than in `octets`;
    or `view[i]` and `octets` functions on `view` (a slice of it allocates). Writing: `write`,
    `put_...`, `fill`; a span that leaves the state is the service's bug: ValueError.
    """

    def __init__(self, view, sink):
        """view: the bytes. sink(offset, buf, start, length): `State.write`, or one like it."""
        self.view = view
        self._prepare(len(view), sink)

    def _prepare(self, length, sink):
        self.length = length
        self.sink = sink  # where `write` sends what it checked
        self._value = bytearray(4)
        self._filler = bytearray(64)

    @micropython.viper
    def read(self, offset: int, out, at: int, length: int):
        """out[at:at+length] = state[offset:offset+length]"""
        copy(out, at, self.view, offset, length)

    @micropython.viper
    def equal(self, offset: int, buf, at: int, length: int) -> bool:
        """Whether state[offset:offset+length] is buf[at:at+length]."""
        return bool(equal(self.view, offset, buf, at, length))

    @micropython.viper
    def get_u8(self, offset: int) -> int:
        view = ptr8(self.view)
        return view[offset]

    @micropython.viper
    def get_u16(self, offset: int) -> int:
        view = ptr8(self.view)
        return view[offset] | view[offset + 1] << 8

    @micropython.native
    def get_u32(self, offset):
        return get_u32(self.view, offset)

    @micropython.viper
    def write(self, offset: int, buf, start: int, length: int):
        """state[offset:offset+length] = buf[start:start+length]; `buf` may be `view`."""
        if offset < 0 or length < 0 or offset + length > int(self.length):
            raise ValueError("a service wrote outside of its state (see state_length)")
        if start < 0 or start + length > int(len(buf)):
            raise ValueError("a service wrote from outside of the buffer it gave")
        self.sink(offset, buf, start, length)

    def put_u16(self, offset, value):
        put_u16(self._value, 0, value)
        self.write(offset, self._value, 0, 2)

    def put_u32(self, offset, value):
        put_u32(self._value, 0, value)
        self.write(offset, self._value, 0, 4)

    def fill(self, offset, length, value):
        """`length` bytes of `value`, 0..255."""
        filler = self._filler
        fill(filler, 0, 64, value)
        while length > 64:
            self.write(offset, filler, 0, 64)
            offset += 64
            length -= 64
        self.write(offset, filler, 0, length)
