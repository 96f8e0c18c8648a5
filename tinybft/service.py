"""What an application implements to be replicated: `Service`.

A service is a deterministic state machine whose memory the library owns:

    class Counter(Service):
        name = "counter"
        state_length = 4

        def execute(self, state, op, length, reply, ctx):
            state.put_u32(0, get_u32(state.view, 0) + 1)
            copy(reply, 0, state.view, 0, 4)
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
* does not keep `op`, `reply` or `ctx`: all three are reused.

Allocates: `AppState` and `Context` nothing (values from 2**30 on excepted).
"""

from tinybft.octets import fill, put_u16, put_u32


class Service:
    """Base of applications. Override `execute`, and what else is not as below."""

    name = "service"
    state_length = 0  # bytes of state that the service needs at least

    def setup(self, state):
        """Called once at boot, before anything else: premake views here. No writing."""

    def genesis(self, state):
        """Lay out the initial state, the same on all replicas; it starts as zeroes."""

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

    Reading: `view[i]`, or `octets` functions on `view` (a slice of it allocates). Writing:
    the methods below; a span that leaves the state is the service's bug: ValueError.
    """

    def __init__(self, state):
        self.view = state.view
        self.length = len(state.view)
        self._state_write = state.write
        self._value = bytearray(4)
        self._filler = bytearray(64)

    def write(self, offset, buf, start, length):
        """state[offset:offset+length] = buf[start:start+length]; `buf` may be `view`."""
        if offset < 0 or length < 0 or offset + length > self.length:
            raise ValueError("a service wrote outside of its state (see state_length)")
        if start < 0 or start + length > len(buf):
            raise ValueError("a service wrote from outside of the buffer it gave")
        self._state_write(offset, buf, start, length)

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
