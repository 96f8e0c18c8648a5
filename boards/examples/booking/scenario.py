"""No two displays ever hold the same room, whatever fails. From the project's folder:

tinybft simulate --service boards.examples.booking.booking:Booking \\
    --script boards/examples/booking/scenario.py --seeds 1..20
"""

from boards.examples.booking.booking import BOOK, CANCEL, HOURS, LOOK, ROOMS


def scenario(sim):
    sim.network(loss=15, duplicate=5, jitter_ms=5)
    sim.byzantine(3, "equivocate")
    slots = [(sim.random.randrange(ROOMS), sim.random.randrange(HOURS)) for _ in range(12)]
    sim.after(100, lambda: sim.crash(0))  # the primary: one more than f are faulty for a while
    sim.after(2500, lambda: sim.restart(0))
    winners = everybody_books(sim, slots)
    sim.heal()

    room, hour = slots[0]
    winner, loser = winners[slots[0]], (winners[slots[0]] + 1) % 3
    assert ask(sim, loser, CANCEL, room, hour) == winner, "only its holder cancels a booking"
    assert ask(sim, winner, CANCEL, room, hour) == -1
    assert ask(sim, loser, BOOK, room, hour) == loser
    assert ask(sim, winner, LOOK, room, hour) == loser
    sim.check_liveness(30000)


def everybody_books(sim, slots):
    """{slot: the one client that has it}; all ask for all at the same time."""
    clients = (0, 1, 2, 4)
    asked = [(slot, c, sim.submit(c, bytes((BOOK, *slot)))) for slot in slots for c in clients]
    assert sim.run_until(lambda: all(h.done or h.lost for _, _, h in asked), 120000)
    winners = {}
    for slot, _client, handle in asked:
        if handle.done:
            holder = handle.reply[0] - 1
            assert winners.setdefault(slot, holder) == holder, f"two hold {slot}"
    return winners


def ask(sim, client, verb, room, hour):
    handle = sim.submit(client, bytes((verb, room, hour)))
    assert sim.run_until(lambda: handle.done, 60000)
    return handle.reply[0] - 1
