"""Rooms that displays book: one of 8 rooms, one of the 24 hours of a day; who asks first has it.

Operation: verb, room, hour. Reply: client id + 1 of who has the room then; 0, nobody; or BAD.
"""

from tinybft.service import Service

ROOMS, HOURS = 8, 24
LOOK, BOOK, CANCEL, BAD = 0, 1, 2, 255


class Booking(Service):
    name = "booking"
    state_length = ROOMS * HOURS
    reads_view = False

    def execute(self, state, op, length, reply, ctx):
        reply[0] = BAD
        if length != 3 or op[0] > CANCEL or op[1] >= ROOMS or op[2] >= HOURS:
            return 1
        if ctx.read_only and op[0] != LOOK:
            return 1
        at = op[1] * HOURS + op[2]
        reply[0] = state.get_u8(at)
        own = ctx.client_id + 1
        if op[0] == BOOK and reply[0] == 0 or op[0] == CANCEL and reply[0] == own:
            reply[0] = own if op[0] == BOOK else 0
            state.write(at, reply, 0, 1)
        return 1
